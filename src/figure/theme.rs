//! Colours and sizes that all figures share, in output pixels.

use crate::raster::Rgb;

/// Titles and values.
pub(super) const INK: Rgb = Rgb(0x1b, 0x26, 0x31);
/// Captions, axis labels.
pub(super) const MUTED: Rgb = Rgb(0x56, 0x63, 0x70);
/// Axis lines and frames.
pub(super) const RULE: Rgb = Rgb(0x9a, 0xa5, 0xb1);
/// Grid lines.
pub(super) const GRID: Rgb = Rgb(0xe3, 0xe7, 0xeb);
/// Paper.
pub(super) const PAPER: Rgb = Rgb(0xff, 0xff, 0xff);
/// First data colour: Okabe and Ito's blue, which stays apart from the second for every colour vision.
pub(super) const SERIES_A: Rgb = Rgb(0x00, 0x72, 0xb2);
/// Second data colour: Okabe and Ito's vermilion.
pub(super) const SERIES_B: Rgb = Rgb(0xd5, 0x5e, 0x00);

/// White around everything.
pub(super) const MARGIN: f64 = 64.0;
/// Title.
pub(super) const TITLE: f64 = 58.0;
/// Line under the title.
pub(super) const SUBTITLE: f64 = 34.0;
/// Captions, class names, values.
pub(super) const BODY: f64 = 34.0;
/// Axis labels and counts.
pub(super) const SMALL: f64 = 28.0;
