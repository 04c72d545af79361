//! The scores that a run left: one table for a map, a ranking for many.

use std::path::PathBuf;

use super::summary::shown;
use super::{Align, Table};
use crate::engine::{RunSummary, StageSummary};
use crate::raster::ClassTable;
use crate::stages::compare::{Ranking, Row};
use crate::stages::evaluate::Metrics;

/// Variants of a ranking that are shown, at most.
const MOST_ROWS: usize = 20;

/// The score table of every stage with one `metrics.json`, and every ranking. A stage with several is one with
/// variants: its tables would bury everything else.
pub(super) fn scores(summary: &RunSummary, classes: &ClassTable) -> Option<String> {
    let is_ranked = summary.stages.iter().any(|s| !files(s, "ranking.json").is_empty());
    let mut parts = Vec::new();
    for stage in &summary.stages {
        // A summary is a courtesy: a score that cannot be read is not shown, and the file is there to be looked at.
        match files(stage, "metrics.json").as_slice() {
            [path] => parts.extend(Metrics::read(path).ok().map(|m| score_table(&stage.name, &m, classes))),
            several if several.len() > 1 && !is_ranked => {
                let (name, count) = (&stage.name, several.len());
                parts.push(format!(
                    "  {name} has the scores of {count} variants; a stage of kind `compare` ranks them\n"
                ));
            }
            _ => {}
        }
        for path in files(stage, "ranking.json") {
            parts.extend(Ranking::read(path).ok().map(|ranking| ranking_table(&stage.name, &ranking, path)));
        }
    }
    (!parts.is_empty()).then(|| parts.join("\n"))
}

fn files<'s>(stage: &'s StageSummary, name: &str) -> Vec<&'s PathBuf> {
    stage.outputs.values().filter(|path| path.file_name().is_some_and(|n| n == name)).collect()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"))
}

/// An interval behind its number; nothing where there is none.
fn between(interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(String::new, |[low, high]| format!(" [{low:.2}, {high:.2}]"))
}

fn score_table(stage: &str, metrics: &Metrics, classes: &ClassTable) -> String {
    let mut table = Table::new([
        ("class", Align::Left),
        ("Jaccard", Align::Right),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("truth px", Align::Right),
    ]);
    let score = &metrics.all;
    let interval = |label: i64| metrics.intervals.as_ref()?.jaccard.get(&label).copied();
    for class in classes.iter() {
        let label = i64::from(class.code);
        let cell = |value: Option<&f64>| value.map_or_else(|| "absent".to_owned(), |v| format!("{v:.3}"));
        table.row([
            class.name.clone(),
            cell(score.jaccard.get(&label)) + &between(interval(label)),
            cell(score.precision.get(&label)),
            cell(score.recall.get(&label)),
            score.support.get(&label).copied().unwrap_or(0).to_string(),
        ]);
    }
    table.row([
        "mean".into(),
        number(score.mean) + &between(metrics.intervals.as_ref().and_then(|intervals| intervals.mean)),
        number(score.means.precision),
        number(score.means.recall),
        score.pixels.to_string(),
    ]);
    format!("  {stage}, accuracy {}\n{}", number(score.accuracy), table.render("    "))
}

/// Rank, variant, the score that decides, and up to two others for all classes; the file has the rest.
fn ranking_table(stage: &str, ranking: &Ranking, path: &std::path::Path) -> String {
    let whole = ranking.columns.iter().map(String::as_str).filter(|name| !name.contains('.'));
    let mut others: Vec<&str> = whole.collect();
    // What people look at first, where it is there.
    others.sort_by_key(|name| ["jaccard", "accuracy", "kappa"].iter().position(|n| n == name).unwrap_or(3));
    let [first, second] = [0, 1].map(|i| others.get(i).copied());
    let mut table = Table::new([
        ("", Align::Right),
        ("variant", Align::Left),
        (ranking.by.as_str(), Align::Right),
        (first.unwrap_or_default(), Align::Right),
        (second.unwrap_or_default(), Align::Right),
    ]);
    for row in ranking.rows.iter().take(MOST_ROWS) {
        let cell = |name: Option<&str>| name.map_or_else(String::new, |n| number(row.scores.get(n).copied()));
        let score = number(row.score) + &about(row, &ranking.by);
        table.row([row.rank.to_string(), row.variant.clone(), score, cell(first), cell(second)]);
    }
    let mut text = format!("  {stage}\n{}", table.render("    "));
    if let Some(more) = ranking.rows.len().checked_sub(MOST_ROWS).filter(|&more| more > 0) {
        text += &format!("    and {more} more in {}\n", shown(path));
    }
    text
}

/// Behind a mean, how far the runs lie apart and how many they are.
fn about(row: &Row, by: &str) -> String {
    let Some(spread) = &row.spread else { return String::new() };
    let deviation = spread.deviation.get(by).map_or_else(String::new, |d| format!(" ± {d:.3}"));
    format!("{deviation} ({})", spread.runs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Map;

    use super::{about, between};
    use crate::stages::compare::{Row, Spread};

    #[test]
    fn a_mean_tells_its_spread() {
        let row = |spread| Row {
            rank: 1,
            variant: "all".into(),
            axes: Map::new(),
            score: Some(0.6),
            scores: BTreeMap::new(),
            spread,
        };
        let deviation = BTreeMap::from([("jaccard".to_owned(), 0.0124)]);
        let three = row(Some(Spread { runs: 3, deviation, range: Some([0.59, 0.61]) }));
        assert_eq!(about(&three, "jaccard"), " ± 0.012 (3)");
        assert_eq!((about(&three, "kappa"), about(&row(None), "jaccard")), (" (3)".to_owned(), String::new()));
    }

    #[test]
    fn an_interval_stands_behind_its_number() {
        assert_eq!(between(Some([0.7712, 0.8249])), " [0.77, 0.82]");
        assert_eq!(between(None), "");
    }
}
