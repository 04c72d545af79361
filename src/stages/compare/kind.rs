//! The kind: which variants there are, and what they are ranked by.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ranking::{Order, rank};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::raster::ClassTable;
use crate::spec::{
    Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Source, Stage, nearest,
};
use crate::stages::document::{write_document, write_text};
use crate::stages::params::{read_params, read_with, to_json};
use crate::stages::scores::{BY_CLASS, OVERALL, name_classes, scores_of, with_class_name};

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
        ParamSpec {
            name: "over",
            ty: ParamType::List(&ParamType::Text),
            default: Default::Json("[]"),
            doc: "Axes such as `seed` or `fold`: variants that differ in these alone become one line with mean and spread.",
        },
    ],
    check: Some(check),
};

/// What the stage is told.
#[derive(Deserialize)]
struct With {
    by: String,
    order: Order,
    over: Vec<String>,
}

/// What its task reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Params {
    pub(super) by: String,
    pub(super) order: Order,
    pub(super) axes: Vec<String>,
    pub(super) variants: BTreeMap<String, Map<String, Value>>,
    /// Axes over which means are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) over: Vec<String>,
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
        let With { by, order, over } = read_with(&context.stage.with)?;
        let items = context.items(PORT);
        let names = class_names(&context.pipeline.classes);
        let mut axes: Vec<String> = Vec::new();
        for (axis, _) in items.iter().flat_map(|i| &i.axes) {
            if !axes.contains(axis) {
                axes.push(axis.clone());
            }
        }
        check_over(&over, &axes)?;
        let variants = variant_names(items);
        let chosen = variants.iter().zip(items).map(|(name, item)| (name.clone(), item.axes.iter().cloned().collect()));
        let params = Params { by: with_class_name(&by, &names), order, axes, variants: chosen.collect(), over };
        let files = [("ranking", "ranking.json"), ("table", "ranking.csv")];
        let task = TaskPlan {
            name: String::new(),
            params: to_json(&params),
            seed: None,
            classes: Some(to_json(&names)),
            inputs: variants.iter().zip(items).map(|(v, i)| (format!("{PORT}/{v}"), i.from.clone())).collect(),
            outputs: files.map(|(name, path)| OutputDecl { name: name.into(), path: path.into() }).to_vec(),
            cores: Cores::One,
        };
        Ok(Expansion::of_one(&context.stage.name, task))
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

/// The nearest score, or what there is.
pub(super) fn score_help<'a>(by: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
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

/// Refuses means over an axis that no variant has.
fn check_over(over: &[String], axes: &[String]) -> Result<(), ExpandError> {
    let Some(unknown) = over.iter().find(|axis| !axes.contains(axis)) else { return Ok(()) };
    let help = match nearest(unknown, axes.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if axes.is_empty() => "nothing that it compares has a `matrix`".to_owned(),
        None => format!("there are {}", axes.iter().map(|axis| format!("`{axis}`")).collect::<Vec<_>>().join(", ")),
    };
    Err(ExpandError { message: format!("`over` names {unknown:?}, and no axis is called so"), help: Some(help) })
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

    #[test]
    fn means_over_an_unknown_axis_are_refused() {
        let axes = ["width".to_owned(), "seed".to_owned()];
        assert!(check_over(&["seed".into()], &axes).is_ok());
        let told = |over: &str, axes: &[String]| check_over(&[over.into()], axes).unwrap_err().help.unwrap();
        assert_eq!(told("sed", &axes), "did you mean `seed`?");
        assert_eq!(told("fold", &[]), "nothing that it compares has a `matrix`");
    }
}
