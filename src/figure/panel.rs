//! A scene or a label map, brought to the size at which a figure shows it, row by row.

use super::canvas::Raster;
use super::distinct::ClassFills;
use super::error::{FigureError, Result, check_length};
use super::fill::NO_DATA;
use crate::raster::Rgb;

/// Longest side of a panel in output pixels, about: larger scenes are reduced to it, small ones grow by the whole factor
/// that comes closest. So text, whose size is fixed, goes with maps of any scene.
pub const PANEL_SIDE: usize = 1000;

/// Scenes up to this side are shown as they are: to reduce by less than a fifth costs more detail than it saves room.
const LARGEST_UNREDUCED: usize = 1200;

/// A reduced raster of one grid. Its memory does not depend on the scene's size beyond [`PANEL_SIDE`] squared.
#[derive(Clone, Debug)]
pub struct Panel {
    source: (usize, usize),
    size: (usize, usize),
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// `None`: no data.
    Colours(Vec<Option<[u8; 3]>>),
    Codes(Vec<u8>),
}

impl Panel {
    /// A picture of `width` x `height` pixels. `row` is asked once for each row, top to bottom, and fills 3 bytes a
    /// pixel (8-bit sRGB) and whether each pixel has data. Reduced by averaging the pixels with data.
    ///
    /// # Errors
    /// The first one of `row`.
    pub fn rgb<E>(
        width: usize,
        height: usize,
        mut row: impl FnMut(usize, &mut [u8], &mut [bool]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let size = reduced(width, height);
        let (mut line, mut valid) = (vec![0; width * 3], vec![true; width]);
        let mut colours = Vec::with_capacity(size.0 * size.1);
        // Sums of red, green, blue, and the number of pixels with data.
        let mut cells = vec![[0_u64; 4]; size.0];
        for out_y in 0..size.1 {
            cells.fill([0; 4]);
            for y in span(out_y, size.1, height) {
                valid.fill(true);
                row(y, &mut line, &mut valid)?;
                let pixels = line.as_chunks::<3>().0;
                for (out_x, cell) in cells.iter_mut().enumerate() {
                    for x in span(out_x, size.0, width).filter(|&x| valid[x]) {
                        (0..3).for_each(|band| cell[band] += u64::from(pixels[x][band]));
                        cell[3] += 1;
                    }
                }
            }
            let mean = |[r, g, b, n]: [u64; 4]| (n > 0).then(|| [r, g, b].map(|sum| ((sum + n / 2) / n) as u8));
            colours.extend(cells.iter().map(|&cell| mean(cell)));
        }
        Ok(Self { source: (width, height), size, content: Content::Colours(colours) })
    }

    /// A label map of `width` x `height` pixels. `row` is asked once for each row, top to bottom, and fills the label
    /// codes. Reduced to the code that covers most of each output pixel (the lower one of equals): never mixed.
    ///
    /// # Errors
    /// The first one of `row`.
    pub fn labels<E>(
        width: usize,
        height: usize,
        mut row: impl FnMut(usize, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let size = reduced(width, height);
        let mut codes = Vec::with_capacity(size.0 * size.1);
        // The source rows of one output row.
        let mut rows = Vec::new();
        let mut votes = [0_u32; 256];
        for out_y in 0..size.1 {
            let ys = span(out_y, size.1, height);
            rows.resize(ys.len() * width, 0);
            for (line, y) in rows.chunks_exact_mut(width).zip(ys) {
                row(y, line)?;
            }
            for out_x in 0..size.0 {
                let xs = span(out_x, size.0, width);
                let cell = rows.chunks_exact(width).flat_map(|line| &line[xs.clone()]).copied();
                codes.push(majority(cell, &mut votes));
            }
        }
        Ok(Self { source: (width, height), size, content: Content::Codes(codes) })
    }

    /// [`Self::rgb`] from a picture in memory; `valid` has one value a pixel, `None` if all have data.
    ///
    /// # Errors
    /// When an array does not cover the grid.
    pub fn from_rgb(width: usize, height: usize, rgb: &[u8], valid: Option<&[bool]>) -> Result<Self> {
        check_length("the scene's picture (3 bytes a pixel)", width, height, width * height * 3, rgb.len())?;
        if let Some(valid) = valid {
            check_length("the scene's mask of valid pixels", width, height, width * height, valid.len())?;
        }
        Self::rgb(width, height, |y, line, mask| {
            line.copy_from_slice(&rgb[y * width * 3..(y + 1) * width * 3]);
            if let Some(valid) = valid {
                mask.copy_from_slice(&valid[y * width..(y + 1) * width]);
            }
            Ok(())
        })
    }

    /// [`Self::labels`] from a map in memory.
    ///
    /// # Errors
    /// When the array does not cover the grid.
    pub fn from_labels(width: usize, height: usize, codes: &[u8]) -> Result<Self> {
        check_length("the label map", width, height, width * height, codes.len())?;
        Self::labels(width, height, |y, line| {
            line.copy_from_slice(&codes[y * width..(y + 1) * width]);
            Ok(())
        })
    }

    /// Columns and rows of the grid that the panel shows.
    pub fn source_size(&self) -> (usize, usize) {
        self.source
    }

    /// Columns and rows in a figure.
    pub fn figure_size(&self) -> (usize, usize) {
        let factor = enlargement(self.size);
        (self.size.0 * factor, self.size.1 * factor)
    }

    /// Whether the panel shows label codes.
    pub(super) fn is_labels(&self) -> bool {
        matches!(self.content, Content::Codes(_))
    }

    /// Whether an output pixel of the map has this code.
    pub(super) fn shows(&self, code: u8) -> bool {
        matches!(&self.content, Content::Codes(codes) if codes.contains(&code))
    }

    /// Codes that the map shows, ascending.
    pub(super) fn codes(&self) -> Vec<u8> {
        (0..=255).filter(|&code| self.shows(code)).collect()
    }

    /// The pixels of the figure: codes in their fills, pixels without data hatched grey.
    pub(super) fn paint(&self, fills: &ClassFills) -> Raster {
        let factor = enlargement(self.size);
        let (width, height) = self.figure_size();
        Raster::from_fn(width, height, |x, y| {
            let at = y / factor * self.size.0 + x / factor;
            match &self.content {
                Content::Codes(codes) => fills.of(codes[at]).at(x, y),
                Content::Colours(colours) => colours[at].map_or_else(|| NO_DATA.at(x, y), |[r, g, b]| Rgb(r, g, b)),
            }
        })
    }

    /// Checks that the panel holds label codes, or a picture.
    pub(super) fn expect_labels(&self, what: &'static str, labels: bool) -> Result<()> {
        let name = |labels| if labels { "label codes" } else { "a picture" };
        if self.is_labels() == labels {
            Ok(())
        } else {
            Err(FigureError::PanelKind { what, found: name(!labels), expected: name(labels) })
        }
    }
}

/// Whole factor by which a reduced grid grows in a figure.
pub(super) fn enlargement(size: (usize, usize)) -> usize {
    let longer = size.0.max(size.1).max(1);
    ((PANEL_SIDE + longer / 2) / longer).max(1)
}

/// Size of a grid once it is reduced to [`PANEL_SIDE`].
pub(super) fn reduced(width: usize, height: usize) -> (usize, usize) {
    if width == 0 || height == 0 {
        return (0, 0);
    }
    let longer = width.max(height);
    if longer <= LARGEST_UNREDUCED {
        return (width, height);
    }
    let scale = |side: usize| ((side * PANEL_SIDE + longer / 2) / longer).max(1).min(side);
    (scale(width), scale(height))
}

/// Source pixels of output pixel `at` of `out`.
pub(super) fn span(at: usize, out: usize, source: usize) -> std::ops::Range<usize> {
    at * source / out..(at + 1) * source / out
}

/// The most frequent code, the lowest of equals. `votes` is all 0 before and after, so that no cell pays for 256 codes.
pub(super) fn majority(cell: impl Iterator<Item = u8> + Clone, votes: &mut [u32; 256]) -> u8 {
    cell.clone().for_each(|code| votes[usize::from(code)] += 1);
    let winner = cell.clone().max_by_key(|&code| (votes[usize::from(code)], std::cmp::Reverse(code)));
    cell.for_each(|code| votes[usize::from(code)] = 0);
    winner.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Hatch;
    use crate::raster::{Class, ClassTable};

    fn codes(panel: &Panel) -> &[u8] {
        match &panel.content {
            Content::Codes(codes) => codes,
            Content::Colours(_) => panic!("a picture"),
        }
    }

    #[test]
    fn small_maps_grow_by_whole_factors_without_smoothing() {
        let map: Vec<u8> = (0..300 * 200).map(|i| (i % 3 + 1) as u8).collect();
        let panel = Panel::from_labels(300, 200, &map).unwrap();
        assert_eq!(panel.figure_size(), (900, 600));
        let colours = [Rgb(0, 114, 178), Rgb(213, 94, 0), Rgb(240, 228, 66)];
        let class = |i: usize| Class { code: i as u8 + 1, name: String::new(), color: colours[i] };
        let fills = ClassFills::new(&ClassTable::new((0..3).map(class).collect()));
        assert_eq!(fills.of(1).hatch, Hatch::None);
        let raster = panel.paint(&fills);
        for (i, pixel) in raster.rgb.as_chunks::<3>().0.iter().enumerate() {
            let (x, y) = (i % 900 / 3, i / 900 / 3);
            let Rgb(r, g, b) = colours[usize::from(map[y * 300 + x]) - 1];
            assert_eq!(*pixel, [r, g, b]);
        }
    }

    #[test]
    fn large_maps_show_the_code_that_covers_most() {
        let (width, height) = (4000, 2000);
        // Every 4 x 4 block: 9 pixels of code 7, 7 of code 3.
        let row = |y: usize, line: &mut [u8]| -> std::result::Result<(), ()> {
            line.iter_mut().enumerate().for_each(|(x, code)| *code = if x % 4 < 3 && y % 4 < 3 { 7 } else { 3 });
            Ok(())
        };
        let panel = Panel::labels(width, height, row).unwrap();
        assert_eq!(panel.figure_size(), (1000, 500));
        assert!(codes(&panel).iter().all(|&code| code == 7));
        assert!(!panel.shows(3));
    }

    #[test]
    fn of_equals_the_lower_code_is_shown() {
        let mut votes = [0; 256];
        assert_eq!(majority([9, 2, 9, 2].into_iter(), &mut votes), 2);
        assert_eq!(majority([9, 2, 9].into_iter(), &mut votes), 9);
        assert!(votes.iter().all(|&count| count == 0));
    }

    #[test]
    fn scenes_are_averaged_over_pixels_with_data() {
        let (width, height) = (2000, 2000);
        let row = |y: usize, rgb: &mut [u8], valid: &mut [bool]| -> std::result::Result<(), ()> {
            rgb.as_chunks_mut::<3>().0.iter_mut().enumerate().for_each(|(x, pixel)| {
                *pixel = if x % 2 == 0 { [10, 100, 255] } else { [20, 200, 0] };
                valid[x] = y >= 1000 || x % 2 == 0;
            });
            valid[1998..].fill(false);
            Ok(())
        };
        let panel = Panel::rgb(width, height, row).unwrap();
        let Content::Colours(colours) = &panel.content else { panic!("codes") };
        assert_eq!(colours[0], Some([10, 100, 255]));
        assert_eq!(colours[999 * 1000], Some([15, 150, 128]));
        assert_eq!(colours[999], None);
    }

    #[test]
    fn every_source_pixel_belongs_to_one_output_pixel() {
        for (source, out) in [(10_980, 1000), (1201, 1000), (1700, 999), (850, 850)] {
            let covered: Vec<usize> = (0..out).flat_map(|at| span(at, out, source)).collect();
            assert_eq!(covered, (0..source).collect::<Vec<_>>());
            assert!((0..out).all(|at| !span(at, out, source).is_empty()));
        }
    }

    #[test]
    fn rows_that_fail_and_arrays_that_do_not_fit_are_errors() {
        assert_eq!(Panel::labels(3, 3, |y, _| if y == 2 { Err("disk") } else { Ok(()) }).unwrap_err(), "disk");
        let error = Panel::from_labels(3, 3, &[0; 8]).unwrap_err().to_string();
        assert_eq!(error, "the label map has 8 values, expected 9: one for each of the 3 x 3 pixels");
        assert!(Panel::from_rgb(3, 3, &[0; 27], Some(&[true; 3])).is_err());
    }
}
