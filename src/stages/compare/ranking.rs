//! `ranking.json` and `ranking.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::groups::{Spread, group};
use super::kind::{Params, score_help};
use crate::engine::StageError;
use crate::metrics::csv_row;
use crate::stages::document::read_document;
use crate::stages::scores::BY_CLASS;

/// Version of `ranking.json`.
pub const RANKING_VERSION: &str = "s2pipe.ranking/1";

/// Columns of `ranking.csv` about a mean.
const SPREAD: [&str; 4] = ["runs", "deviation", "lowest", "highest"];

/// Which score comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The highest.
    Descending,
    /// The lowest.
    Ascending,
}

/// `ranking.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ranking {
    /// [`RANKING_VERSION`].
    pub format: String,
    /// The score that decides.
    pub by: String,
    /// Whether high or low is better.
    pub order: Order,
    /// The axes of the rows, in the order of the variants' names.
    pub axes: Vec<String>,
    /// Axes over which means were made; empty where every variant stands for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<String>,
    /// Scores worth a column beside `by`: those for all classes, then Jaccard of each class.
    pub columns: Vec<String>,
    /// The variants, best first; those without the score last.
    pub rows: Vec<Row>,
}

/// One variant of a [`Ranking`], or the mean of several.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// From 1.
    pub rank: usize,
    /// Name of the variant.
    pub variant: String,
    /// What it chose on each axis; a value with a name of its own by that name.
    pub axes: Map<String, Value>,
    /// The score that decides; `None` where there is no number, as for a class that is neither in truth nor in a map.
    pub score: Option<f64>,
    /// All its scores.
    pub scores: BTreeMap<String, f64>,
    /// How far the variants behind a mean lie apart; `None` where the row is one variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

impl Ranking {
    /// Reads `ranking.json`.
    ///
    /// # Errors
    /// A sentence naming the file when it is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        read_document(path, "a ranking", RANKING_VERSION)
    }

    /// One line a variant: `rank,variant,<axes>,<by>,<columns>`, and of means `runs,deviation,lowest,highest` of the score that
    /// decides. A score that there is no number for is empty.
    pub(super) fn csv(&self) -> String {
        let mut csv = String::new();
        let head = ["rank", "variant"].into_iter().map(str::to_owned);
        let names = self.axes.iter().chain([&self.by]).chain(&self.columns).cloned();
        let spread = self.over.first().map(|_| SPREAD.map(str::to_owned)).into_iter().flatten();
        csv_row(&mut csv, &head.chain(names).chain(spread).collect::<Vec<_>>());
        for row in &self.rows {
            let number = |value: Option<&f64>| value.map_or_else(String::new, ToString::to_string);
            let mut fields = vec![row.rank.to_string(), row.variant.clone()];
            fields.extend(self.axes.iter().map(|axis| row.axes.get(axis).map_or_else(String::new, axis_text)));
            fields.push(number(row.score.as_ref()));
            fields.extend(self.columns.iter().map(|column| number(row.scores.get(column))));
            if let Some(spread) = &row.spread {
                let [lowest, highest] =
                    spread.range.map_or_else(Default::default, |range| range.map(|v| v.to_string()));
                fields.extend([spread.runs.to_string(), number(spread.deviation.get(&self.by)), lowest, highest]);
            }
            csv_row(&mut csv, &fields);
        }
        csv
    }
}

