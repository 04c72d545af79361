//! The pixels that a forest is grown from.

use std::collections::HashMap;

use crate::net::rng::Rng;
use crate::net::source::{Part, PatchSource, Place, check_patch};
use crate::net::{IGNORE, NetError, Result};

/// Labelled pixels, one after the other.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Pixels {
    pub(super) bands: usize,
    /// `[pixels, bands]`, normalised.
    pub(super) values: Vec<f32>,
    /// Class indices.
    pub(super) labels: Vec<u8>,
}

/// Draws up to `most` labelled pixels of the training patches: every one as likely, none twice, though patches overlap.
///
/// # Errors
/// [`NetError::Config`] where there is no labelled pixel; [`NetError::Cancelled`]; what the source reports.
pub(super) fn draw(
    source: &dyn PatchSource,
    most: usize,
    mut rng: Rng,
    cancelled: &dyn Fn() -> bool,
) -> Result<Pixels> {
    let (bands, size, classes) = (source.bands(), source.size(), source.class_pixels().len());
    let (mut values, mut labels) = (vec![0.0; size * size * bands], vec![0; size * size]);
    let mut seen = Seen::default();
    let mut drawn = Reservoir::new(most, bands);
    for index in 0..source.train_len() {
        if cancelled() {
            return Err(NetError::Cancelled);
        }
        source.read(Part::Train, index, &mut values, &mut labels)?;
        check_patch(Part::Train, index, classes, &values, &labels)?;
        if let Some(place) = source.place(index) {
            seen.hide(place, size, &mut labels);
        }
        let labelled = values.chunks_exact(bands).zip(&labels).filter(|(_, label)| **label != IGNORE);
        labelled.for_each(|(pixel, label)| drawn.offer(pixel, *label, &mut rng));
    }
    if drawn.pixels.labels.is_empty() {
        return Err(NetError::Config("the training patches have no labelled pixel: there is nothing to learn".into()));
    }
    Ok(drawn.pixels)
}

/// Which pixels there were already: a bit each, by scene and row.
#[derive(Default)]
struct Seen(HashMap<(usize, usize), Vec<u64>>);

impl Seen {
    /// Takes the labels from pixels of a patch of `size` x `size` that had one in an earlier patch.
    fn hide(&mut self, Place { scene, row, col }: Place, size: usize, labels: &mut [u8]) {
        for (r, line) in labels.chunks_exact_mut(size).enumerate() {
            let bits = self.0.entry((scene, row + r)).or_default();
            let words = (col + size).div_ceil(64);
            if bits.len() < words {
                bits.resize(words, 0);
            }
            for (c, label) in line.iter_mut().enumerate().filter(|(_, label)| **label != IGNORE) {
                let (word, bit) = ((col + c) / 64, 1 << ((col + c) % 64));
                if bits[word] & bit != 0 {
                    *label = IGNORE;
                }
                bits[word] |= bit;
            }
        }
    }
}

/// A uniform draw without replacement from a stream of unknown length (Vitter 1985, algorithm R).
struct Reservoir {
    most: usize,
    offered: usize,
    pixels: Pixels,
}

impl Reservoir {
    fn new(most: usize, bands: usize) -> Self {
        Self { most, offered: 0, pixels: Pixels { bands, values: Vec::new(), labels: Vec::new() } }
    }

    fn offer(&mut self, pixel: &[f32], label: u8, rng: &mut Rng) {
        let Pixels { bands, values, labels } = &mut self.pixels;
        self.offered += 1;
        if labels.len() < self.most {
            values.extend_from_slice(pixel);
            labels.push(label);
            return;
        }
        let slot = rng.below(self.offered);
        if slot < self.most {
            values[slot * *bands..][..*bands].copy_from_slice(pixel);
            labels[slot] = label;
        }
    }
}
