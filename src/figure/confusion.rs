//! The confusion matrix as a heat map.

use super::canvas::{Anchor, Canvas, Label, Raster, Stroke};
use super::colour::{lightness, mix};
use super::distinct::ClassFills;
use super::error::{FigureError, Result};
use super::fill::{Fill, NO_DATA};
use super::header::Header;
use super::picture::Picture;
use super::text::{Weight, shorten, width};
use super::theme::{BODY, INK, MARGIN, MUTED, PAPER, RULE, SMALL};
use crate::raster::{ClassTable, Rgb};

/// Side of a cell with few classes and with many.
const LARGEST_CELL: f64 = 210.0;
const SMALLEST_CELL: f64 = 92.0;

/// Side of a cell where there are more classes than anyone reads numbers of: room for the name, no text.
const BARE_CELL: f64 = 40.0;

/// Most classes whose cells bear numbers.
const MOST_WITH_TEXT: usize = 40;

/// Side that the whole matrix should not exceed, where cells can still be read.
const MATRIX_SIDE: f64 = 1500.0;

/// Longest class name in pixels; thirty letters of usual width fit.
const NAME_LIMIT: f64 = 560.0;

const SWATCH: f64 = 34.0;
const GAP: f64 = 18.0;

/// Shares 0, 1/4, 1/2, 3/4, 1 of a true class: one hue from paper to dark, even steps of lightness, so that it can be
/// read in grey and by every eye.
const SHADES: [Rgb; 5] =
    [PAPER, Rgb(0xc9, 0xdd, 0xee), Rgb(0x86, 0xb4, 0xd6), Rgb(0x3d, 0x84, 0xb8), Rgb(0x0b, 0x4a, 0x82)];

/// What [`confusion`] draws.
#[derive(Clone, Copy, Debug)]
pub struct ConfusionFigure<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line; may be empty.
    pub subtitle: &'a str,
    /// Names and colours.
    pub classes: &'a ClassTable,
    /// Label codes of the rows and columns.
    pub labels: &'a [i64],
    /// Pixels: `counts[i][j]` have true label `labels[i]` and predicted label `labels[j]`.
    pub counts: &'a [Vec<u64>],
}

/// Draws the share of each true class (row) given to each predicted class (column), with pixel counts.
///
/// # Errors
/// When there is no label, or the counts are not square over the labels.
pub fn confusion(figure: &ConfusionFigure<'_>) -> Result<Picture> {
    check(figure)?;
    let layout = Layout::new(figure);
    let mut canvas = Canvas::new(layout.width, layout.height);
    layout.header.draw(&mut canvas);
    draw_cells(&mut canvas, figure, &layout);
    draw_names(&mut canvas, figure, &layout);
    draw_shades(&mut canvas, &layout);
    canvas.render()
}

fn check(figure: &ConfusionFigure<'_>) -> Result<()> {
    let labels = figure.labels.len();
    if labels == 0 {
        return Err(FigureError::Empty("the confusion figure", "no label occurs"));
    }
    let crooked = figure.counts.iter().find(|row| row.len() != labels);
    if figure.counts.len() != labels || crooked.is_some() {
        let columns = crooked.map_or(labels, Vec::len);
        return Err(FigureError::NotSquare { labels, rows: figure.counts.len(), columns });
    }
    Ok(())
}

struct Layout {
    header: Header,
    names: Vec<String>,
    cell: f64,
    /// Upper left corner of the matrix.
    left: f64,
    top: f64,
    /// Column names stand upright where they are wider than a cell.
    upright: bool,
    width: f64,
    height: f64,
}

