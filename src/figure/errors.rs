//! Where a map is wrong, and how: the same errors by what is there and by what the map says.

use super::canvas::{Canvas, Label, Stroke};
use super::distinct::ClassFills;
use super::error::{FigureError, Result};
use super::error_panel::{ErrorPanel, PaintedAs, ground};
use super::fill::{Fill, Hatch};
use super::header::Header;
use super::legend::{Entry, Legend};
use super::panel_grid::{CAPTION_GAP, PanelGrid, SPACE};
use super::picture::Picture;
use super::scale_bar::ScaleBar;
use super::text::{Weight, shorten};
use super::theme::{BODY, MARGIN, RULE, TITLE};
use crate::metrics::Score;
use crate::raster::{ClassTable, NO_LABEL};

/// Pairs of classes that are named under the title.
const NAMED_PAIRS: usize = 3;

/// Brightness of the swatch that stands for ground that is mapped right: that of a field.
const SWATCH_BRIGHTNESS: u8 = 90;

/// What [`errors`] draws.
#[derive(Clone, Copy, Debug)]
pub struct ErrorsFigure<'a> {
    /// Name of the scene; how much of it is wrong is added to it.
    pub title: &'a str,
    /// The errors.
    pub panel: &'a ErrorPanel,
    /// Names and colours.
    pub classes: &'a ClassTable,
    /// Scores of the scene.
    pub score: &'a Score,
    /// Metres a pixel of the scene; without it there is no scale bar.
    pub pixel_size_m: Option<f64>,
}

/// Draws the errors of a map twice: in the colour of the true class, and in that of the mapped class. Everything that is
/// right is pale.
///
/// # Errors
/// When the scene has no pixel, or the figure becomes too large for a JPEG.
pub fn errors(figure: &ErrorsFigure<'_>) -> Result<Picture> {
    let (width, height) = figure.panel.source_size();
    if width == 0 || height == 0 {
        return Err(FigureError::Empty("the figure of errors", "the scene has no pixel"));
    }
    let panels = [("Errors, by true class", PaintedAs::Truth), ("The same errors, as mapped", PaintedAs::Map)];
    let grid = PanelGrid::new(panels.len(), figure.panel.figure_size());
    let width = grid.figure_width();
    let header = Header::new(&title(figure, width - 2.0 * MARGIN), &subtitle(figure), width);
    let fills = ClassFills::new(figure.classes);
    let legend = Legend::new(entries(figure, &fills), width - 2.0 * MARGIN);

    let top = header.bottom();
    let legend_top = top + grid.height() + SPACE * 0.7;
    let mut canvas = Canvas::new(width, legend_top + legend.height() + MARGIN * 0.7);
    header.draw(&mut canvas);
    for (index, (caption, painted_as)) in panels.into_iter().enumerate() {
        let (x, y) = grid.corner(index, top);
        canvas.text(x, y - CAPTION_GAP, Label::new(caption, BODY).bold());
        canvas.raster(x, y, figure.panel.paint(&fills, painted_as));
        canvas.frame(x, y, grid.panel.0, grid.panel.1, Stroke::new(RULE, 2.0));
    }
    if let Some(bar) = scale_bar(figure) {
        bar.draw(&mut canvas, grid.corner(0, top), grid.panel);
    }
    legend.draw(&mut canvas, MARGIN, legend_top);
    canvas.render()
}

/// The name is cut where it would push the number off the title's two lines.
fn title(figure: &ErrorsFigure<'_>, room: f64) -> String {
    let name = shorten(figure.title, TITLE * 0.75, Weight::Bold, room);
    match figure.score.accuracy {
        Some(accuracy) => format!("{name}: {} of the labelled pixels are wrong", percent(1.0 - accuracy)),
        None => format!("{name}: no pixel has a label"),
    }
}

