//! Which learning rate to choose: the loss over rates that rise from step to step.

use super::axis::Ticks;
use super::canvas::{Anchor, Canvas, Label, Stroke};
use super::error::{FigureError, Result};
use super::header::Header;
use super::picture::Picture;
use super::text::{Weight, width};
use super::theme::{GRID, INK, MARGIN, MUTED, PAPER, RULE, SERIES_A, SERIES_B, SMALL};

const WIDTH: f64 = 1800.0;
const PLOT_HEIGHT: f64 = 760.0;

/// Left of the plot, for the tick labels and the axis' name.
const AXIS_ROOM: f64 = 150.0;

/// From the top of the plot up to the names of the marked rates.
const NAMES: f64 = 28.0;

/// Losses above so many times the highest smoothed one before the test went astray are beyond the plot.
const HEADROOM: f64 = 1.25;

/// Loss of a step, and the mean of those before it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RateLoss {
    /// Learning rate, above 0.
    pub lr: f64,
    /// Loss of the step's batch.
    pub loss: f64,
    /// The smoothed loss.
    pub smoothed: f64,
}

/// What [`rates`] draws.
#[derive(Clone, Copy, Debug)]
pub struct RatesFigure<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line; may be empty.
    pub subtitle: &'a str,
    /// Steps, by ascending rate.
    pub points: &'a [RateLoss],
    /// The rate that is suggested, and the one of the lowest smoothed loss.
    pub marked: Option<[f64; 2]>,
}

/// Draws the losses as dots and the smoothed loss as a curve, over a logarithmic axis of rates, and marks two of them.
///
/// # Errors
/// When there is no step.
pub fn rates(figure: &RatesFigure<'_>) -> Result<Picture> {
    let (Some(first), Some(last)) = (figure.points.first(), figure.points.last()) else {
        return Err(FigureError::Empty("the figure of learning rates", "no step was made"));
    };
    let header = Header::new(figure.title, figure.subtitle, WIDTH);
    let plot = Plot {
        left: MARGIN + AXIS_ROOM,
        top: (header.bottom() + 120.0).round(),
        width: WIDTH - 2.0 * MARGIN - AXIS_ROOM,
        from: first.lr.log10(),
        to: last.lr.log10().max(first.lr.log10() + f64::EPSILON),
        losses: Ticks::around(shown(figure.points).chain(smoothed(figure.points)), 6),
    };
    let mut canvas = Canvas::new(WIDTH, plot.bottom() + 120.0 + MARGIN * 0.5);
    header.draw(&mut canvas);
    plot.draw_axes(&mut canvas);
    for point in figure.points.iter().filter(|point| plot.losses.share(point.loss) <= 1.0) {
        let (x, y) = plot.at(point.lr, point.loss);
        canvas.dot(x, y, 5.0, SERIES_A, Stroke::new(PAPER, 1.5));
    }
    let curve: Vec<_> = figure.points.iter().filter(|point| point.smoothed.is_finite()).collect();
    let curve: Vec<_> = curve.into_iter().map(|point| plot.at(point.lr, point.smoothed)).collect();
    canvas.polyline(&curve, Stroke::new(SERIES_B, 5.0));
    if let Some([suggested, lowest]) = figure.marked {
        plot.mark(&mut canvas, suggested, &format!("suggested: {}", in_digits(suggested)), true);
        plot.mark(&mut canvas, lowest, &format!("lowest: {}", in_digits(lowest)), false);
    }
    canvas.render()
}

/// A rate with two digits: 0.0031, 4.2e-6.
fn in_digits(rate: f64) -> String {
    if rate < 1e-4 {
        return format!("{rate:.1e}");
    }
    let decimals = (1.0 - rate.log10().floor()).max(0.0) as usize;
    format!("{rate:.decimals$}")
}

fn smoothed(points: &[RateLoss]) -> impl Iterator<Item = f64> + Clone {
    points.iter().map(|point| point.smoothed)
}

