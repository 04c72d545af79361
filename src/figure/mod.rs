//! Composes figures, rasterises them, writes JPEG.
//!
//! A figure is laid out as SVG in output pixels, with rasters (maps, hatched swatches) laid under it pixel for pixel, so
//! that text is crisp and label codes are never smoothed. The same input gives the same bytes.

mod axis;
mod canvas;
mod colour;
mod confusion;
mod curves;
mod distinct;
mod error;
mod error_panel;
mod errors;
mod fill;
mod header;
mod jaccard;
mod legend;
mod natural;
mod panel;
mod panel_grid;
mod picture;
mod rates;
mod reliability;
mod scale_bar;
mod segmentation;
mod text;
mod theme;

pub use colour::{Vision, difference};
pub use confusion::{ConfusionFigure, confusion};
pub use curves::{CurvesFigure, Epoch, curves};
pub use distinct::{ClassFills, LEAST_DIFFERENCE, too_close};
pub use error::FigureError;
pub use error_panel::{ErrorPanel, ErrorRow};
pub use errors::{ErrorsFigure, errors};
pub use fill::{Fill, Hatch};
pub use jaccard::{JaccardFigure, jaccard_bars};
pub use natural::{NODATA_GREY, Stretch, natural_colour};
pub use panel::{PANEL_SIDE, Panel};
pub use picture::Picture;
pub use rates::{RateLoss, RatesFigure, rates};
pub use reliability::{ReliabilityFigure, reliability};
pub use segmentation::{SegmentationFigure, segmentation};
