//! Zoom about a point of the patch.

use crate::net::rng::Rng;

/// A zoom. The point of the patch that comes to lie at `out` was at `about + (out - about) / scale`, both axes alike.
/// Coordinates are in pixels from the upper left corner of the patch, so that pixel `i` reaches from `i` to `i + 1`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Zoom {
    scale: f64,
    /// Row and column of what stays where it is.
    about: [f64; 2],
}

/// Where a row (or column) comes from.
struct Line {
    /// The two lines that bands are blended of.
    blended: [usize; 2],
    /// Share of the second of them.
    share: f32,
    /// The line that labels are taken from.
    nearest: usize,
}

impl Zoom {
    /// Draws a zoom between `least` and `greatest`, log-uniform, so that twice and half are as likely; about a uniformly
    /// random point of a patch of `size` x `size` pixels, so that zooming in shows every part of it, and zooming out puts it
    /// anywhere. `None` where there is but the zoom of 1.
    pub(super) fn draw([least, greatest]: [f64; 2], size: usize, rng: &mut Rng) -> Option<Self> {
        if [least, greatest] == [1.0, 1.0] {
            return None;
        }
        let scale = least * (greatest / least).powf(rng.uniform());
        Some(Self { scale, about: std::array::from_fn(|_| size as f64 * rng.uniform()) })
    }

    /// The zoomed bands of a patch of `size` x `size` pixels of `channels` interleaved values, each blended of the four
    /// around the place that it comes from (bilinear).
    pub(super) fn bands(&self, from: &[f32], into: &mut [f32], size: usize, channels: usize) {
        let [rows, columns] = self.lines(size);
        let width = size * channels;
        for (row, into_row) in rows.iter().zip(into.chunks_exact_mut(width)) {
            let [above, below] = row.blended.map(|line| &from[line * width..][..width]);
            for (column, pixel) in columns.iter().zip(into_row.chunks_exact_mut(channels)) {
                let [left, right] = column.blended.map(|line| line * channels);
                for (band, value) in pixel.iter_mut().enumerate() {
                    let upper = blend(above[left + band], above[right + band], column.share);
                    let lower = blend(below[left + band], below[right + band], column.share);
                    *value = blend(upper, lower, row.share);
                }
            }
        }
    }

    /// The zoomed labels of a patch of `size` x `size` pixels, each that of the pixel that it comes from.
    pub(super) fn labels(&self, from: &[u8], into: &mut [u8], size: usize) {
        let [rows, columns] = self.lines(size);
        for (row, into_row) in rows.iter().zip(into.chunks_exact_mut(size)) {
            let from_row = &from[row.nearest * size..][..size];
            into_row.iter_mut().zip(&columns).for_each(|(label, column)| *label = from_row[column.nearest]);
        }
    }

    /// Rows, then columns.
    fn lines(&self, size: usize) -> [Vec<Line>; 2] {
        self.about.map(|about| (0..size).map(|out| self.line(about, out, size)).collect())
    }

    fn line(&self, about: f64, out: usize, size: usize) -> Line {
        let place = about + (out as f64 + 0.5 - about) / self.scale;
        // Values stand for the centres of pixels, half a pixel from their edges.
        let first = (place - 0.5).floor();
        let blended = [first as i64, first as i64 + 1].map(|line| mirrored(line, size));
        Line { blended, share: (place - 0.5 - first) as f32, nearest: mirrored(place.floor() as i64, size) }
    }
}

fn blend(first: f32, second: f32, share: f32) -> f32 {
    first + share * (second - first)
}

