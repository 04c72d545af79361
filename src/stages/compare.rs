//! `compare`: all variants of what it reads, ranked by a score.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::{read_document, write_document, write_text};
use super::params::{read_params, read_with, to_json};
use super::scores::{BY_CLASS, OVERALL, name_classes, scores_of, with_class_name};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::metrics::csv_row;
use crate::raster::ClassTable;
use crate::spec::{
    Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Source, Stage, nearest,
};

/// Version of `ranking.json`.
pub const RANKING_VERSION: &str = "s2pipe.ranking/1";

static SPEC: KindSpec = KindSpec {
    name: "compare",
    version: 1,
    doc: "Ranks the variants of a `matrix` by a score. It receives all variants of its input at once.",
    inputs: &[InputSpec {
        name: "metrics",
        accepts: &[Artefact::Metrics],
        accepts_files: true,
        required: true,
        doc: "The scores: of `evaluate`, or any JSON file with numbers.",
    }],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "ranking",
            artefact: Artefact::Any,
            when: None,
            doc: "`ranking.json`: the variants, best first, with what they chose and their scores.",
        },
        OutputSpec {
            name: "table",
            artefact: Artefact::Any,
            when: None,
            doc: "`ranking.csv`: the same, one line a variant.",
        },
    ],
    free_outputs: false,
    joins: true,
    params: &[
        ParamSpec {
            name: "by",
            ty: ParamType::Text,
            default: Default::Json("\"jaccard\""),
            doc: "The score: `jaccard` (mean over classes), `jaccard.water`, `accuracy`, `kappa`, `f1`, `precision`, \
                  `recall`; of another JSON file a number by its path, such as `folds.0.loss`.",
        },
        ParamSpec {
            name: "order",
            ty: ParamType::Choice(&["descending", "ascending"]),
            default: Default::Json("\"descending\""),
            doc: "What comes first: the highest score or the lowest.",
        },
    ],
    check: Some(check),
};

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
    /// The axes, in the order of the variants' names.
    pub axes: Vec<String>,
    /// Scores worth a column beside `by`: those for all classes, then Jaccard of each class.
    pub columns: Vec<String>,
    /// The variants, best first; those without the score last.
    pub rows: Vec<Row>,
}

/// One variant of a [`Ranking`].
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
}

impl Ranking {
    /// Reads `ranking.json`.
    ///
    /// # Errors
    /// A sentence naming the file when it is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        read_document(path, "a ranking", RANKING_VERSION)
    }

    /// One line a variant: `rank,variant,<axes>,<by>,<columns>`. A score that there is no number for is empty.
    fn csv(&self) -> String {
        let mut csv = String::new();
        let head = ["rank", "variant"].into_iter().map(str::to_owned);
        let names = self.axes.iter().chain([&self.by]).chain(&self.columns).cloned();
        csv_row(&mut csv, &head.chain(names).collect::<Vec<_>>());
        for row in &self.rows {
            let number = |value: Option<&f64>| value.map_or_else(String::new, ToString::to_string);
            let mut fields = vec![row.rank.to_string(), row.variant.clone()];
            fields.extend(self.axes.iter().map(|axis| row.axes.get(axis).map_or_else(String::new, axis_text)));
            fields.push(number(row.score.as_ref()));
            fields.extend(self.columns.iter().map(|column| number(row.scores.get(column))));
            csv_row(&mut csv, &fields);
        }
        csv
    }
}

fn axis_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What the stage is told.
#[derive(Deserialize)]
struct With {
    by: String,
    order: Order,
}

/// What its task reads.
#[derive(Debug, Serialize, Deserialize)]
struct Params {
    by: String,
    order: Order,
    axes: Vec<String>,
    variants: BTreeMap<String, Map<String, Value>>,
}

/// The `compare` stage kind.
#[derive(Debug)]
pub struct Compare;

/// The port, and the beginning of its slots.
const PORT: &str = "metrics";

impl StageKind for Compare {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let With { by, order } = read_with(&context.stage.with)?;
        let items = context.items(PORT);
        let names = class_names(&context.pipeline.classes);
        let mut axes: Vec<String> = Vec::new();
        for (axis, _) in items.iter().flat_map(|i| &i.axes) {
            if !axes.contains(axis) {
                axes.push(axis.clone());
            }
        }
        let variants = variant_names(items);
        let chosen = variants.iter().zip(items).map(|(name, item)| (name.clone(), item.axes.iter().cloned().collect()));
        let params = Params { by: with_class_name(&by, &names), order, axes, variants: chosen.collect() };
        let from = |output: &str| Origin::Task {
            stage: context.stage.name.clone(),
            task: String::new(),
            output: output.to_owned(),
        };
        let files = [("ranking", "ranking.json"), ("table", "ranking.csv")];
        Ok(Expansion {
            tasks: vec![TaskPlan {
                name: String::new(),
                params: to_json(&params),
                seed: None,
                classes: Some(to_json(&names)),
                inputs: variants.iter().zip(items).map(|(v, i)| (format!("{PORT}/{v}"), i.from.clone())).collect(),
                outputs: files.map(|(name, path)| OutputDecl { name: name.into(), path: path.into() }).to_vec(),
                cores: Cores::One,
            }],
            outputs: files.map(|(name, _)| (name.to_owned(), vec![Item::new("", from(name))])).into(),
        })
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let names: BTreeMap<String, String> = serde_json::from_value(task.classes.cloned().unwrap_or_default())
            .map_err(|e| StageError::failed(format!("the task record holds no names of classes: {e}")))?;
        let mut scores = BTreeMap::new();
        for (variant, path) in task.items(PORT) {
            scores.insert(variant.to_owned(), name_classes(scores_of(path)?, &names));
        }
        let ranking = rank(read_params(task)?, scores, &names)?;
        write_text(&task.output("table")?, &ranking.csv())?;
        write_document(&task.output("ranking")?, &ranking)?;
        Ok(Outcome::Complete)
    }
}

