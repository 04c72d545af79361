//! Scene, truth and prediction side by side.

use super::canvas::{Canvas, Label, Stroke};
use super::distinct::ClassFills;
use super::error::{FigureError, Result};
use super::header::Header;
use super::legend::{Entry, Legend};
use super::panel::Panel;
use super::panel_grid::{CAPTION_GAP, PanelGrid, SPACE};
use super::picture::Picture;
use super::scale_bar::ScaleBar;
use super::text::{Weight, shorten};
use super::theme::{BODY, MARGIN, RULE, TITLE};
use crate::metrics::Score;
use crate::raster::{ClassTable, NO_LABEL};

/// What [`segmentation`] draws. Panels must show the same grid.
#[derive(Clone, Copy, Debug)]
pub struct SegmentationFigure<'a> {
    /// Name of the scene, or what the figure shows; the mean Jaccard is added to it.
    pub title: &'a str,
    /// Second line; may be empty. Accuracy and what was left out are added to it.
    pub subtitle: &'a str,
    /// The scene in natural colour, from [`Panel::rgb`].
    pub scene: &'a Panel,
    /// True label codes, from [`Panel::labels`].
    pub truth: Option<&'a Panel>,
    /// Predicted label codes, from [`Panel::labels`].
    pub prediction: &'a Panel,
    /// Names and colours.
    pub classes: &'a ClassTable,
    /// Scores of the scene, for title and legend.
    pub scores: Option<&'a Score>,
    /// Metres a pixel of the scene; without it there is no scale bar.
    pub pixel_size_m: Option<f64>,
}

/// Draws scene, truth and prediction with one legend and the score in the title.
///
/// # Errors
/// When panels show different grids, hold the wrong content or nothing, or the figure becomes too large for a JPEG.
pub fn segmentation(figure: &SegmentationFigure<'_>) -> Result<Picture> {
    check(figure)?;
    let panels: Vec<(&str, &Panel)> = [
        Some(("Scene, natural colour", figure.scene)),
        figure.truth.map(|truth| ("Truth", truth)),
        Some(("Prediction", figure.prediction)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let grid = PanelGrid::new(panels.len(), figure.scene.figure_size());
    let width = grid.figure_width();
    let header = Header::new(&title(figure, width - 2.0 * MARGIN), &subtitle(figure), width);
    let fills = ClassFills::new(figure.classes);
    let legend = Legend::new(entries(figure, &fills), width - 2.0 * MARGIN);

    let top = header.bottom();
    let legend_top = top + grid.height() + SPACE * 0.7;
    let mut canvas = Canvas::new(width, legend_top + legend.height() + MARGIN * 0.7);
    header.draw(&mut canvas);
    for (index, (caption, panel)) in panels.into_iter().enumerate() {
        let (x, y) = grid.corner(index, top);
        canvas.text(x, y - CAPTION_GAP, Label::new(caption, BODY).bold());
        canvas.raster(x, y, panel.paint(&fills));
        canvas.frame(x, y, grid.panel.0, grid.panel.1, Stroke::new(RULE, 2.0));
    }
    if let Some(bar) = scale_bar(figure) {
        bar.draw(&mut canvas, grid.corner(0, top), grid.panel);
    }
    legend.draw(&mut canvas, MARGIN, legend_top);
    canvas.render()
}

fn check(figure: &SegmentationFigure<'_>) -> Result<()> {
    let (width, height) = figure.scene.source_size();
    if width == 0 || height == 0 {
        return Err(FigureError::Empty("the segmentation figure", "the scene has no pixel"));
    }
    figure.scene.expect_labels("scene", false)?;
    for (what, panel) in [("truth", figure.truth), ("prediction", Some(figure.prediction))] {
        let Some(panel) = panel else { continue };
        panel.expect_labels(what, true)?;
        let (found_width, found_height) = panel.source_size();
        if (found_width, found_height) != (width, height) {
            return Err(FigureError::Grid { what, width, height, found_width, found_height });
        }
    }
    Ok(())
}

/// The name is cut where it would push the score off the title's two lines.
fn title(figure: &SegmentationFigure<'_>, room: f64) -> String {
    match figure.scores.and_then(|score| score.mean) {
        Some(mean) => {
            let name = shorten(figure.title, TITLE * 0.75, Weight::Bold, room * 1.3);
            format!("{name}: mean Jaccard {mean:.3}")
        }
        None => figure.title.to_owned(),
    }
}

fn subtitle(figure: &SegmentationFigure<'_>) -> String {
    let mut parts = Vec::new();
    if !figure.subtitle.is_empty() {
        parts.push(figure.subtitle.to_owned());
    }
    if let Some(accuracy) = figure.scores.and_then(|score| score.accuracy) {
        parts.push(format!("accuracy {accuracy:.3}"));
    }
    parts.join(" · ")
}

fn entries(figure: &SegmentationFigure<'_>, fills: &ClassFills) -> Vec<Entry> {
    let note = |code: u8| match figure.scores {
        None => String::new(),
        Some(score) => match score.jaccard.get(&i64::from(code)) {
            Some(jaccard) => format!("Jaccard {jaccard:.3}"),
            None => "absent".to_owned(),
        },
    };
    let classes = figure.classes.iter().map(|class| Entry {
        fill: fills.of(class.code),
        name: class.name.clone(),
        note: note(class.code),
    });
    let maps = || figure.truth.into_iter().chain([figure.prediction]);
    let strays: std::collections::BTreeSet<u8> = maps().flat_map(Panel::codes).collect();
    let strays = strays.into_iter().filter(|&code| figure.classes.by_code(code).is_none()).map(|code| Entry {
        fill: fills.of(code),
        name: if code == NO_LABEL { "no label".to_owned() } else { format!("code {code}, no class") },
        note: String::new(),
    });
    classes.chain(strays).collect()
}

fn scale_bar(figure: &SegmentationFigure<'_>) -> Option<ScaleBar> {
    let (panel_width, _) = figure.scene.figure_size();
    let metres = figure.pixel_size_m? * figure.scene.source_size().0 as f64 / panel_width as f64;
    ScaleBar::fit(panel_width, metres)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ConfusionMatrix;

    #[test]
    fn however_long_the_name_the_score_stays_in_the_title() {
        let mut matrix = ConfusionMatrix::new();
        matrix.count(1, 1, 3);
        matrix.count(1, 2, 1);
        let classes = ClassTable::default();
        let score = Score::of_classes(&matrix, &classes);
        let scene = Panel::from_rgb(1, 1, &[0; 3], None).unwrap();
        for name in
            ["val_scene_0".to_owned(), "many words of a name ".repeat(30), "S2A_MSIL2A_20180704T1050".repeat(30)]
        {
            let figure = SegmentationFigure {
                title: &name,
                subtitle: "",
                scene: &scene,
                truth: None,
                prediction: &scene,
                classes: &classes,
                scores: Some(&score),
                pixel_size_m: None,
            };
            for room in [972.0, 2616.0] {
                let lines = crate::figure::text::fit(&title(&figure, room), TITLE, Weight::Bold, room, 2).lines;
                assert!(lines.last().is_some_and(|line| line.ends_with("mean Jaccard 0.375")), "{lines:?}");
            }
        }
    }
}
