//! Swatches with names, in as many columns as fit.

use super::canvas::{Canvas, Label, Stroke};
use super::fill::Fill;
use super::text::{Weight, shorten, width};
use super::theme::{BODY, MUTED, RULE, SMALL};

const SWATCH_WIDTH: usize = 72;
const SWATCH_HEIGHT: usize = 48;
const SWATCH_GAP: f64 = 20.0;
const COLUMN_GAP: f64 = 44.0;
const ROW: f64 = 88.0;

/// Longest name in pixels; beyond, it is cut. Thirty letters of usual width fit.
const NAME_LIMIT: f64 = 640.0;

/// One line of the legend.
pub(super) struct Entry {
    pub(super) fill: Fill,
    pub(super) name: String,
    /// Smaller, under the name; may be empty.
    pub(super) note: String,
}

/// A legend laid out for a width.
pub(super) struct Legend {
    entries: Vec<Entry>,
    columns: usize,
    column_width: f64,
}

impl Legend {
    /// Lays entries out in equal columns, read row by row, within `room` pixels.
    pub(super) fn new(mut entries: Vec<Entry>, room: f64) -> Self {
        let name_room = (room - SWATCH_WIDTH as f64 - SWATCH_GAP).min(NAME_LIMIT);
        let mut widest = 0.0_f64;
        for entry in &mut entries {
            entry.name = shorten(&entry.name, BODY, Weight::Regular, name_room);
            let text = width(&entry.name, BODY, Weight::Regular).max(width(&entry.note, SMALL, Weight::Regular));
            widest = widest.max(text);
        }
        let item = SWATCH_WIDTH as f64 + SWATCH_GAP + widest;
        let most = ((room + COLUMN_GAP) / (item + COLUMN_GAP)).floor().max(1.0) as usize;
        let rows = entries.len().div_ceil(most).max(1);
        // As few columns as these rows need, so that the last row is not nearly empty.
        let columns = entries.len().div_ceil(rows).max(1);
        Self { entries, columns, column_width: item + COLUMN_GAP }
    }

    pub(super) fn height(&self) -> f64 {
        self.entries.len().div_ceil(self.columns) as f64 * ROW
    }

    /// Draws the legend with its upper left corner at (x, y).
    pub(super) fn draw(self, canvas: &mut Canvas, x: f64, y: f64) {
        for (index, entry) in self.entries.iter().enumerate() {
            let left = (x + (index % self.columns) as f64 * self.column_width).round();
            let middle = (y + (index / self.columns) as f64 * ROW + ROW / 2.0).round();
            let top = middle - SWATCH_HEIGHT as f64 / 2.0;
            canvas.raster(left, top, entry.fill.swatch(SWATCH_WIDTH, SWATCH_HEIGHT));
            canvas.frame(left, top, SWATCH_WIDTH as f64, SWATCH_HEIGHT as f64, Stroke::new(RULE, 2.0));
            let text = left + SWATCH_WIDTH as f64 + SWATCH_GAP;
            if entry.note.is_empty() {
                canvas.text_middle(text, middle, Label::new(&entry.name, BODY));
            } else {
                canvas.text_middle(text, middle - BODY * 0.55, Label::new(&entry.name, BODY));
                canvas.text_middle(text, middle + SMALL * 0.75, Label::new(&entry.note, SMALL).colour(MUTED));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Hatch;
    use crate::raster::Rgb;

    fn legend(count: usize, name: &str, room: f64) -> Legend {
        let entry = |_| Entry {
            fill: Fill::new(Rgb(1, 2, 3), Hatch::None),
            name: name.to_owned(),
            note: "Jaccard 0.123".into(),
        };
        Legend::new((0..count).map(entry).collect(), room)
    }

    #[test]
    fn columns_never_overlap_nor_leave_the_figure() {
        for count in [1, 2, 7, 20, 60] {
            for name in ["sea", "pastures and meadows on øyer og", "an endless name of many words ".repeat(9).as_str()]
            {
                for room in [972.0, 2616.0, 3072.0] {
                    let legend = legend(count, name, room);
                    let used = legend.columns as f64 * legend.column_width - COLUMN_GAP;
                    assert!(used <= room, "{count} x {name:?} in {room}: {used}");
                    for entry in &legend.entries {
                        let text = width(&entry.name, BODY, Weight::Regular);
                        let item = SWATCH_WIDTH as f64 + SWATCH_GAP + text;
                        assert!(item + COLUMN_GAP <= legend.column_width + 0.01, "{item}");
                    }
                    assert!(legend.columns * legend.height() as usize / ROW as usize >= count);
                }
            }
        }
    }

    #[test]
    fn thirty_letters_are_shown_whole_and_rows_are_even() {
        let name = "pastures and meadows on øyer og";
        assert!(name.chars().count() > 30);
        assert_eq!(legend(3, name, 2616.0).entries[0].name, name);
        assert_eq!(legend(7, "grass", 1500.0).columns, 4);
    }
}
