//! The eight symmetries of the square.

use crate::net::rng::Rng;

/// One symmetry of the square. Bit 0 mirrors left-right, bit 1 mirrors top-bottom, bit 2 then transposes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symmetry(u8);

impl Symmetry {
    /// Leaves a patch as it is.
    pub const IDENTITY: Self = Self(0);

    /// All eight, the identity first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..8).map(Self)
    }

    /// Draws one of the eight.
    pub fn draw(rng: &mut Rng) -> Self {
        Self(rng.below(8) as u8)
    }

    /// The one with these bits, of which the lowest three count.
    pub(crate) const fn of_bits(bits: u8) -> Self {
        Self(bits & 7)
    }

    /// Its bits, as the GPU's kernels take them.
    #[cfg(feature = "cuda")]
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// The one that undoes it. Transposing swaps left-right and top-bottom.
    pub fn inverse(self) -> Self {
        match self.0 & 4 {
            0 => self,
            _ => Self(4 | (self.0 & 1) << 1 | (self.0 & 2) >> 1),
        }
    }

    /// `[height, width]` of what an image of `[height, width]` becomes.
    pub fn size_of(self, [height, width]: [usize; 2]) -> [usize; 2] {
        if self.0 & 4 == 0 { [height, width] } else { [width, height] }
    }

    /// Copies a `size` x `size` patch of `channels` interleaved values a pixel from `from` into `into`, transformed.
    ///
    /// # Panics
    /// When a slice is not `size * size * channels` long.
    pub fn copy<T: Copy>(self, from: &[T], into: &mut [T], size: usize, channels: usize) {
        self.copy_oblong(from, into, [size, size], channels);
    }

    /// As [`Self::copy`], an image of `[height, width]`; what comes out is of [`Self::size_of`] it.
    ///
    /// # Panics
    /// When a slice is not `height * width * channels` long.
    pub fn copy_oblong<T: Copy>(self, from: &[T], into: &mut [T], [height, width]: [usize; 2], channels: usize) {
        assert_eq!(from.len(), height * width * channels, "patch to copy from");
        assert_eq!(into.len(), from.len(), "patch to copy into");
        if self == Self::IDENTITY {
            into.copy_from_slice(from);
            return;
        }
        let source = SourcePixels::new(self, [height, width]);
        let [_, width] = self.size_of([height, width]);
        for (row, into_row) in into.chunks_exact_mut(width * channels).enumerate() {
            for (column, pixel) in into_row.chunks_exact_mut(channels).enumerate() {
                let start = source.index(row, column) * channels;
                pixel.copy_from_slice(&from[start..start + channels]);
            }
        }
    }
}

/// Where the pixel of a transformed patch comes from: affine in row and column.
struct SourcePixels {
    origin: isize,
    per_row: isize,
    per_column: isize,
}

impl SourcePixels {
    fn new(symmetry: Symmetry, [height, width]: [usize; 2]) -> Self {
        let (height, width) = (height as isize, width as isize);
        let (mirror_columns, mirror_rows) = (symmetry.0 & 1 != 0, symmetry.0 & 2 != 0);
        let row_step = if mirror_rows { -width } else { width };
        let column_step = if mirror_columns { -1 } else { 1 };
        let origin = if mirror_rows { (height - 1) * width } else { 0 } + if mirror_columns { width - 1 } else { 0 };
        let (per_row, per_column) = if symmetry.0 & 4 != 0 { (column_step, row_step) } else { (row_step, column_step) };
        Self { origin, per_row, per_column }
    }

    fn index(&self, row: usize, column: usize) -> usize {
        (self.origin + row as isize * self.per_row + column as isize * self.per_column) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SIZE: usize = 3;

    fn transformed(symmetry: Symmetry) -> Vec<u32> {
        let patch: Vec<u32> = (0..9).collect();
        let mut out = vec![0; 9];
        symmetry.copy(&patch, &mut out, SIZE, 1);
        out
    }

    #[test]
    fn the_eight_are_different_and_keep_every_pixel() {
        let all: BTreeSet<Vec<u32>> = Symmetry::all().map(transformed).collect();
        assert_eq!(all.len(), 8);
        for mut patch in all {
            patch.sort_unstable();
            assert_eq!(patch, (0..9).collect::<Vec<_>>());
        }
    }

    #[test]
    fn each_is_what_its_bits_say() {
        assert_eq!(transformed(Symmetry(0)), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(transformed(Symmetry(1)), [2, 1, 0, 5, 4, 3, 8, 7, 6]);
        assert_eq!(transformed(Symmetry(2)), [6, 7, 8, 3, 4, 5, 0, 1, 2]);
        assert_eq!(transformed(Symmetry(3)), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(transformed(Symmetry(4)), [0, 3, 6, 1, 4, 7, 2, 5, 8]);
        // Mirrored left-right, then transposed: a quarter turn to the left.
        assert_eq!(transformed(Symmetry(5)), [2, 5, 8, 1, 4, 7, 0, 3, 6]);
    }

    #[test]
    fn oblong_images_turn_too_and_back() {
        let image: Vec<u32> = (0..6).collect();
        let turned = |symmetry: Symmetry, image: &[u32], size| {
            let mut out = vec![0; 6];
            symmetry.copy_oblong(image, &mut out, size, 1);
            out
        };
        // 0 1 2 over 3 4 5, as numpy's fliplr, flipud and transpose have it.
        assert_eq!(turned(Symmetry(1), &image, [2, 3]), [2, 1, 0, 5, 4, 3]);
        assert_eq!(turned(Symmetry(2), &image, [2, 3]), [3, 4, 5, 0, 1, 2]);
        assert_eq!(turned(Symmetry(4), &image, [2, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(turned(Symmetry(5), &image, [2, 3]), [2, 5, 1, 4, 0, 3]);
        for symmetry in Symmetry::all() {
            let there = turned(symmetry, &image, [2, 3]);
            assert_eq!(turned(symmetry.inverse(), &there, symmetry.size_of([2, 3])), image, "{symmetry:?}");
        }
    }

    #[test]
    fn neighbours_stay_neighbours() {
        for symmetry in Symmetry::all() {
            for row in transformed(symmetry).chunks(3) {
                for pair in row.windows(2) {
                    let (a, b) = (pair[0] as i32, pair[1] as i32);
                    assert_eq!((a / 3 - b / 3).abs() + (a % 3 - b % 3).abs(), 1);
                }
            }
        }
    }

    #[test]
    fn bands_and_labels_move_together() {
        let labels: Vec<u8> = (0..16).collect();
        let bands: Vec<f32> = labels.iter().flat_map(|&l| [f32::from(l), -f32::from(l)]).collect();
        for symmetry in Symmetry::all() {
            let (mut moved_labels, mut moved_bands) = (vec![0; 16], vec![0.0; 32]);
            symmetry.copy(&labels, &mut moved_labels, 4, 1);
            symmetry.copy(&bands, &mut moved_bands, 4, 2);
            for (label, pixel) in moved_labels.iter().zip(moved_bands.chunks(2)) {
                assert_eq!(pixel, [f32::from(*label), -f32::from(*label)]);
            }
        }
    }

    #[test]
    fn all_eight_are_drawn_about_equally() {
        let mut rng = Rng::new(5);
        let mut counts = [0; 8];
        for _ in 0..8000 {
            counts[Symmetry::draw(&mut rng).0 as usize] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