/// Losses that are in the plot. Those of the last steps may be any height.
fn shown(points: &[RateLoss]) -> impl Iterator<Item = f64> + Clone {
    let highest = smoothed(points).filter(|loss| loss.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    points.iter().map(|point| point.loss).filter(move |loss| *loss <= HEADROOM * highest)
}

struct Plot {
    left: f64,
    top: f64,
    width: f64,
    /// Decimal logarithms of the first and the last rate.
    from: f64,
    to: f64,
    losses: Ticks,
}

impl Plot {
    fn bottom(&self) -> f64 {
        self.top + PLOT_HEIGHT
    }

    fn at(&self, rate: f64, loss: f64) -> (f64, f64) {
        let x = self.left + (rate.log10() - self.from) / (self.to - self.from) * self.width;
        (x, self.top + (1.0 - self.losses.share(loss)) * PLOT_HEIGHT)
    }

    fn draw_axes(&self, canvas: &mut Canvas) {
        let (right, bottom) = (self.left + self.width, self.bottom());
        for value in self.losses.values() {
            let y = (self.top + (1.0 - self.losses.share(value)) * PLOT_HEIGHT).round();
            canvas.line((self.left, y), (right, y), Stroke::new(GRID, 2.0));
            let text = self.losses.label(value);
            canvas.text_middle(self.left - 20.0, y, Label::new(&text, SMALL).colour(MUTED).anchor(Anchor::End));
        }
        canvas.line((self.left, bottom), (right, bottom), Stroke::new(RULE, 2.0));
        // Powers of ten; a hair of room, since the ends of the range mostly are such.
        for power in (self.from - 1e-9).ceil() as i32..=(self.to + 1e-9).floor() as i32 {
            let (x, _) = self.at(10_f64.powi(power), 0.0);
            canvas.line((x, bottom), (x, bottom + 10.0), Stroke::new(RULE, 2.0));
            let text = format!("1e{power}");
            canvas.text(x, bottom + 46.0, Label::new(&text, SMALL).colour(MUTED).anchor(Anchor::Middle));
        }
        let middle = self.left + self.width / 2.0;
        canvas.text(middle, bottom + 94.0, Label::new("learning rate", SMALL).colour(MUTED).anchor(Anchor::Middle));
        let name = Label::new("loss", SMALL).colour(MUTED).anchor(Anchor::Middle).turned(-90.0);
        canvas.text(self.left - 110.0, self.top + PLOT_HEIGHT / 2.0, name);
    }

    /// A line at a rate, with its name: left of the line where it is to the `left`, else right of it.
    fn mark(&self, canvas: &mut Canvas, rate: f64, name: &str, left: bool) {
        let (x, _) = self.at(rate, 0.0);
        if x < self.left || x > self.left + self.width {
            return;
        }
        canvas.line((x, self.top - 14.0), (x, self.bottom()), Stroke::new(INK, 3.0).dashed());
        let room = width(name, SMALL, Weight::Bold);
        let fits = if left { x - room >= 0.0 } else { x + room > WIDTH };
        let anchor = if fits { Anchor::End } else { Anchor::Start };
        canvas.text(x, self.top - NAMES, Label::new(name, SMALL).bold().anchor(anchor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_digits() {
        for (rate, text) in [(0.003_14, "0.0031"), (0.1, "0.10"), (12.34, "12"), (4.21e-6, "4.2e-6"), (1e-4, "0.00010")]
        {
            assert_eq!(in_digits(rate), text);
        }
    }

    #[test]
    fn losses_that_went_astray_do_not_squeeze_the_plot() {
        let point = |loss, smoothed| RateLoss { lr: 0.1, loss, smoothed };
        let points = [point(2.0, 2.0), point(2.4, 2.1), point(900.0, 4.0), point(f64::NAN, f64::NAN)];
        assert_eq!(shown(&points).collect::<Vec<_>>(), [2.0, 2.4]);
    }
}
