//! What a prediction is given.

use serde::{Deserialize, Serialize};

use crate::net::augment::Symmetry;
use crate::net::segmenter::Segmenter;
use crate::net::{NetError, Result};

/// A scene that is read in rectangles.
pub trait SceneSource {
    /// Columns, at least 1.
    fn width(&self) -> usize;

    /// Rows, at least 1.
    fn height(&self) -> usize;

    /// Bands of a pixel.
    fn bands(&self) -> usize;

    /// Reads the rectangle of `height` x `width` pixels whose upper left one is (`row`, `col`); it lies within the scene.
    /// Every pixel is asked for once, top to bottom, in full rows.
    ///
    /// `out` (`[height, width, band]`) becomes normalised as in training; `valid` (`[height, width]`) becomes false where
    /// the scene has no data, and what `out` says there does not matter.
    ///
    /// # Errors
    /// Whatever keeps the scene from being read.
    fn read(
        &self,
        row: usize,
        col: usize,
        height: usize,
        width: usize,
        out: &mut [f32],
        valid: &mut [bool],
    ) -> Result<()>;
}

/// From how many sides a window is looked at: the probabilities of all of them are turned back and averaged (test-time
/// augmentation). Each side is one more pass of the network.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augment {
    /// As it is.
    #[default]
    None,
    /// Also mirrored left-right, top-bottom and both.
    Flips,
    /// In all eight symmetries of the square.
    Eight,
}

impl Augment {
    /// The symmetries, the identity first, in an order in which sums of neighbours, then of neighbouring sums, have the
    /// same terms from wherever in the group one starts: see [`super::sides`].
    pub(super) fn symmetries(self) -> &'static [Symmetry] {
        const EIGHT: [Symmetry; 8] = {
            let at = Symmetry::of_bits;
            [at(0), at(3), at(1), at(2), at(4), at(7), at(5), at(6)]
        };
        match self {
            Self::None => &EIGHT[..1],
            Self::Flips => &EIGHT[..4],
            Self::Eight => &EIGHT,
        }
    }
}

/// How a scene is cut up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictOptions {
    /// Side of a window in pixels: a multiple of what the model needs.
    pub window: usize,
    /// Pixels that neighbouring windows share, at least.
    pub overlap: usize,
    /// Windows in one forward pass. A GPU that has not the memory takes fewer.
    pub batch: usize,
    /// Whether the sink needs probabilities; it gets none otherwise.
    pub probabilities: bool,
    /// From how many sides each window is looked at.
    pub augment: Augment,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self { window: 256, overlap: 64, batch: 4, probabilities: true, augment: Augment::None }
    }
}

impl PredictOptions {
    pub(super) fn check(&self, model: &dyn Segmenter, scene: &dyn SceneSource) -> Result<()> {
        let Self { window, overlap, batch, .. } = *self;
        let multiple = model.multiple();
        let problem = if window == 0 || !window.is_multiple_of(multiple) {
            let fitting = window.next_multiple_of(multiple).max(multiple);
            format!("windows of {window} pixels do not fit the model: use a multiple of {multiple} such as {fitting}")
        } else if overlap >= window {
            format!("the overlap of {overlap} pixels leaves nothing of a window of {window}: use half of it at most")
        } else if batch == 0 {
            "batch is 1 or more, found 0".into()
        } else if scene.width() == 0 || scene.height() == 0 {
            format!("the scene is empty: {} x {} pixels", scene.width(), scene.height())
        } else if scene.bands() != model.bands() {
            format!("the model was trained on {} bands, the scene has {}", model.bands(), scene.bands())
        } else {
            return Ok(());
        };
        Err(NetError::Config(problem))
    }
}

/// The caller's side of a prediction.
#[derive(Clone, Copy)]
pub struct PredictHooks<'a> {
    /// Windows done, windows in all. Windows without data count as done.
    pub progress: &'a dyn Fn(usize, usize),
    /// Asked before every forward pass.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl PredictHooks<'_> {
    /// Tells nobody, never stops.
    pub fn quiet() -> Self {
        Self { progress: &|_, _| {}, cancelled: &|| false }
    }
}

impl std::fmt::Debug for PredictHooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PredictHooks").finish_non_exhaustive()
    }
}
