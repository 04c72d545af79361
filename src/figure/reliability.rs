//! Whether a network knows what it does not know: accuracy by confidence.

use super::canvas::{Anchor, Canvas, Label, Stroke};
use super::colour::mix;
use super::error::{FigureError, Result};
use super::fill::{Fill, Hatch};
use super::header::Header;
use super::picture::Picture;
use super::text::{Weight, width};
use super::theme::{BODY, GRID, INK, MARGIN, MUTED, PAPER, RULE, SERIES_A, SERIES_B, SMALL};
use crate::metrics::{Calibration, ReliabilityBin};

const WIDTH: f64 = 1800.0;

/// Side of the square in which accuracy stands over confidence.
const SIDE: f64 = 1000.0;

/// Height of the bars that say how many pixels there are, and the room between them and the square.
const HISTOGRAM: f64 = 190.0;
const BETWEEN: f64 = 70.0;

/// Left of the square, for ticks and the axis' name.
const AXIS_ROOM: f64 = 150.0;

/// From the square to the numbers beside it.
const ASIDE: f64 = 80.0;

/// Size of the calibration error, printed large.
const LARGE: f64 = 128.0;

/// Confidence and accuracy that differ by less are called equal.
const EQUAL: f64 = 0.005;

/// What [`reliability`] draws.
#[derive(Clone, Copy, Debug)]
pub struct ReliabilityFigure<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line; may be empty.
    pub subtitle: &'a str,
    /// The numbers.
    pub calibration: &'a Calibration,
}

/// Draws the accuracy of each bin of confidence as a bar, the gap to perfect calibration (the diagonal) hatched, and the
/// share of pixels of each bin below.
///
/// # Errors
/// When there is no bin.
pub fn reliability(figure: &ReliabilityFigure<'_>) -> Result<Picture> {
    if figure.calibration.bins.is_empty() {
        return Err(FigureError::Empty("the reliability figure", "there is no bin of confidence"));
    }
    let header = Header::new(figure.title, figure.subtitle, WIDTH);
    let square = Plot { left: MARGIN + AXIS_ROOM, top: (header.bottom() + 70.0).round(), height: SIDE };
    let histogram = Plot { top: square.top + SIDE + BETWEEN, height: HISTOGRAM, ..square };
    let mut canvas = Canvas::new(WIDTH, histogram.bottom() + 120.0 + MARGIN * 0.5);
    header.draw(&mut canvas);
    draw_square(&mut canvas, &square, &figure.calibration.bins);
    draw_histogram(&mut canvas, &histogram, figure.calibration);
    draw_numbers(&mut canvas, &square, figure.calibration);
    canvas.render()
}

/// A box whose width is [`SIDE`] and whose values run from 0 to 1, in output pixels.
#[derive(Clone, Copy)]
struct Plot {
    left: f64,
    top: f64,
    height: f64,
}

impl Plot {
    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        ((self.left + x * SIDE).round(), (self.bottom() - y.clamp(0.0, 1.0) * self.height).round())
    }

    /// A filled box between two heights of a bin, a hair apart from its neighbours.
    fn bar(&self, canvas: &mut Canvas, bin: &ReliabilityBin, (low, high): (f64, f64), fill: Fill) {
        let ((left, bottom), (right, top)) = (self.at(bin.above, low), self.at(bin.to, high));
        canvas.raster(left + 2.0, top, fill.swatch((right - left - 4.0) as usize, (bottom - top) as usize));
    }
}

fn draw_square(canvas: &mut Canvas, plot: &Plot, bins: &[ReliabilityBin]) {
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let (left, y) = plot.at(0.0, share);
        canvas.line((left, y), (left + SIDE, y), Stroke::new(if tick == 0 { RULE } else { GRID }, 2.0));
        let label = format!("{share:.1}");
        canvas.text_middle(left - 20.0, y, Label::new(&label, SMALL).colour(MUTED).anchor(Anchor::End));
    }
    for bin in bins {
        let Some((accuracy, confidence)) = bin.accuracy.zip(bin.confidence) else { continue };
        plot.bar(canvas, bin, (0.0, accuracy), Fill::new(SERIES_A, Hatch::None));
        let gap = (accuracy.min(confidence), accuracy.max(confidence));
        plot.bar(canvas, bin, gap, gap_fill());
    }
    let (left, bottom) = plot.at(0.0, 0.0);
    canvas.line((left, plot.top), (left, bottom), Stroke::new(RULE, 2.0));
    for stroke in [Stroke::new(PAPER, 9.0), Stroke::new(INK, 4.0).dashed()] {
        canvas.line((left, bottom), plot.at(1.0, 1.0), stroke);
    }
    let name = Label::new("share of pixels that are right", SMALL).colour(MUTED).anchor(Anchor::Middle).turned(-90.0);
    canvas.text(left - 100.0, plot.top + SIDE / 2.0, name);
}

/// What stands between accuracy and confidence.
fn gap_fill() -> Fill {
    Fill::new(mix(SERIES_B, PAPER, 0.55), Hatch::Rising)
}