/// The most frequent errors.
fn subtitle(figure: &ErrorsFigure<'_>) -> String {
    let Score { labels, confusion, .. } = figure.score;
    let mut pairs: Vec<(u64, i64, i64)> = Vec::new();
    for (&truth, row) in labels.iter().zip(confusion) {
        pairs.extend(labels.iter().zip(row).filter(|(map, _)| **map != truth).map(|(&map, &n)| (n, truth, map)));
    }
    let all: u64 = pairs.iter().map(|(pixels, ..)| pixels).sum();
    pairs.sort_by_key(|&(pixels, ..)| std::cmp::Reverse(pixels));
    let named = pairs.into_iter().filter(|(pixels, ..)| *pixels > 0).take(NAMED_PAIRS).map(|(pixels, truth, map)| {
        let share = percent(pixels as f64 / all as f64);
        format!("{} mapped as {} ({share})", name(figure.classes, truth), name(figure.classes, map))
    });
    let named: Vec<String> = named.collect();
    if named.is_empty() { String::new() } else { format!("most of the errors: {}", named.join(", ")) }
}

fn name(classes: &ClassTable, label: i64) -> String {
    let class = u8::try_from(label).ok().and_then(|code| classes.by_code(code));
    match class {
        Some(class) => class.name.clone(),
        None if label == i64::from(NO_LABEL) => "no label".to_owned(),
        None => format!("code {label}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn entries(figure: &ErrorsFigure<'_>, fills: &ClassFills) -> Vec<Entry> {
    let plain = |fill: Fill, name: &str| Entry { fill, name: name.to_owned(), note: String::new() };
    let classes = figure.classes.iter().map(|class| Entry {
        fill: fills.of(class.code),
        name: class.name.clone(),
        note: note(figure.score, i64::from(class.code)),
    });
    let right = plain(Fill::new(ground(SWATCH_BRIGHTNESS), Hatch::None), "mapped right");
    let gaps = figure.panel.has_gaps().then(|| plain(fills.of(NO_LABEL), "no label"));
    classes.chain([right]).chain(gaps).collect()
}

/// How much of a class is missed, and how much of what is mapped as it is something else.
fn note(score: &Score, label: i64) -> String {
    let count = |pixels: &std::collections::BTreeMap<i64, u64>| pixels.get(&label).copied().unwrap_or(0);
    let missed = (count(&score.support) > 0).then(|| format!("{} missed", percent(1.0 - score.recall[&label])));
    let wrong = (count(&score.predicted) > 0).then(|| format!("{} false", percent(1.0 - score.precision[&label])));
    match missed.into_iter().chain(wrong).collect::<Vec<_>>() {
        parts if parts.is_empty() => "absent".to_owned(),
        parts => parts.join(", "),
    }
}

fn scale_bar(figure: &ErrorsFigure<'_>) -> Option<ScaleBar> {
    let (panel_width, _) = figure.panel.figure_size();
    let metres = figure.pixel_size_m? * figure.panel.source_size().0 as f64 / panel_width as f64;
    ScaleBar::fit(panel_width, metres)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ConfusionMatrix;
    use crate::raster::{Class, Rgb};

    #[test]
    fn title_subtitle_and_legend_say_how_much_is_wrong_and_how() {
        let class = |code, name: &str| Class { code, name: name.into(), color: Rgb(code, 9, 9) };
        let classes = ClassTable::new(vec![class(1, "urban"), class(2, "water"), class(3, "ice")]);
        let mut matrix = ConfusionMatrix::new();
        for (truth, map, pixels) in [(1, 1, 6), (1, 2, 2), (2, 2, 7), (2, 1, 3), (2, 0, 2)] {
            matrix.count(truth, map, pixels);
        }
        let score = Score::of_classes(&matrix, &classes);
        let panel = ErrorPanel::new(1, 1, |_, _| Ok::<(), ()>(())).unwrap();
        let figure =
            ErrorsFigure { title: "a", panel: &panel, classes: &classes, score: &score, pixel_size_m: Some(10.0) };
        assert_eq!(title(&figure, 900.0), "a: 35.0 % of the labelled pixels are wrong");
        assert_eq!(
            subtitle(&figure),
            "most of the errors: water mapped as urban (42.9 %), urban mapped as water (28.6 %), \
             water mapped as no label (28.6 %)"
        );
        let entries = entries(&figure, &ClassFills::new(&classes));
        let text: Vec<(&str, &str)> = entries.iter().map(|e| (e.name.as_str(), e.note.as_str())).collect();
        assert_eq!(text[0], ("urban", "25.0 % missed, 33.3 % false"));
        assert_eq!(text[2..], [("ice", "absent"), ("mapped right", ""), ("no label", "")]);
        assert!(errors(&figure).is_ok());
    }
}
