//! Means over variants that differ in nothing that matters: seeds of a training, folds of a cross-validation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ranking::{Row, axis_text};

/// How far the variants behind a mean lie apart.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// Variants.
    pub runs: usize,
    /// Standard deviation of each score over the variants that have it (with n - 1; 0 for a single one).
    pub deviation: BTreeMap<String, f64>,
    /// Lowest and highest value of the score that decides; `None` where no variant has it.
    pub range: Option<[f64; 2]>,
}

/// One row for all rows that differ in the axes `over` alone: the mean of each score over those that have it. Rows keep the order
/// of the first of each.
pub(super) fn group(rows: Vec<Row>, by: &str, over: &[String]) -> Vec<Row> {
    let mut groups: Vec<(String, Vec<Row>)> = Vec::new();
    for mut row in rows {
        row.axes.retain(|axis, _| !over.contains(axis));
        let name = name_of(&row);
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, members)) => members.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups.into_iter().filter_map(|(name, members)| mean_row(name, &members, by)).collect()
}

/// `width=16,lr=0.001`; `all` where no axis is left.
fn name_of(row: &Row) -> String {
    let parts: Vec<String> = row.axes.iter().map(|(axis, value)| format!("{axis}={}", axis_text(value))).collect();
    if parts.is_empty() { "all".to_owned() } else { parts.join(",") }
}

fn mean_row(variant: String, members: &[Row], by: &str) -> Option<Row> {
    let axes = members.first()?.axes.clone();
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (score, value) in members.iter().flat_map(|row| &row.scores) {
        values.entry(score.clone()).or_default().push(*value);
    }
    let each = |of: fn(&[f64]) -> f64| values.iter().map(|(score, v)| (score.clone(), of(v))).collect();
    let scores: BTreeMap<String, f64> = each(mean);
    let range = values.get(by).map(|v| {
        let [lowest, highest] = [f64::min as fn(f64, f64) -> f64, f64::max].map(|of| v.iter().copied().fold(v[0], of));
        [lowest, highest]
    });
    let spread = Some(Spread { runs: members.len(), deviation: each(deviation), range });
    Some(Row { rank: 0, variant, axes, score: scores.get(by).copied(), scores, spread })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn row(width: u64, seed: u64, scores: &[(&str, f64)]) -> Row {
        let axes = Map::from_iter([("width".to_owned(), json!(width)), ("seed".to_owned(), json!(seed))]);
        let scores: BTreeMap<String, f64> = scores.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        Row { rank: 0, variant: format!("{width}/{seed}"), axes, score: None, scores, spread: None }
    }

    #[test]
    fn rows_become_means_with_their_spread() {
        let rows = vec![
            row(8, 1, &[("jaccard", 0.5), ("jaccard.water", 0.25)]),
            row(16, 1, &[("jaccard", 0.75)]),
            row(8, 2, &[("jaccard", 0.625)]),
            row(8, 3, &[("jaccard", 0.75)]),
        ];
        let grouped = group(rows, "jaccard", &["seed".to_owned()]);
        assert_eq!(grouped.iter().map(|r| r.variant.as_str()).collect::<Vec<_>>(), ["width=8", "width=16"]);
        let eight = &grouped[0];
        let spread = eight.spread.as_ref().unwrap();
        assert_eq!((eight.score, spread.runs, spread.range), (Some(0.625), 3, Some([0.5, 0.75])));
        // numpy.std([0.5, 0.625, 0.75], ddof=1)
        assert!((spread.deviation["jaccard"] - 0.125).abs() < 1e-15);
        // A class that one variant alone has a score for.
        assert_eq!((eight.scores["jaccard.water"], spread.deviation["jaccard.water"]), (0.25, 0.0));
        assert_eq!(grouped[1].spread.as_ref().unwrap().deviation["jaccard"], 0.0);
    }

    #[test]
    fn over_all_axes_there_is_one_row_and_it_may_lack_the_score() {
        let rows = vec![row(8, 1, &[]), row(16, 2, &[])];
        let grouped = group(rows, "kappa", &["seed".to_owned(), "width".to_owned()]);
        assert_eq!((grouped.len(), grouped[0].variant.as_str(), grouped[0].score), (1, "all", None));
        assert_eq!(grouped[0].spread.as_ref().unwrap().range, None);
    }
}
