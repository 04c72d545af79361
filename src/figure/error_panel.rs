//! Where a map and its truth differ, brought to the size at which a figure shows it, row by row.

use super::canvas::Raster;
use super::colour::mix;
use super::distinct::ClassFills;
use super::fill::NO_DATA;
use super::panel::{enlargement, majority, reduced, span};
use crate::raster::{NO_LABEL, Rgb};

/// Grey of the darkest and of the brightest ground, where the map is right: pale, so that errors stand out, but not so
/// pale that yellow and lime would drown.
const GROUND: [f64; 2] = [150.0, 236.0];

/// Brightness (0 to 255) shown as the brightest ground; reflectances of land rarely reach more.
const BRIGHTEST: f64 = 150.0;

/// One row of a scene, its truth and its map.
#[derive(Clone, Debug)]
pub struct ErrorRow {
    /// The scene in natural colour, 8-bit sRGB, 3 bytes a pixel.
    pub rgb: Vec<u8>,
    /// True label codes; [`NO_LABEL`] where nothing is known.
    pub truth: Vec<u8>,
    /// Mapped label codes.
    pub map: Vec<u8>,
}

/// Which class an error is painted as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PaintedAs {
    /// What is there.
    Truth,
    /// What the map says.
    Map,
}

/// A reduced raster of errors above a pale scene. Its memory does not depend on the scene's size beyond that of the figure.
#[derive(Clone, Debug)]
pub struct ErrorPanel {
    source: (usize, usize),
    size: (usize, usize),
    cells: Vec<Cell>,
}

/// What one output pixel stands for.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Mean brightness of the scene, 0 to 255.
    brightness: u8,
    /// Share of its labelled pixels that are wrong, 0 to 255; `None` without a labelled pixel.
    wrong: Option<u8>,
    /// Most frequent true code of the wrong pixels.
    truth: u8,
    /// Most frequent mapped code of the wrong pixels.
    map: u8,
}