impl Layout {
    fn new(figure: &ConfusionFigure<'_>) -> Self {
        let count = figure.labels.len();
        let cell = if count > MOST_WITH_TEXT {
            BARE_CELL
        } else {
            (MATRIX_SIDE / count as f64).clamp(SMALLEST_CELL, LARGEST_CELL).floor()
        };
        let name = |label: i64| shorten(&name(figure.classes, label), BODY, Weight::Regular, NAME_LIMIT);
        let names: Vec<String> = figure.labels.iter().map(|&label| name(label)).collect();
        let widest = names.iter().map(|name| width(name, BODY, Weight::Regular)).fold(0.0, f64::max);
        let upright = widest > cell - 14.0;
        let left = (MARGIN + BODY * 1.6 + widest + GAP + SWATCH + GAP).round();
        let side = cell * count as f64;
        let width = (left + side + 170.0 + MARGIN).max(1100.0);
        let header = Header::new(figure.title, figure.subtitle, width);
        let above = if upright { widest + GAP } else { BODY * 1.3 } + SWATCH + GAP + BODY * 1.7;
        let top = (header.bottom() + 44.0 + above).round();
        Self { header, names, cell, left, top, upright, width, height: top + side + MARGIN }
    }

    fn side(&self) -> f64 {
        self.cell * self.names.len() as f64
    }
}

fn name(classes: &ClassTable, label: i64) -> String {
    let class = u8::try_from(label).ok().and_then(|code| classes.by_code(code));
    class.map_or_else(|| format!("code {label}"), |class| class.name.clone())
}

fn fill(fills: &ClassFills, label: i64) -> Fill {
    u8::try_from(label).map_or_else(|_| Fill::new(INK, super::fill::Hatch::None), |code| fills.of(code))
}

fn draw_cells(canvas: &mut Canvas, figure: &ConfusionFigure<'_>, layout: &Layout) {
    let cell = layout.cell;
    for (row, counts) in figure.counts.iter().enumerate() {
        let total: u64 = counts.iter().sum();
        for (column, &count) in counts.iter().enumerate() {
            let (x, y) = (layout.left + column as f64 * cell, layout.top + row as f64 * cell);
            if total == 0 {
                canvas.raster(x, y, NO_DATA.swatch(cell as usize, cell as usize));
                continue;
            }
            let share = count as f64 / total as f64;
            let shade = shade(share);
            canvas.rect(x, y, cell, cell, shade);
            draw_cell_text(canvas, (x + cell / 2.0, y + cell / 2.0), cell, shade, share, count);
        }
    }
    for line in 0..=figure.labels.len() {
        let (at, side) = (line as f64 * cell, layout.side());
        let outer = line == 0 || line == figure.labels.len();
        let stroke = if outer { Stroke::new(RULE, 2.0) } else { Stroke::new(Rgb(0xe3, 0xe7, 0xeb), 2.0) };
        canvas.line((layout.left, layout.top + at), (layout.left + side, layout.top + at), stroke);
        canvas.line((layout.left + at, layout.top), (layout.left + at, layout.top + side), stroke);
    }
}

/// Percentage above count; the text is white on dark shades. Empty cells stay empty, so that the eye finds the others.
fn draw_cell_text(canvas: &mut Canvas, middle: (f64, f64), cell: f64, shade: Rgb, share: f64, count: u64) {
    if count == 0 || cell <= BARE_CELL {
        return;
    }
    let colour = match share {
        // Traces of a class are there to be looked up, not to be seen first.
        trace if trace < 0.015 => MUTED,
        _ if lightness(shade) < 58.0 => PAPER,
        _ => INK,
    };
    let room = cell - 12.0;
    let percent = percentage(share);
    let size = BODY.min(cell * 0.3);
    let label = Label::new(&percent, size).colour(colour).anchor(Anchor::Middle);
    canvas.text_middle(middle.0, middle.1 - size * 0.42, if share >= 0.5 { label.bold() } else { label });
    let count_size = (size * 0.72).max(18.0);
    let exact = grouped(count);
    let text = if width(&exact, count_size, Weight::Regular) <= room { exact } else { abbreviated(count) };
    canvas.text_middle(
        middle.0,
        middle.1 + size * 0.78,
        Label::new(&text, count_size).colour(colour).anchor(Anchor::Middle),
    );
}