fn draw_histogram(canvas: &mut Canvas, plot: &Plot, calibration: &Calibration) {
    let share = |bin: &ReliabilityBin| bin.pixels as f64 / calibration.pixels.max(1) as f64;
    let highest = calibration.bins.iter().map(share).fold(f64::MIN_POSITIVE, f64::max);
    for bin in &calibration.bins {
        plot.bar(canvas, bin, (0.0, share(bin) / highest), Fill::new(RULE, Hatch::None));
    }
    let (left, bottom) = plot.at(0.0, 0.0);
    canvas.line((left, bottom), (left + SIDE, bottom), Stroke::new(RULE, 2.0));
    for tick in 0..=5 {
        let label = format!("{:.1}", f64::from(tick) / 5.0);
        let x = left + f64::from(tick) / 5.0 * SIDE;
        canvas.text(x, bottom + 44.0, Label::new(&label, SMALL).colour(MUTED).anchor(Anchor::Middle));
    }
    let name = Label::new("confidence: the highest probability", SMALL).colour(MUTED).anchor(Anchor::Middle);
    canvas.text(left + SIDE / 2.0, bottom + 92.0, name);
    let name = Label::new("pixels", SMALL).colour(MUTED).anchor(Anchor::Middle).turned(-90.0);
    canvas.text(left - 100.0, plot.top + HISTOGRAM / 2.0, name);
    let most = format!("{:.0} %", highest * 100.0);
    canvas.text_middle(left - 20.0, plot.top + 8.0, Label::new(&most, SMALL).colour(MUTED).anchor(Anchor::End));
}

/// The numbers in the column beside the square, and what the colours are.
fn draw_numbers(canvas: &mut Canvas, plot: &Plot, calibration: &Calibration) {
    let x = plot.left + SIDE + ASIDE;
    let number = format!("{:.3}", calibration.ece);
    let mut y = plot.top + LARGE * 0.75;
    canvas.text(x, y, Label::new(&number, LARGE).bold());
    canvas.text(x, y + 56.0, Label::new("calibration error (ECE)", BODY).colour(MUTED));
    y += 150.0;
    let rows = [
        ("Brier score", calibration.brier),
        ("mean confidence", calibration.confidence),
        ("accuracy", calibration.accuracy),
    ];
    for (name, value) in rows {
        canvas.text(x, y, Label::new(&format!("{value:.3}"), BODY).bold());
        canvas.text(x + width("0.000", BODY, Weight::Bold) + 20.0, y, Label::new(name, BODY));
        y += 54.0;
    }
    canvas.text(x, y + 30.0, Label::new(verdict(calibration), BODY).bold());
    y += 120.0;
    let right = Fill::new(SERIES_A, Hatch::None);
    for (fill, name) in [(right, "right"), (gap_fill(), "gap to confidence")] {
        canvas.raster(x, y, fill.swatch(72, 48));
        canvas.frame(x, y, 72.0, 48.0, Stroke::new(RULE, 2.0));
        canvas.text_middle(x + 92.0, y + 24.0, Label::new(name, BODY));
        y += 76.0;
    }
    canvas.line((x, y + 24.0), (x + 72.0, y + 24.0), Stroke::new(INK, 4.0).dashed());
    canvas.text_middle(x + 92.0, y + 24.0, Label::new("as it should be", BODY));
}

/// What the two means say to each other.
fn verdict(calibration: &Calibration) -> &'static str {
    match calibration.confidence - calibration.accuracy {
        gap if gap > EQUAL => "too sure of itself",
        gap if gap < -EQUAL => "too cautious",
        _ => "as sure as it is right",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Rgb;

    fn calibration(accuracies: [Option<f64>; 4]) -> Calibration {
        let bins = accuracies.into_iter().enumerate().map(|(at, accuracy)| ReliabilityBin {
            above: at as f64 / 4.0,
            to: (at + 1) as f64 / 4.0,
            pixels: if accuracy.is_some() { 10 } else { 0 },
            confidence: accuracy.map(|_| (at as f64 + 0.5) / 4.0),
            accuracy,
        });
        Calibration { pixels: 40, ece: 0.1, brier: 0.2, confidence: 0.7, accuracy: 0.6, bins: bins.collect() }
    }

    fn blue(calibration: &Calibration) -> usize {
        let picture = reliability(&ReliabilityFigure { title: "t", subtitle: "", calibration }).unwrap();
        let Rgb(r, g, b) = SERIES_A;
        picture.rgb().as_chunks::<3>().0.iter().filter(|pixel| **pixel == [r, g, b]).count()
    }

    #[test]
    fn bars_are_as_high_as_their_accuracy() {
        let none = blue(&calibration([None; 4]));
        // Where accuracy is above confidence the gap lies over the bar. The diagonal crosses none of it.
        let low = blue(&calibration([Some(0.125), None, None, None])) - none;
        let high = blue(&calibration([None, None, None, Some(0.2)])) - none;
        assert_eq!(high, 246 * 200);
        assert!(low > 246 * 100 && low < 246 * 125, "{low}: half under the diagonal");
    }

    #[test]
    fn the_verdict_compares_confidence_with_accuracy() {
        let says = |confidence, accuracy| verdict(&Calibration { confidence, accuracy, ..calibration([None; 4]) });
        assert_eq!(says(0.9, 0.8), "too sure of itself");
        assert_eq!(says(0.7, 0.8), "too cautious");
        assert_eq!(says(0.801, 0.8), "as sure as it is right");
        let empty = Calibration { bins: Vec::new(), ..calibration([None; 4]) };
        let figure = ReliabilityFigure { title: "t", subtitle: "", calibration: &empty };
        assert!(matches!(reliability(&figure), Err(FigureError::Empty(..))));
    }
}
