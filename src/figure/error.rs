//! What can go wrong in this room.

use std::path::PathBuf;

/// A figure could not be drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// An array does not cover the grid that it is said to cover.
    #[error("{what} has {found} values, expected {expected}: one for each of the {width} x {height} pixels")]
    Length {
        /// Which array.
        what: &'static str,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Panels of one figure that show different grids.
    #[error(
        "the {what} covers {found_width} x {found_height} pixels and the scene {width} x {height}: both must be the same grid"
    )]
    Grid {
        /// Which panel.
        what: &'static str,
        /// Columns of the scene.
        width: usize,
        /// Rows of the scene.
        height: usize,
        /// Columns of the panel.
        found_width: usize,
        /// Rows of the panel.
        found_height: usize,
    },
    /// A panel of the wrong sort, such as a picture where label codes are needed.
    #[error("the {what} panel holds {found}, expected {expected}")]
    PanelKind {
        /// Which panel.
        what: &'static str,
        /// What it holds.
        found: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
    /// There is nothing to draw.
    #[error("{0} has nothing to draw: {1}")]
    Empty(&'static str, &'static str),
    /// The confusion counts are not square over the labels.
    #[error(
        "the confusion matrix has {rows} rows of {columns} counts for {labels} labels: expected a square over the labels"
    )]
    NotSquare {
        /// Labels named.
        labels: usize,
        /// Rows given.
        rows: usize,
        /// Columns of the first row that does not fit.
        columns: usize,
    },
    /// The picture is larger than a JPEG can be, or than is drawn in reasonable memory.
    #[error(
        "the figure would be {width} x {height} px: at most 65,535 on a side and 120 million in all are drawn; name fewer classes"
    )]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The drawing made from a figure was refused by the SVG library; this is a bug of the program.
    #[error("the figure's drawing is not valid SVG (a bug, please report it): {0}")]
    Drawing(String),
    /// JPEG compression failed.
    #[error("the figure could not be compressed as JPEG: {0}")]
    Encode(#[from] image::ImageError),
    /// The file could not be written.
    #[error("{path}: cannot write the figure: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Result of this room.
pub(super) type Result<T> = std::result::Result<T, FigureError>;

/// Checks that an array covers a grid.
pub(super) fn check_length(
    what: &'static str,
    width: usize,
    height: usize,
    expected: usize,
    found: usize,
) -> Result<()> {
    if expected == found { Ok(()) } else { Err(FigureError::Length { what, width, height, expected, found }) }
}
