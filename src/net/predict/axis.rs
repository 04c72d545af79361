//! Windows along one side of a scene, and their weights.

use std::ops::Range;

/// Sigma of the Gaussian weights as a share of the window.
const SIGMA: f64 = 0.125;

/// The windows along a side of `len` pixels. The two sides of a scene are independent: a window's weight at a pixel is the
/// product of its weights along both, and so is the sum of all windows' weights. Therefore each side is normalised by
/// itself, and what is added up over the windows is an average without a division at the end.
pub(super) struct Axis {
    len: usize,
    extent: usize,
    starts: Vec<usize>,
    /// For every window, the weights of its pixels inside the scene; over all windows they sum to 1 at every pixel.
    weights: Vec<Vec<f32>>,
}

impl Axis {
    /// `window` is a multiple of `multiple`, `overlap` less than `window`.
    pub(super) fn new(len: usize, window: usize, overlap: usize, multiple: usize) -> Self {
        // A short side needs no full window, only what the model can halve.
        let extent = window.min(len.next_multiple_of(multiple));
        let mut starts: Vec<usize> = Vec::new();
        if len > window {
            starts.extend((0..len - window).step_by(window - overlap));
        }
        // The last window ends with the scene, and shares more than `overlap` with the one before.
        starts.push(len.saturating_sub(window));
        let weights = normalised_weights(len, extent, &starts);
        Self { len, extent, starts, weights }
    }

    /// Number of windows.
    pub(super) fn windows(&self) -> usize {
        self.starts.len()
    }

    /// Pixels of a window, those beyond the scene included.
    pub(super) fn extent(&self) -> usize {
        self.extent
    }

    /// Pixels of a window that lie inside the scene: the same for all windows.
    pub(super) fn inside(&self) -> usize {
        self.extent.min(self.len)
    }

    /// First pixel of a window.
    pub(super) fn start(&self, window: usize) -> usize {
        self.starts[window]
    }

    /// The pixels of a window inside the scene.
    pub(super) fn span(&self, window: usize) -> Range<usize> {
        self.starts[window]..self.starts[window] + self.inside()
    }

    /// Weights of a window's pixels inside the scene.
    pub(super) fn weights(&self, window: usize) -> &[f32] {
        &self.weights[window]
    }

    /// Every window with its start and the start of the next, or the end of the scene.
    pub(super) fn starts(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let next = self.starts[1..].iter().copied().chain([self.len]);
        self.starts.iter().copied().zip(next).enumerate().map(|(window, (start, next))| (window, start, next))
    }
}

fn normalised_weights(len: usize, extent: usize, starts: &[usize]) -> Vec<Vec<f32>> {
    let inside = extent.min(len);
    let centre = (extent as f64 - 1.0) / 2.0;
    let sigma = SIGMA * extent as f64;
    let gaussian: Vec<f64> = (0..inside).map(|i| (-((i as f64 - centre) / sigma).powi(2) / 2.0).exp()).collect();
    let mut sums = vec![0.0; len];
    for &start in starts {
        for (sum, weight) in sums[start..].iter_mut().zip(&gaussian) {
            *sum += weight;
        }
    }
    let of_window = |&start: &usize| gaussian.iter().zip(&sums[start..]).map(|(w, s)| (w / s) as f32).collect();
    starts.iter().map(of_window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_scene_with_the_overlap_asked_for() {
        for (len, window, overlap, expected) in [
            (100, 32, 8, vec![0, 24, 48, 68]),
            (80, 32, 8, vec![0, 24, 48]),
            (33, 32, 8, vec![0, 1]),
            (32, 32, 8, vec![0]),
            (17, 32, 8, vec![0]),
            (1, 32, 8, vec![0]),
            (96, 32, 0, vec![0, 32, 64]),
            (34, 32, 31, vec![0, 1, 2]),
        ] {
            let axis = Axis::new(len, window, overlap, 8);
            assert_eq!(axis.starts, expected, "{len} {window} {overlap}");
            let steps: Vec<_> = axis.starts().collect();
            assert_eq!(steps.last().unwrap().2, len);
            assert!(steps.windows(2).all(|w| w[0].2 == w[1].1));
        }
    }

    #[test]
    fn short_sides_are_padded_to_the_multiple_only() {
        let extents = |len| {
            let axis = Axis::new(len, 32, 8, 8);
            (axis.extent(), axis.inside())
        };
        assert_eq!(extents(17), (24, 17));
        assert_eq!(extents(31), (32, 31));
        assert_eq!(extents(1), (8, 1));
        assert_eq!(extents(50), (32, 32));
    }

    #[test]
    fn weights_sum_to_one_at_every_pixel_and_are_highest_in_the_middle() {
        for (len, window, overlap) in [(100, 32, 8), (33, 32, 8), (17, 32, 8), (64, 32, 0), (211, 64, 48)] {
            let axis = Axis::new(len, window, overlap, 8);
            let mut sums = vec![0.0_f64; len];
            for window in 0..axis.windows() {
                assert_eq!(axis.weights(window).len(), axis.span(window).len());
                for (pixel, weight) in axis.span(window).zip(axis.weights(window)) {
                    assert!(*weight > 0.0);
                    sums[pixel] += f64::from(*weight);
                }
            }
            assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-6), "{len}");
        }
        let axis = Axis::new(48, 32, 16, 8);
        // Pixel 24 lies in the middle between the windows' centres.
        assert!(axis.weights(0)[20] > 0.5 && axis.weights(0)[28] < 0.5);
        assert!((f64::from(axis.weights(0)[23]) + f64::from(axis.weights(0)[24]) - 1.0).abs() < 1e-6);
    }
}
