//! Panels of one size, side by side or stacked.

use super::theme::{BODY, MARGIN};

/// White between panels.
const GUTTER: f64 = 36.0;

/// From the header to the captions, and from the panels to the legend.
pub(super) const SPACE: f64 = 44.0;

/// From a caption's baseline to its panel.
pub(super) const CAPTION_GAP: f64 = 18.0;

/// Room that a caption needs, however narrow its panel.
const LEAST_COLUMN: f64 = 400.0;

/// Room that title and legend need.
const LEAST_WIDTH: f64 = 1100.0;

/// Scenes wider than this times their height are stacked: side by side they would be ribbons.
const STACK_FROM: f64 = 2.2;

/// Where panels stand, in output pixels.
pub(super) struct PanelGrid {
    /// Width and height of a panel.
    pub(super) panel: (f64, f64),
    columns: usize,
    rows: usize,
    column_pitch: f64,
}

impl PanelGrid {
    /// Lays out so many panels of this width and height.
    pub(super) fn new(count: usize, (width, height): (usize, usize)) -> Self {
        let (width, height) = (width as f64, height as f64);
        let (columns, rows) = if width > STACK_FROM * height { (1, count) } else { (count, 1) };
        Self { panel: (width, height), columns, rows, column_pitch: width.max(LEAST_COLUMN) + GUTTER }
    }

    /// Width of the figure, margins included.
    pub(super) fn figure_width(&self) -> f64 {
        (2.0 * MARGIN + self.columns as f64 * self.column_pitch - GUTTER).max(LEAST_WIDTH)
    }

    /// Height of all panels with their captions.
    pub(super) fn height(&self) -> f64 {
        self.rows as f64 * self.row_pitch()
    }

    /// Upper left corner of a panel, on whole pixels from the top; the panels begin at `top`.
    pub(super) fn corner(&self, index: usize, top: f64) -> (f64, f64) {
        let (column, row) = (index % self.columns, index / self.columns);
        let x = MARGIN + column as f64 * self.column_pitch;
        (x, (top + (row + 1) as f64 * self.row_pitch() - self.panel.1).round())
    }

    fn row_pitch(&self) -> f64 {
        SPACE + BODY + CAPTION_GAP + self.panel.1
    }
}
