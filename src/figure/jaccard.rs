//! Bars: the Jaccard score of each class.

use super::canvas::{Anchor, Canvas, Label, Stroke};
use super::distinct::ClassFills;
use super::error::{FigureError, Result};
use super::header::Header;
use super::picture::Picture;
use super::text::{Weight, shorten, width};
use super::theme::{BODY, GRID, INK, MARGIN, MUTED, PAPER, RULE, SMALL};
use crate::metrics::{Intervals, Score};
use crate::raster::ClassTable;

const WIDTH: f64 = 1800.0;

/// From one bar to the next; the bar itself takes two thirds.
const ROW: f64 = 84.0;
const BAR: f64 = 54.0;

/// Half the height of an error bar's caps.
const CAP: f64 = 13.0;

/// Longest class name in pixels; thirty letters of usual width fit.
const NAME_LIMIT: f64 = 620.0;

/// Room right of the axis for a value that stands after a full bar.
const VALUE_ROOM: f64 = 110.0;

/// Size of the mean, printed large.
const MEAN: f64 = 128.0;

/// What [`jaccard_bars`] draws.
#[derive(Clone, Copy, Debug)]
pub struct JaccardFigure<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line; may be empty.
    pub subtitle: &'a str,
    /// Names and colours.
    pub classes: &'a ClassTable,
    /// Label codes and their scores 0..=1, drawn in this order; `None` for a class in neither truth nor prediction.
    pub per_class: &'a [(u8, Option<f64>)],
    /// The mean over classes, 0..=1; `None` where there is none.
    pub mean: Option<f64>,
    /// Confidence intervals of both, drawn as error bars.
    pub intervals: Option<&'a Intervals>,
}

impl JaccardFigure<'_> {
    /// The pairs for [`JaccardFigure::per_class`]: every class of the table, `None` where the score has none.
    pub fn per_class_of(score: &Score, classes: &ClassTable) -> Vec<(u8, Option<f64>)> {
        let is_absent = |code: u8| score.absent.contains(&i64::from(code));
        let jaccard = |code: u8| score.jaccard.get(&i64::from(code)).copied().filter(|_| !is_absent(code));
        classes.iter().map(|class| (class.code, jaccard(class.code))).collect()
    }

    fn interval(&self, code: u8) -> Option<[f64; 2]> {
        self.intervals?.jaccard.get(&i64::from(code)).copied()
    }
}

/// Draws one bar a class with its value, and the mean as a line and as a large number; intervals as error bars.
///
/// # Errors
/// When there is no class.
pub fn jaccard_bars(figure: &JaccardFigure<'_>) -> Result<Picture> {
    if figure.per_class.is_empty() {
        return Err(FigureError::Empty("the Jaccard figure", "there is no class"));
    }
    let header = Header::new(figure.title, &subtitle(figure), WIDTH);
    let names: Vec<String> = figure.per_class.iter().map(|&(code, _)| name(figure.classes, code)).collect();
    let widest = names.iter().map(|name| width(name, BODY, Weight::Regular)).fold(0.0, f64::max);
    let plot = Plot {
        left: MARGIN + widest + 28.0,
        right: WIDTH - MARGIN - VALUE_ROOM,
        top: header.bottom() + if figure.mean.is_some() { 236.0 } else { 60.0 },
        bottom: 0.0,
    };
    let plot = Plot { bottom: plot.top + figure.per_class.len() as f64 * ROW, ..plot };

    let mut canvas = Canvas::new(WIDTH, plot.bottom + 120.0 + MARGIN * 0.5);
    header.draw(&mut canvas);
    draw_axis(&mut canvas, &plot);
    let fills = ClassFills::new(figure.classes);
    for (row, (&(code, score), name)) in figure.per_class.iter().zip(&names).enumerate() {
        let middle = plot.top + (row as f64 + 0.5) * ROW;
        canvas.text_middle(plot.left - 28.0, middle, Label::new(name, BODY).anchor(Anchor::End));
        if let Some(score) = score {
            let length = (plot.x(score) - plot.left).round();
            canvas.raster(plot.left, middle - BAR / 2.0, fills.of(code).swatch(length as usize, BAR as usize));
            canvas.frame(plot.left, (middle - BAR / 2.0).round(), length, BAR, Stroke::new(MUTED, 2.0));
        }
    }
    if let Some(mean) = figure.mean {
        draw_mean(&mut canvas, &plot, &header, mean, figure.intervals.and_then(|intervals| intervals.mean));
    }
    // After the mean's line, so that it cannot strike a value through.
    for (row, &(code, score)) in figure.per_class.iter().enumerate() {
        let middle = plot.top + (row as f64 + 0.5) * ROW;
        match score {
            Some(score) => {
                let text = format!("{score:.3}");
                let interval = figure.interval(code);
                interval.into_iter().for_each(|interval| draw_interval(&mut canvas, &plot, middle, interval));
                let end = interval.map_or(score, |[_, high]| high.max(score));
                canvas.text_middle(plot.x(end) + 18.0, middle, Label::new(&text, BODY).bold().halo());
            }
            None => canvas.text_middle(plot.left + 18.0, middle, Label::new("absent", BODY).colour(MUTED).halo()),
        }
    }
    canvas.render()
}

