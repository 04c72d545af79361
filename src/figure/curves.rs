//! How training went: loss and hold-out score over epochs.

use super::axis::Ticks;
use super::canvas::{Anchor, Canvas, HALF_CAPITAL, Label, Stroke};
use super::error::{FigureError, Result};
use super::header::Header;
use super::picture::Picture;
use super::text::{Weight, width};
use super::theme::{BODY, GRID, INK, MARGIN, MUTED, PAPER, RULE, SERIES_A, SERIES_B, SMALL};
use crate::raster::Rgb;

const WIDTH: f64 = 2400.0;
const PLOT_HEIGHT: f64 = 680.0;

/// Left of each plot, for the tick labels.
const AXIS_ROOM: f64 = 110.0;

/// Between the two plots.
const GUTTER: f64 = 90.0;

/// From a caption's baseline down to its plot; the mark of the best epoch stands between.
const CAPTION: f64 = 88.0;

/// Up to so many epochs each one gets a dot on a solid curve.
const MOST_DOTS: usize = 60;

/// What one epoch left. A value that is not finite is a gap in its curve.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean loss on the hold-out, where it was measured.
    pub holdout_loss: Option<f64>,
    /// Mean Jaccard on the hold-out 0..=1, where it was measured.
    pub holdout_jaccard: Option<f64>,
}

/// What [`curves`] draws.
#[derive(Clone, Copy, Debug)]
pub struct CurvesFigure<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line; may be empty.
    pub subtitle: &'a str,
    /// Epochs, ascending.
    pub epochs: &'a [Epoch],
    /// Number of the epoch whose weights were kept.
    pub best_epoch: Option<usize>,
}

/// Draws training and hold-out loss in one plot, the hold-out's mean Jaccard in the other, and marks the best epoch in
/// both.
///
/// # Errors
/// When there is no epoch.
pub fn curves(figure: &CurvesFigure<'_>) -> Result<Picture> {
    if figure.epochs.is_empty() {
        return Err(FigureError::Empty("the figure of training curves", "no epoch was finished"));
    }
    let header = Header::new(figure.title, figure.subtitle, WIDTH);
    let top = (header.bottom() + 176.0).round();
    let plot_width = ((WIDTH - 2.0 * MARGIN - GUTTER) / 2.0 - AXIS_ROOM).floor();
    let mut canvas = Canvas::new(WIDTH, top + PLOT_HEIGHT + 120.0 + MARGIN * 0.5);
    header.draw(&mut canvas);

    let series = |name, colour, dashed, value: fn(&Epoch) -> Option<f64>| Series {
        name,
        colour,
        dashed,
        points: figure.epochs.iter().map(|epoch| (epoch.epoch, value(epoch).filter(|v| v.is_finite()))).collect(),
    };
    let losses = [
        series("training", SERIES_A, true, |epoch| Some(epoch.train_loss)),
        series("hold-out", SERIES_B, false, |epoch| epoch.holdout_loss),
    ];
    let scores = [series("hold-out", SERIES_B, false, |epoch| epoch.holdout_jaccard)];
    let left = MARGIN + AXIS_ROOM;
    let plot = |left, series: &[Series], zero: bool| Plot {
        left,
        top,
        width: plot_width,
        epochs: Epochs::of(figure.epochs),
        y: Ticks::around(series.iter().flat_map(Series::values).chain(zero.then_some(0.0)), 6),
    };
    let best = figure.best_epoch.filter(|best| figure.epochs.iter().any(|epoch| epoch.epoch == *best));
    plot(left, &losses, false).draw(&mut canvas, "Loss", &losses, best);
    let left = left + plot_width + GUTTER + AXIS_ROOM;
    plot(left, &scores, true).draw(&mut canvas, "Mean Jaccard on the hold-out", &scores, best);
    canvas.render()
}

struct Series {
    name: &'static str,
    colour: Rgb,
    dashed: bool,
    points: Vec<(usize, Option<f64>)>,
}

impl Series {
    fn values(&self) -> impl Iterator<Item = f64> + Clone {
        self.points.iter().filter_map(|(_, value)| *value)
    }

    fn stroke(&self) -> Stroke {
        let stroke = Stroke::new(self.colour, 5.0);
        if self.dashed { stroke.dashed() } else { stroke }
    }

    fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }
}

/// The axis of epochs: whole numbers at whole steps.
#[derive(Clone, Copy)]
struct Epochs {
    first: usize,
    last: usize,
    step: usize,
}

impl Epochs {
    fn of(epochs: &[Epoch]) -> Self {
        let numbers = || epochs.iter().map(|epoch| epoch.epoch);
        let (first, last) = (numbers().min().unwrap_or(1), numbers().max().unwrap_or(1));
        let step = Ticks::around([first as f64, last as f64].into_iter(), 8).step.max(1.0) as usize;
        Self { first, last, step }
    }

    /// Where an epoch lies: 0 at the first, 1 at the last; a single one in the middle.
    fn share(self, epoch: usize) -> f64 {
        if self.last == self.first {
            return 0.5;
        }
        (epoch as f64 - self.first as f64) / (self.last - self.first) as f64
    }
}

struct Plot {
    left: f64,
    top: f64,
    width: f64,
    epochs: Epochs,
    y: Ticks,
}

impl Plot {
    fn at(&self, epoch: usize, value: f64) -> (f64, f64) {
        let x = self.left + self.epochs.share(epoch) * self.width;
        (x, self.top + (1.0 - self.y.share(value)) * PLOT_HEIGHT)
    }

