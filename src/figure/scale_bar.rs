//! A bar of a round length on the ground.

use super::canvas::{Anchor, Canvas, Label};
use super::text::{Weight, width};
use super::theme::{INK, PAPER, SMALL};

/// Share of the panel's width that the bar may take.
const SHARE: f64 = 0.25;

const BAR: f64 = 10.0;
const PAD: f64 = 16.0;

/// From the panel's edges.
const INSET: f64 = 20.0;

/// A round ground length and its length in output pixels.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct ScaleBar {
    pub(super) label: String,
    pub(super) pixels: f64,
}

impl ScaleBar {
    /// The longest of 1, 2 or 5 times a power of ten metres within a quarter of the panel. `metres_per_pixel` is that of
    /// output pixels. `None` where that makes no sense.
    pub(super) fn fit(panel_width: usize, metres_per_pixel: f64) -> Option<Self> {
        let longest = panel_width as f64 * SHARE * metres_per_pixel;
        if !longest.is_finite() || longest <= 0.0 {
            return None;
        }
        let power = 10_f64.powf(longest.log10().floor());
        // A hair's breadth of tolerance: 100 m may come out as 99.999.
        let metres = [5.0, 2.0, 1.0].map(|step| step * power).into_iter().find(|m| *m <= longest * 1.000_001)?;
        let label = if metres >= 1000.0 { format!("{} km", metres / 1000.0) } else { format!("{metres} m") };
        Some(Self { label, pixels: metres / metres_per_pixel })
    }

    /// Draws the bar into the lower left corner of the panel at (x, y), unless the panel is too small to hold it.
    pub(super) fn draw(&self, canvas: &mut Canvas, (x, y): (f64, f64), (panel_width, panel_height): (f64, f64)) {
        let text = width(&self.label, SMALL, Weight::Bold);
        let inner = self.pixels.max(text);
        let (plate_width, plate_height) = (inner + 2.0 * PAD, SMALL + BAR + 2.4 * PAD);
        if plate_width + 2.0 * INSET > panel_width || plate_height + 2.0 * INSET > panel_height {
            return;
        }
        let (left, top) = (x + INSET, y + panel_height - INSET - plate_height);
        canvas.plate(left, top, plate_width, plate_height);
        let middle = left + plate_width / 2.0;
        canvas.text(middle, top + PAD + SMALL * 0.75, Label::new(&self.label, SMALL).bold().anchor(Anchor::Middle));
        let (bar_left, bar_top) = (middle - self.pixels / 2.0, top + plate_height - PAD - BAR);
        canvas.rect(bar_left, bar_top, self.pixels, BAR, INK);
        // Half light, half dark, as on printed maps: the middle is a length to measure with, too.
        canvas.rect(bar_left + self.pixels / 2.0, bar_top + 2.0, self.pixels / 2.0 - 2.0, BAR - 4.0, PAPER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_round_and_true_to_scale() {
        let of = |panel, metres| ScaleBar::fit(panel, metres).unwrap();
        assert_eq!(of(850, 10.0), ScaleBar { label: "2 km".into(), pixels: 200.0 });
        assert_eq!(of(1200, 91.5), ScaleBar { label: "20 km".into(), pixels: 20_000.0 / 91.5 });
        assert_eq!(of(1200, 2.5).label, "500 m");
        assert_eq!(of(400, 1.0), ScaleBar { label: "100 m".into(), pixels: 100.0 });
        assert_eq!(of(1200, 0.01).label, "2 m");
        for (panel, metres) in [(0, 10.0), (800, 0.0), (800, f64::NAN), (800, -10.0)] {
            assert_eq!(ScaleBar::fit(panel, metres), None);
        }
    }
}
