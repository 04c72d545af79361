//! What training needs to know about its data.

use super::{IGNORE, NetError, Result};

/// The two parts of the training data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Learned from.
    Train,
    /// Scored after every epoch, never learned from: chooses the best epoch.
    Holdout,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "training",
            Self::Holdout => "hold-out",
        })
    }
}

/// Where a patch lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// A number for its scene.
    pub scene: usize,
    /// Its upper row in the scene.
    pub row: usize,
    /// Its left column in the scene.
    pub col: usize,
}

/// Square patches with labels, read one at a time from any thread. Reading the same patch twice gives the same values.
pub trait PatchSource: Sync {
    /// Bands of a pixel.
    fn bands(&self) -> usize;

    /// Side of a patch in pixels.
    fn size(&self) -> usize;

    /// Number of training patches.
    fn train_len(&self) -> usize;

    /// Number of hold-out patches; 0 where there is no hold-out.
    fn holdout_len(&self) -> usize;

    /// Labelled pixels of every class over the training patches, by class index. Used for class weights only.
    fn class_pixels(&self) -> Vec<u64>;

    /// Reads patch `index` of `part`.
    ///
    /// `bands` (`size * size * bands`, row-major `[height, width, band]`) becomes normalised values: minus the band's mean,
    /// over its standard deviation; 0 where the scene has no data. `labels` (`size * size`) becomes class indices, or
    /// [`IGNORE`] where there is no label. Both slices come with arbitrary content.
    ///
    /// # Errors
    /// Whatever keeps the patch from being read; training stops with it.
    fn read(&self, part: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<()>;

    /// Sampling weight of a training patch, for `sampling: weighted`: 0 or more, need not sum to anything.
    fn weight(&self, _index: usize) -> f32 {
        1.0
    }

    /// Labelled pixels of every class in a training patch, by class index, for `sampling: class_balanced`.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn patch_pixels(&self, index: usize) -> Result<Vec<u64>> {
        count_pixels(self, index)
    }

    /// Where training patch `index` lies, so that a pixel that several patches share can be known again; `None` where
    /// patches share no pixels.
    fn place(&self, _index: usize) -> Option<Place> {
        None
    }
}

/// Labelled pixels of every class in training patch `index`, by reading it.
fn count_pixels(source: &(impl PatchSource + ?Sized), index: usize) -> Result<Vec<u64>> {
    let (pixels, classes) = (source.size() * source.size(), source.class_pixels().len());
    let (mut bands, mut labels) = (vec![0.0; pixels * source.bands()], vec![0; pixels]);
    source.read(Part::Train, index, &mut bands, &mut labels)?;
    check_patch(Part::Train, index, classes, &bands, &labels)?;
    let mut counts = vec![0; classes];
    labels.iter().filter(|label| **label != IGNORE).for_each(|label| counts[usize::from(*label)] += 1);
    Ok(counts)
}

/// Refuses a patch that would quietly spoil the training, and counts its labelled pixels.
pub(crate) fn check_patch(part: Part, index: usize, classes: usize, bands: &[f32], labels: &[u8]) -> Result<u64> {
    if let Some(value) = bands.iter().find(|v| !v.is_finite()) {
        return Err(NetError::Config(format!(
            "{part} patch {index} holds the value {value}: expected finite numbers; \
             pixels without data must have become \"no label\" before training"
        )));
    }
    let labelled = labels.iter().filter(|&&l| l != IGNORE);
    if let Some(label) = labelled.clone().find(|&&l| usize::from(l) >= classes) {
        return Err(NetError::Config(format!(
            "{part} patch {index} holds the class index {label}: the pipeline has {classes} classes"
        )));
    }
    Ok(labelled.count() as u64)
}
