//! The rows of a scene that the present windows see.

use std::ops::Range;

use super::options::SceneSource;
use crate::net::Result;

/// A strip of full rows that moves down the scene. Reads every row once.
pub(super) struct Strip<'a> {
    scene: &'a dyn SceneSource,
    width: usize,
    bands: usize,
    height: usize,
    top: usize,
    /// Rows already read, from `top` on.
    filled: usize,
    values: Vec<f32>,
    valid: Vec<bool>,
}

/// How a strip moved.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only a GPU has a copy of the strip that must move too"))]
pub(super) struct Moved {
    pub(super) dropped: usize,
    pub(super) kept: usize,
}

impl<'a> Strip<'a> {
    /// A strip of `height` rows, nothing read yet.
    pub(super) fn new(scene: &'a dyn SceneSource, height: usize) -> Self {
        let (width, bands) = (scene.width(), scene.bands());
        Self {
            scene,
            width,
            bands,
            height,
            top: 0,
            filled: 0,
            values: vec![0.0; height * width * bands],
            valid: vec![false; height * width],
        }
    }

    /// Moves down to row `top` and reads the rows that are new. Pixels without data become 0, the mean, as in training.
    /// Says how many rows it dropped at the top, and how many it kept.
    pub(super) fn move_to(&mut self, top: usize) -> Result<Moved> {
        let row = self.width * self.bands;
        let dropped = (top - self.top).min(self.filled);
        self.values.copy_within(dropped * row..self.filled * row, 0);
        self.valid.copy_within(dropped * self.width..self.filled * self.width, 0);
        self.filled -= dropped;
        self.top = top;
        let moved = Moved { dropped, kept: self.filled };
        let (values, valid) = (&mut self.values[self.filled * row..], &mut self.valid[self.filled * self.width..]);
        let missing = self.height - self.filled;
        if missing > 0 {
            self.scene.read(top + self.filled, 0, missing, self.width, values, valid)?;
            for (pixel, _) in values.chunks_exact_mut(self.bands).zip(valid).filter(|(_, valid)| !**valid) {
                pixel.fill(0.0);
            }
        }
        self.filled = self.height;
        Ok(moved)
    }

    /// Values of the rows from `first` on.
    #[cfg(feature = "cuda")]
    pub(super) fn rows_from(&self, first: usize) -> &[f32] {
        &self.values[first * self.width * self.bands..]
    }

    /// Whether any pixel of these columns has data.
    pub(super) fn any_valid(&self, columns: Range<usize>) -> bool {
        self.valid.chunks_exact(self.width).any(|row| row[columns.clone()].contains(&true))
    }

    /// Which pixels of the first `rows` rows have data.
    pub(super) fn valid_rows(&self, rows: usize) -> &[bool] {
        &self.valid[..rows * self.width]
    }

    /// Appends the window of `height` x `width` pixels that starts at column `left`, mirrored where it reaches beyond
    /// the scene's lower or right edge.
    pub(super) fn copy_window(&self, left: usize, height: usize, width: usize, out: &mut Vec<f32>) {
        let inside = width.min(self.width - left);
        for row in 0..height {
            let start = mirror(row, self.height) * self.width;
            let at = |column: usize| (start + column) * self.bands;
            out.extend_from_slice(&self.values[at(left)..at(left + inside)]);
            for beyond in inside..width {
                let column = mirror(left + beyond, self.width);
                out.extend_from_slice(&self.values[at(column)..at(column + 1)]);
            }
        }
    }
}

/// The pixel that `index` shows when a side of `len` pixels is reflected at its end pixels, as often as needed:
/// 0 1 2 | 1 0 1 2 1 …
fn mirror(index: usize, len: usize) -> usize {
    if index < len {
        return index;
    }
    let period = 2 * (len - 1).max(1);
    let within = index % period;
    if len == 1 { 0 } else { within.min(period - within) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_as_numpys_reflect() {
        let seen = |len: usize| (0..8).map(|i| mirror(i, len)).collect::<Vec<_>>();
        assert_eq!(seen(1), [0; 8]);
        assert_eq!(seen(2), [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(seen(3), [0, 1, 2, 1, 0, 1, 2, 1]);
        assert_eq!(seen(5), [0, 1, 2, 3, 4, 3, 2, 1]);
    }
}