/// What the error bars are, said after what the figure says by itself.
fn subtitle(figure: &JaccardFigure<'_>) -> String {
    let intervals = figure.intervals.map(|intervals| {
        let Intervals { blocks, block, .. } = intervals;
        format!("error bars: {} interval over {blocks} blocks of {block} px", percent(intervals.confidence))
    });
    [Some(figure.subtitle.to_owned()).filter(|text| !text.is_empty()), intervals]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" · ")
}

/// Where the bars stand, in output pixels.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Plot {
    fn x(&self, score: f64) -> f64 {
        self.left + score.clamp(0.0, 1.0) * (self.right - self.left)
    }
}

fn name(classes: &ClassTable, code: u8) -> String {
    let name = classes.by_code(code).map_or_else(|| format!("code {code}"), |class| class.name.clone());
    shorten(&name, BODY, Weight::Regular, NAME_LIMIT)
}

fn draw_axis(canvas: &mut Canvas, plot: &Plot) {
    for tick in 0..=5 {
        let x = plot.x(f64::from(tick) / 5.0).round();
        canvas.line((x, plot.top), (x, plot.bottom), Stroke::new(if tick == 0 { RULE } else { GRID }, 2.0));
        let label = format!("{:.1}", f64::from(tick) / 5.0);
        canvas.text(x, plot.bottom + 44.0, Label::new(&label, SMALL).colour(MUTED).anchor(Anchor::Middle));
    }
    let middle = (plot.left + plot.right) / 2.0;
    let label = Label::new("Jaccard score (intersection over union)", SMALL).colour(MUTED).anchor(Anchor::Middle);
    canvas.text(middle, plot.bottom + 92.0, label);
}

/// A share in percent, without decimals that say nothing: "95 %", "99.9 %".
fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

/// An error bar: a line with caps, on a rim of paper, so that it shows on dark bars.
fn draw_interval(canvas: &mut Canvas, plot: &Plot, middle: f64, [low, high]: [f64; 2]) {
    let (left, right) = (plot.x(low).round(), plot.x(high).round());
    for stroke in [Stroke::new(PAPER, 11.0), Stroke::new(INK, 4.0)] {
        // The rim reaches past the ends of the strokes.
        let rim = (stroke.width - 4.0) / 2.0;
        canvas.line((left - rim, middle), (right + rim, middle), stroke);
        for x in [left, right] {
            canvas.line((x, middle - CAP - rim), (x, middle + CAP + rim), stroke);
        }
    }
}

/// The line through the bars, and above its end the number, kept inside the figure.
fn draw_mean(canvas: &mut Canvas, plot: &Plot, header: &Header, mean: f64, interval: Option<[f64; 2]>) {
    let number = format!("{mean:.3}");
    let caption = interval
        .map_or_else(|| "mean Jaccard".to_owned(), |[low, high]| format!("mean Jaccard, {low:.3} to {high:.3}"));
    let half = width(&number, MEAN, Weight::Bold).max(width(&caption, BODY, Weight::Regular)) / 2.0;
    let x = plot.x(mean).round();
    let middle = x.clamp(MARGIN + half, WIDTH - MARGIN - half);
    let baseline = header.bottom() + 56.0 + MEAN * 0.75;
    canvas.text(middle, baseline, Label::new(&number, MEAN).bold().anchor(Anchor::Middle));
    canvas.text(middle, baseline + 50.0, Label::new(&caption, BODY).colour(MUTED).anchor(Anchor::Middle));
    // A rim of paper, so that the line shows on dark bars.
    canvas.line((x, plot.top), (x, plot.bottom), Stroke::new(PAPER, 9.0));
    canvas.line((x, baseline + 66.0), (x, plot.bottom), Stroke::new(INK, 4.0).dashed());
}
