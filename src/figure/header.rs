//! Title and subtitle, alike in all figures.

use super::canvas::{Canvas, Label};
use super::text::{Fitted, Weight, fit};
use super::theme::{MARGIN, MUTED, SUBTITLE, TITLE};

/// Height of a line of text as a share of its size.
const LEADING: f64 = 1.25;

/// Where capitals end above the baseline, as a share of the size.
const CAPITAL: f64 = 0.714;

/// A fitted title and subtitle, left-aligned at the margin.
pub(super) struct Header {
    title: Fitted,
    subtitle: Fitted,
}

impl Header {
    /// Fits both texts into a figure of this width; the title into two lines at most, the subtitle into two.
    pub(super) fn new(title: &str, subtitle: &str, figure_width: f64) -> Self {
        let room = figure_width - 2.0 * MARGIN;
        Self {
            title: fit(title, TITLE, Weight::Bold, room, 2),
            subtitle: fit(subtitle, SUBTITLE, Weight::Regular, room, 2),
        }
    }

    /// From the figure's top edge to the lowest baseline.
    pub(super) fn bottom(&self) -> f64 {
        self.baselines().last().map_or(MARGIN, |line| line.0)
    }

    pub(super) fn draw(&self, canvas: &mut Canvas) {
        for (baseline, line, size, weight) in self.baselines() {
            let label = Label::new(line, size);
            let label = if weight == Weight::Bold { label.bold() } else { label.colour(MUTED) };
            canvas.text(MARGIN, baseline, label);
        }
    }

    fn baselines(&self) -> Vec<(f64, &str, f64, Weight)> {
        let mut lines = Vec::new();
        let mut next = MARGIN + self.title.size * CAPITAL;
        for line in self.title.lines.iter().filter(|line| !line.is_empty()) {
            lines.push((next, line.as_str(), self.title.size, Weight::Bold));
            next += self.title.size * LEADING;
        }
        if let Some((last, ..)) = lines.last() {
            next = last + self.subtitle.size * 1.6;
        }
        for line in self.subtitle.lines.iter().filter(|line| !line.is_empty()) {
            lines.push((next, line.as_str(), self.subtitle.size, Weight::Regular));
            next += self.subtitle.size * LEADING;
        }
        lines
    }
}