/// A value as it stands in names and tables.
pub(super) fn axis_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Ranks variants; with `over`, the means of those that differ in nothing else.
pub(super) fn rank(
    params: Params,
    mut scores: BTreeMap<String, BTreeMap<String, f64>>,
    names: &BTreeMap<String, String>,
) -> Result<Ranking, StageError> {
    let Params { by, order, mut axes, variants, over } = params;
    let known: BTreeSet<String> = scores.values().flat_map(|s| s.keys().cloned()).collect();
    // A class that occurs nowhere has no score anywhere, and is a class all the same.
    let of_class = |score: &str| {
        score
            .split_once('.')
            .is_some_and(|(what, class)| BY_CLASS.contains(&what) && names.values().any(|n| n == class))
    };
    if !known.contains(&by) && !of_class(&by) {
        return Err(unknown_score(&by, known.iter().map(String::as_str)));
    }
    let columns = columns(&known, &by);
    let mut rows: Vec<Row> = variants
        .into_iter()
        .map(|(variant, axes)| {
            let scores = scores.remove(&variant).unwrap_or_default();
            Row { rank: 0, score: scores.get(&by).copied(), variant, axes, scores, spread: None }
        })
        .collect();
    if !over.is_empty() {
        rows = group(rows, &by, &over);
        axes.retain(|axis| !over.contains(axis));
    }
    rows.sort_by(|a, b| {
        let better = match (a.score, b.score) {
            (Some(a), Some(b)) if order == Order::Ascending => a.total_cmp(&b),
            (Some(a), Some(b)) => b.total_cmp(&a),
            // `None` sorts before every number; a variant without the score comes last.
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        better.then_with(|| a.variant.cmp(&b.variant))
    });
    rows.iter_mut().enumerate().for_each(|(index, row)| row.rank = index + 1);
    Ok(Ranking { format: RANKING_VERSION.into(), by, order, axes, over, columns, rows })
}

/// Most scores of a foreign file that get a column.
const MOST_COLUMNS: usize = 12;

/// Scores for a column beside `by`: numbers for the whole, then Jaccard of each class.
fn columns(known: &BTreeSet<String>, by: &str) -> Vec<String> {
    let whole = known.iter().filter(|name| !name.contains('.')).take(MOST_COLUMNS);
    let classes = known.iter().filter(|name| name.starts_with("jaccard."));
    whole.chain(classes).filter(|name| *name != by).cloned().collect()
}

fn unknown_score<'a>(by: &str, known: impl Iterator<Item = &'a str> + Clone) -> StageError {
    StageError::with_help(format!("no variant has the score {by:?}"), score_help(by, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(by: &str, order: Order, scores: &[(&str, &[(&str, f64)])]) -> Result<Ranking, StageError> {
        let variants = scores.iter().map(|(name, _)| {
            let value = name.split_once('=').map_or(Value::Null, |(_, v)| v.into());
            ((*name).to_owned(), Map::from_iter([("width".to_owned(), value)]))
        });
        let axes = vec!["width".into()];
        let params = Params { by: by.into(), order, axes, variants: variants.collect(), over: Vec::new() };
        let of = |list: &[(&str, f64)]| list.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        let scores = scores.iter().map(|(name, list)| ((*name).to_owned(), of(list))).collect();
        rank(params, scores, &BTreeMap::from([("6".into(), "water".into())]))
    }

    const SCORES: &[(&str, &[(&str, f64)])] = &[
        ("width=8", &[("jaccard", 0.5), ("jaccard.water", 0.1), ("accuracy", 0.9)]),
        ("width=16", &[("jaccard", 0.7), ("accuracy", 0.8)]),
        ("width=24", &[("jaccard", 0.5), ("jaccard.water", 0.3), ("accuracy", 0.9)]),
    ];

    fn order_of(ranking: &Ranking) -> Vec<&str> {
        ranking.rows.iter().map(|r| r.variant.as_str()).collect()
    }

    #[test]
    fn the_best_is_first_and_equals_go_by_name() {
        let high = ranked("jaccard", Order::Descending, SCORES).unwrap();
        assert_eq!(order_of(&high), ["width=16", "width=24", "width=8"]);
        assert_eq!(high.rows.iter().map(|r| r.rank).collect::<Vec<_>>(), [1, 2, 3]);
        let low = ranked("accuracy", Order::Ascending, SCORES).unwrap();
        assert_eq!(order_of(&low), ["width=16", "width=24", "width=8"]);
        assert_eq!(
            high.csv(),
            "rank,variant,width,jaccard,accuracy,jaccard.water\n1,width=16,16,0.7,0.8,\n2,width=24,24,0.5,0.9,0.3\n\
             3,width=8,8,0.5,0.9,0.1\n"
        );
    }

    #[test]
    fn what_has_no_score_is_last_in_either_order() {
        for order in [Order::Ascending, Order::Descending] {
            let ranking = ranked("jaccard.water", order, SCORES).unwrap();
            let last = ranking.rows.last().unwrap();
            assert_eq!((last.variant.as_str(), last.score), ("width=16", None));
        }
        assert!(ranked("f1.water", Order::Ascending, SCORES).is_ok(), "a class that occurs nowhere");
    }

    #[test]
    fn an_unknown_score_names_the_nearest() {
        let told = |by: &str| match ranked(by, Order::Ascending, SCORES).unwrap_err() {
            StageError::Failed { message, help } => format!("{message}; {}", help.unwrap_or_default()),
            StageError::Cancelled => String::new(),
        };
        assert_eq!(told("jacard"), "no variant has the score \"jacard\"; did you mean `by: jaccard`?");
        let all = "there are `accuracy`, `jaccard`, `jaccard.water`";
        assert_eq!(told("zzz"), format!("no variant has the score \"zzz\"; {all}"));
    }
}