/// The line that is seen at `line` where a patch of `size` lines is continued by mirrors at its edges: `… 1 0 | 0 1 … n-1 |
/// n-1 n-2 …`.
fn mirrored(line: i64, size: usize) -> usize {
    let line = line.rem_euclid(2 * size as i64) as usize;
    if line < size { line } else { 2 * size - 1 - line }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A patch of 4 x 4 pixels whose bands tell row and column, and whose labels tell the pixel, zoomed.
    fn zoomed(scale: f64, about: [f64; 2]) -> (Vec<f32>, Vec<f32>, Vec<u8>) {
        let zoom = Zoom { scale, about };
        let labels: Vec<u8> = (0..16).collect();
        let bands: Vec<f32> = labels.iter().flat_map(|l| [f32::from(l / 4), f32::from(l % 4)]).collect();
        let (mut zoomed_bands, mut zoomed_labels) = (vec![9.0; 32], vec![99; 16]);
        zoom.bands(&bands, &mut zoomed_bands, 4, 2);
        zoom.labels(&labels, &mut zoomed_labels, 4);
        let band = |band: usize| zoomed_bands.iter().skip(band).step_by(2).copied().collect();
        (band(0), band(1), zoomed_labels)
    }

    /// `values` as rows of 4 x 4 pixels, and as columns.
    fn by_row_and_column(values: [f32; 4]) -> (Vec<f32>, Vec<f32>) {
        (values.iter().flat_map(|v| [*v; 4]).collect(), values.repeat(4))
    }

    #[test]
    fn to_twice_the_size_as_by_hand() {
        // Centres 0.5, 1.5, 2.5, 3.5 come from 0.25, 0.75, 1.25, 1.75: a quarter before and after the centres of 0 and 1.
        let (rows, columns, labels) = zoomed(2.0, [0.0, 0.0]);
        assert_eq!((rows, columns), by_row_and_column([0.0, 0.25, 0.75, 1.25]));
        assert_eq!(labels, [0, 0, 1, 1, 0, 0, 1, 1, 4, 4, 5, 5, 4, 4, 5, 5]);
        // About the lower right corner: from 2.25, 2.75, 3.25, 3.75, beyond which 3 is mirrored.
        let (rows, columns, labels) = zoomed(2.0, [4.0, 4.0]);
        assert_eq!((rows, columns), by_row_and_column([1.75, 2.25, 2.75, 3.0]));
        assert_eq!(labels, [10, 10, 11, 11, 10, 10, 11, 11, 14, 14, 15, 15, 14, 14, 15, 15]);
    }

    #[test]
    fn to_half_the_size_as_by_hand_with_mirrors_beyond_the_edge() {
        // Centres come from 1, 3, 5, 7, which are edges between pixels: of 0 and 1, 2 and 3, then mirrored.
        let (rows, columns, labels) = zoomed(0.5, [0.0, 0.0]);
        assert_eq!((rows, columns), by_row_and_column([0.5, 2.5, 2.5, 0.5]));
        assert_eq!(labels, [5, 7, 6, 4, 13, 15, 14, 12, 9, 11, 10, 8, 1, 3, 2, 0]);
    }

    #[test]
    fn rows_and_columns_have_places_of_their_own() {
        // Rows about the lower edge come from 2.25 to 3.75, columns about the left one from 0.25 to 1.75.
        let (rows, columns, labels) = zoomed(2.0, [4.0, 0.0]);
        assert_eq!(rows, by_row_and_column([1.75, 2.25, 2.75, 3.0]).0);
        assert_eq!(columns, by_row_and_column([0.0, 0.25, 0.75, 1.25]).1);
        assert_eq!(labels[..4], [8, 8, 9, 9]);
    }

    #[test]
    fn to_its_own_size_is_as_it_was() {
        let (rows, columns, labels) = zoomed(1.0, [1.0, 3.0]);
        assert_eq!((rows, columns), by_row_and_column([0.0, 1.0, 2.0, 3.0]));
        assert_eq!(labels, (0..16).collect::<Vec<u8>>());
    }

    #[test]
    fn mirrors_go_on_for_ever() {
        let seen: Vec<usize> = (-7..10).map(|line| mirrored(line, 3)).collect();
        assert_eq!(seen, [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2]);
    }

    #[test]
    fn draws_are_log_uniform_about_any_point() {
        let mut rng = Rng::new(6);
        assert_eq!(Zoom::draw([1.0, 1.0], 8, &mut rng), None);
        let zooms: Vec<Zoom> = (0..8000).map(|_| Zoom::draw([0.5, 4.0], 8, &mut rng).unwrap()).collect();
        // A third of the octaves each; five standard errors of a third are 211.
        for octave in [0.5, 1.0, 2.0] {
            let count = zooms.iter().filter(|z| (octave..2.0 * octave).contains(&z.scale)).count();
            assert!((2456..2878).contains(&count), "{octave}: {count}");
        }
        for axis in 0..2 {
            let first = zooms.iter().filter(|z| z.about[axis] < 2.0).count();
            assert!((1806..2194).contains(&first), "{first}");
            assert!(zooms.iter().all(|z| (0.0..8.0).contains(&z.about[axis])));
        }
        assert_eq!(Zoom::draw([2.0, 2.0], 8, &mut rng).unwrap().scale, 2.0);
    }
}