fn draw_names(canvas: &mut Canvas, figure: &ConfusionFigure<'_>, layout: &Layout) {
    let fills = ClassFills::new(figure.classes);
    let (left, top, cell) = (layout.left, layout.top, layout.cell);
    for (index, (name, &label)) in layout.names.iter().zip(figure.labels).enumerate() {
        let middle = (index as f64 + 0.5) * cell;
        let swatch = || fill(&fills, label).swatch(SWATCH as usize, SWATCH as usize);
        let stroke = Stroke::new(RULE, 2.0);
        let (x, y) = ((left - GAP - SWATCH).round(), (top + middle - SWATCH / 2.0).round());
        canvas.raster(x, y, swatch());
        canvas.frame(x, y, SWATCH, SWATCH, stroke);
        canvas.text_middle(x - GAP, top + middle, Label::new(name, BODY).anchor(Anchor::End));
        let (x, y) = ((left + middle - SWATCH / 2.0).round(), (top - GAP - SWATCH).round());
        canvas.raster(x, y, swatch());
        canvas.frame(x, y, SWATCH, SWATCH, stroke);
        if layout.upright {
            let baseline = left + middle + BODY * super::canvas::HALF_CAPITAL;
            canvas.text(baseline, y - GAP, Label::new(name, BODY).turned(-90.0));
        } else {
            canvas.text(left + middle, y - GAP, Label::new(name, BODY).anchor(Anchor::Middle));
        }
    }
    let middle = layout.side() / 2.0;
    let predicted = Label::new("Prediction", BODY).bold().anchor(Anchor::Middle);
    canvas.text(left + middle, layout.header.bottom() + 44.0 + BODY * 0.75, predicted);
    let truth = Label::new("Truth", BODY).bold().anchor(Anchor::Middle).turned(-90.0);
    canvas.text(MARGIN + BODY * 0.75, top + middle, truth);
}

/// The bar that says which shade is which share.
fn draw_shades(canvas: &mut Canvas, layout: &Layout) {
    let (x, y) = ((layout.left + layout.side() + 44.0).round(), layout.top);
    let (bar, side) = (30, layout.side());
    canvas.raster(x, y, Raster::from_fn(bar, side as usize, |_, row| shade(1.0 - row as f64 / (side - 1.0))));
    canvas.frame(x, y, bar as f64, side, Stroke::new(RULE, 2.0));
    for tick in 0..=4 {
        let at = y + side * (1.0 - f64::from(tick) / 4.0);
        let text = format!("{} %", tick * 25);
        canvas.text_middle(x + bar as f64 + 14.0, at, Label::new(&text, SMALL).colour(MUTED));
    }
}

fn shade(share: f64) -> Rgb {
    let at = share.clamp(0.0, 1.0) * (SHADES.len() - 1) as f64;
    let low = (at.floor() as usize).min(SHADES.len() - 2);
    mix(SHADES[low], SHADES[low + 1], at - low as f64)
}

/// Whole per cents; what would round to 0 or 100 without being it says so.
fn percentage(share: f64) -> String {
    let percent = share * 100.0;
    match percent.round() as u32 {
        0 if share > 0.0 => "<1 %".to_owned(),
        100 if share < 1.0 => ">99 %".to_owned(),
        whole => format!("{whole} %"),
    }
}

/// Digits in groups of three, set apart by thin spaces.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// Two or three digits and a unit: 8.4k, 120M.
fn abbreviated(count: u64) -> String {
    let (unit, letter) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => (1e3, 'k'),
        1_000_000..1_000_000_000 => (1e6, 'M'),
        _ => (1e9, 'G'),
    };
    let value = count as f64 / unit;
    if value < 9.95 { format!("{value:.1}{letter}") } else { format!("{value:.0}{letter}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_cells_do_not_lie() {
        assert_eq!([0.0, 0.001, 0.126, 0.997, 1.0].map(percentage), ["0 %", "<1 %", "13 %", ">99 %", "100 %"]);
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!([999, 8_449, 120_560_400, 3_000_000_000].map(abbreviated), ["999", "8.4k", "121M", "3.0G"]);
    }

    #[test]
    fn shades_darken_evenly_and_text_on_them_can_be_read() {
        let steps: Vec<f64> = (0..=20).map(|i| lightness(shade(f64::from(i) / 20.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] - pair[1] > 1.5), "{steps:?}");
        for i in 0..=100 {
            let shade = lightness(shade(f64::from(i) / 100.0));
            let text = if shade < 58.0 { 100.0 } else { lightness(INK) };
            assert!((text - shade).abs() > 38.0, "{i} %: shade {shade}, text {text}");
        }
    }
}