impl ErrorPanel {
    /// A scene of `width` x `height` pixels. `row` is asked once for each row, top to bottom. Where several pixels fall
    /// on one of the figure, the class that most of its errors have is shown, as strongly as the share of wrong pixels.
    ///
    /// # Errors
    /// The first one of `row`.
    pub fn new<E>(
        width: usize,
        height: usize,
        mut row: impl FnMut(usize, &mut ErrorRow) -> Result<(), E>,
    ) -> Result<Self, E> {
        let size = reduced(width, height);
        let blank = ErrorRow { rgb: vec![0; width * 3], truth: vec![NO_LABEL; width], map: vec![NO_LABEL; width] };
        let mut cells = Vec::with_capacity(size.0 * size.1);
        // The source rows of one output row.
        let mut rows = Vec::new();
        let mut votes = [0_u32; 256];
        for out_y in 0..size.1 {
            let ys = span(out_y, size.1, height);
            rows.resize(ys.len(), blank.clone());
            for (line, y) in rows.iter_mut().zip(ys) {
                row(y, line)?;
            }
            cells.extend((0..size.0).map(|out_x| cell(&rows, span(out_x, size.0, width), &mut votes)));
        }
        Ok(Self { source: (width, height), size, cells })
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

    /// Whether an output pixel has no labelled pixel.
    pub(super) fn has_gaps(&self) -> bool {
        self.cells.iter().any(|cell| cell.wrong.is_none())
    }

    /// The pixels of the figure: errors in their classes' fills, everything else in the greys of the scene.
    pub(super) fn paint(&self, fills: &ClassFills, painted_as: PaintedAs) -> Raster {
        let factor = enlargement(self.size);
        let (width, height) = self.figure_size();
        Raster::from_fn(width, height, |x, y| {
            let cell = self.cells[y / factor * self.size.0 + x / factor];
            let Some(wrong) = cell.wrong else { return NO_DATA.at(x, y) };
            let code = if painted_as == PaintedAs::Truth { cell.truth } else { cell.map };
            mix(ground(cell.brightness), fills.of(code).at(x, y), f64::from(wrong) / 255.0)
        })
    }
}

fn cell(rows: &[ErrorRow], columns: std::ops::Range<usize>, votes: &mut [u32; 256]) -> Cell {
    let pixels = rows.iter().flat_map(|row| columns.clone().map(move |x| (row, x)));
    let labelled = || pixels.clone().filter(|(row, x)| row.truth[*x] != NO_LABEL);
    let wrong = || labelled().filter(|(row, x)| row.truth[*x] != row.map[*x]);
    let (all, known, errors) = (pixels.clone().count(), labelled().count(), wrong().count());
    let light: u64 = pixels.clone().map(|(row, x)| u64::from(brightness(&row.rgb[x * 3..x * 3 + 3]))).sum();
    Cell {
        brightness: (light / all.max(1) as u64) as u8,
        // A share above 0 is never painted as none.
        wrong: (known > 0).then(|| (errors * 255).div_ceil(known) as u8),
        truth: majority(wrong().map(|(row, x)| row.truth[x]), votes),
        map: majority(wrong().map(|(row, x)| row.map[x]), votes),
    }
}

/// Luma of ITU-R BT.601.
fn brightness(rgb: &[u8]) -> u8 {
    (rgb.iter().zip([0.299, 0.587, 0.114]).map(|(&v, weight)| f64::from(v) * weight).sum::<f64>()).round() as u8
}

/// The grey of ground that is mapped right.
pub(super) fn ground(brightness: u8) -> Rgb {
    let share = (f64::from(brightness) / BRIGHTEST).min(1.0);
    let grey = (GROUND[0] + (GROUND[1] - GROUND[0]) * share.sqrt()).round() as u8;
    Rgb(grey, grey, grey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::{Class, ClassTable};

    const BLUE: Rgb = Rgb(0x00, 0x72, 0xb2);
    const ORANGE: Rgb = Rgb(0xe6, 0x9f, 0x00);

    fn fills() -> ClassFills {
        let class = |code, color| Class { code, name: format!("class {code}"), color };
        ClassFills::new(&ClassTable::new(vec![class(1, BLUE), class(4, ORANGE)]))
    }

    fn panel(width: usize, height: usize, codes: impl Fn(usize, usize) -> (u8, u8)) -> ErrorPanel {
        ErrorPanel::new(width, height, |y, row| {
            row.rgb.fill(90);
            (0..width).for_each(|x| (row.truth[x], row.map[x]) = codes(x, y));
            Ok::<(), ()>(())
        })
        .unwrap()
    }

    fn count(raster: &Raster, Rgb(r, g, b): Rgb) -> usize {
        raster.rgb.as_chunks::<3>().0.iter().filter(|pixel| **pixel == [r, g, b]).count()
    }

    #[test]
    fn errors_have_their_class_s_colour_and_everything_else_is_grey() {
        // A quarter without label, a quarter wrong, half right.
        let panel = panel(1000, 400, |x, y| match (x < 500, y < 200) {
            (true, true) => (0, 1),
            (false, true) => (1, 4),
            _ => (4, 4),
        });
        let truth = panel.paint(&fills(), PaintedAs::Truth);
        assert_eq!((count(&truth, BLUE), count(&truth, ORANGE), count(&truth, ground(90))), (100_000, 0, 200_000));
        let map = panel.paint(&fills(), PaintedAs::Map);
        assert_eq!((count(&map, BLUE), count(&map, ORANGE), count(&map, ground(90))), (0, 100_000, 200_000));
        assert!(panel.has_gaps());
    }

    #[test]
    fn of_many_pixels_the_share_that_is_wrong_shows() {
        // Of every 4 x 4 pixels one is wrong: 1 mapped as 4.
        let panel = panel(4000, 4000, |x, y| if x % 4 == 0 && y % 4 == 0 { (1, 4) } else { (4, 4) });
        assert_eq!(panel.figure_size(), (1000, 1000));
        let expected = mix(ground(90), BLUE, 16.0 / 255.0);
        assert_eq!(count(&panel.paint(&fills(), PaintedAs::Truth), expected), 1_000_000);
        assert!(!panel.has_gaps());
    }

    #[test]
    fn a_row_that_fails_is_told() {
        let failed = ErrorPanel::new(3, 3, |y, _| if y == 2 { Err("disk") } else { Ok(()) });
        assert_eq!(failed.unwrap_err(), "disk");
    }
}