    fn draw(&self, canvas: &mut Canvas, caption: &str, series: &[Series], best: Option<usize>) {
        canvas.text(self.left, self.top - CAPTION, Label::new(caption, BODY).bold());
        if series.len() > 1 {
            self.draw_key(canvas, series);
        }
        self.draw_axes(canvas);
        if let Some(best) = best {
            self.draw_best_line(canvas, best);
        }
        if series.iter().all(Series::is_empty) {
            let (x, y) = (self.left + self.width / 2.0, self.top + PLOT_HEIGHT / 2.0);
            let label = Label::new("not measured", BODY).colour(MUTED).anchor(Anchor::Middle).halo();
            canvas.text_middle(x, y, label);
        }
        for series in series {
            self.draw_series(canvas, series);
        }
        if let Some(best) = best {
            self.draw_best_value(canvas, series, best);
        }
    }

    fn draw_axes(&self, canvas: &mut Canvas) {
        let (right, bottom) = (self.left + self.width, self.top + PLOT_HEIGHT);
        for value in self.y.values() {
            let (_, y) = self.at(self.epochs.first, value);
            canvas.line((self.left, y.round()), (right, y.round()), Stroke::new(GRID, 2.0));
            let text = self.y.label(value);
            canvas.text_middle(self.left - 20.0, y, Label::new(&text, SMALL).colour(MUTED).anchor(Anchor::End));
        }
        canvas.line((self.left, bottom), (right, bottom), Stroke::new(RULE, 2.0));
        for epoch in self.epoch_labels() {
            let (x, _) = self.at(epoch, 0.0);
            canvas.line((x, bottom), (x, bottom + 10.0), Stroke::new(RULE, 2.0));
            let text = epoch.to_string();
            canvas.text(x, bottom + 46.0, Label::new(&text, SMALL).colour(MUTED).anchor(Anchor::Middle));
        }
        let middle = self.left + self.width / 2.0;
        canvas.text(middle, bottom + 94.0, Label::new("epoch", SMALL).colour(MUTED).anchor(Anchor::Middle));
    }

    /// The first epoch, and the multiples of the step after it that do not crowd it.
    fn epoch_labels(&self) -> Vec<usize> {
        let Epochs { first, last, step } = self.epochs;
        let multiples = (1..).map(|i| i * step).take_while(|tick| *tick <= last);
        let later = multiples.filter(|tick| *tick > first && (tick - first) * 2 > step);
        std::iter::once(first).chain(later).collect()
    }

    fn draw_series(&self, canvas: &mut Canvas, series: &Series) {
        let dots = !series.dashed && series.values().count() <= MOST_DOTS;
        for run in series.points.split(|(_, value)| value.is_none()) {
            let points: Vec<_> = run.iter().filter_map(|&(epoch, value)| Some(self.at(epoch, value?))).collect();
            canvas.polyline(&points, series.stroke());
            // A line of one point would not be seen.
            for &(x, y) in points.iter().filter(|_| dots || points.len() == 1) {
                canvas.dot(x, y, 7.0, series.colour, Stroke::new(PAPER, 2.0));
            }
        }
    }

    fn draw_best_line(&self, canvas: &mut Canvas, best: usize) {
        let (x, _) = self.at(best, 0.0);
        canvas.line((x, self.top - 14.0), (x, self.top + PLOT_HEIGHT), Stroke::new(INK, 3.0).dashed());
        let text = format!("best: epoch {best}");
        let half = width(&text, SMALL, Weight::Bold) / 2.0;
        let x = x.clamp(self.left + half, self.left + self.width - half);
        canvas.text(x, self.top - 28.0, Label::new(&text, SMALL).bold().anchor(Anchor::Middle));
    }

    /// A ring around the best epoch's hold-out value, and the value itself.
    fn draw_best_value(&self, canvas: &mut Canvas, series: &[Series], best: usize) {
        let Some(series) = series.iter().find(|series| series.name == "hold-out") else { return };
        let value = series.points.iter().find(|(epoch, _)| *epoch == best).and_then(|(_, value)| *value);
        let Some(value) = value else { return };
        let (x, y) = self.at(best, value);
        canvas.dot(x, y, 13.0, PAPER, Stroke::new(series.colour, 6.0));
        let text = format!("{value:.3}");
        let room = width(&text, BODY, Weight::Bold) + 30.0;
        let anchor = if x + room > self.left + self.width { Anchor::End } else { Anchor::Start };
        let dx = if anchor == Anchor::End { -24.0 } else { 24.0 };
        // Above the curve where there is room, else below it.
        let dy = if y - self.top > 70.0 { -24.0 } else { 56.0 };
        canvas.text(x + dx, y + dy, Label::new(&text, BODY).bold().anchor(anchor).halo());
    }

    /// Names of the curves with a piece of line, at the right of the caption.
    fn draw_key(&self, canvas: &mut Canvas, series: &[Series]) {
        let mut right = self.left + self.width;
        for series in series.iter().rev().filter(|series| !series.is_empty()) {
            let middle = self.top - CAPTION - BODY * HALF_CAPITAL;
            let text = width(series.name, SMALL, Weight::Regular);
            canvas.text_middle(right, middle, Label::new(series.name, SMALL).anchor(Anchor::End));
            canvas.line((right - text - 98.0, middle), (right - text - 18.0, middle), series.stroke());
            right -= text + 98.0 + 44.0;
        }
    }
}