/// Label code -> name.
fn class_names(classes: &ClassTable) -> BTreeMap<String, String> {
    classes.iter().map(|c| (c.code.to_string(), c.name.clone())).collect()
}

/// A name for each item: its variant's, where that is enough to tell them apart; never empty.
fn variant_names(items: &[Item]) -> Vec<String> {
    let whole = |item: &Item| match (&item.from, item.name.is_empty()) {
        (Origin::Task { stage, .. }, true) => stage.clone(),
        _ => item.name.clone(),
    };
    let first = |item: &Item| whole(item).split('/').next().unwrap_or_default().to_owned();
    let short: BTreeSet<String> = items.iter().map(first).collect();
    if short.len() == items.len() { items.iter().map(first).collect() } else { items.iter().map(whole).collect() }
}

fn rank(
    params: Params,
    mut scores: BTreeMap<String, BTreeMap<String, f64>>,
    names: &BTreeMap<String, String>,
) -> Result<Ranking, StageError> {
    let Params { by, order, axes, variants } = params;
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
            Row { rank: 0, score: scores.get(&by).copied(), variant, axes, scores }
        })
        .collect();
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
    Ok(Ranking { format: RANKING_VERSION.into(), by, order, axes, columns, rows })
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

/// The nearest score, or what there is.
fn score_help<'a>(by: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    const LISTED: usize = 16;
    match nearest(by, known.clone()) {
        Some(near) => format!("did you mean `by: {near}`?"),
        None if known.clone().next().is_none() => "the files hold no numbers at all".to_owned(),
        None => {
            let names: Vec<String> = known.clone().take(LISTED).map(|name| format!("`{name}`")).collect();
            let more = known.count().saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("there are {}{more}", names.join(", "))
        }
    }
}

/// The scores of `evaluate` are known before anything runs; those of other files are not.
fn check(pipeline: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let from_evaluate = |source: &Source| match source {
        Source::Output { stage, .. } => pipeline.stage(stage).is_some_and(|s| s.uses == "evaluate"),
        Source::Files { .. } => false,
    };
    let Some(by) = stage.with.get("by").and_then(Value::as_str) else { return Vec::new() };
    if !stage.input(PORT).is_some_and(|input| input.sources.iter().all(from_evaluate)) {
        return Vec::new();
    }
    let names = class_names(&pipeline.classes);
    let of_classes = BY_CLASS.iter().flat_map(|what| names.values().map(move |class| format!("{what}.{class}")));
    let known: Vec<String> = OVERALL.into_iter().map(str::to_owned).chain(of_classes).collect();
    if known.contains(&with_class_name(by, &names)) {
        return Vec::new();
    }
    vec![Finding {
        path: vec!["with".into(), "by".into()],
        message: format!("`{by}` is no score of `evaluate`"),
        help: Some(score_help(by, known.iter().map(String::as_str))),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(by: &str, order: Order, scores: &[(&str, &[(&str, f64)])]) -> Result<Ranking, StageError> {
        let variants = scores.iter().map(|(name, _)| {
            let value = name.split_once('=').map_or(Value::Null, |(_, v)| v.into());
            ((*name).to_owned(), Map::from_iter([("width".to_owned(), value)]))
        });
        let params = Params { by: by.into(), order, axes: vec!["width".into()], variants: variants.collect() };
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

    #[test]
    fn items_are_named_by_their_variant_where_that_is_enough() {
        let item = |stage: &str, name: &str| {
            Item::new(name, Origin::Task { stage: stage.into(), task: String::new(), output: "o".into() })
        };
        let names = |items: &[Item]| variant_names(items);
        assert_eq!(names(&[item("e", "")]), ["e"]);
        assert_eq!(names(&[item("e", "width=1/metrics"), item("e", "width=2/metrics")]), ["width=1", "width=2"]);
        assert_eq!(names(&[item("e", "w=1/a"), item("e", "w=1/b")]), ["w=1/a", "w=1/b"]);
        assert_eq!(names(&[item("e", "e/w=1"), item("f", "f/w=1"), item("f", "f/w=2")]), ["e/w=1", "f/w=1", "f/w=2"]);
    }
}
