//! Two runs side by side: parameters, data, seconds, scores, results.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::digest::{ContentId, Digest};
use super::graph::label;
use super::runs::RunRecord;

/// What differs between two runs. What is equal in both is left out, except seconds and scores.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunDiff {
    /// Id of the first run.
    pub a: String,
    /// Id of the second run.
    pub b: String,
    /// Whether both runs tell what they were asked to do, read and left; if not, the lists below lack what is not told.
    pub complete: bool,
    /// Parameters, seed, classes, inputs: `train.model.width`.
    pub parameters: Vec<Pair<Value>>,
    /// Source files by path, with their digests.
    pub data: Vec<Pair<Digest>>,
    /// Seconds that making each stage's results took, all its tasks together, in whichever run that was.
    pub seconds: Vec<Pair<f64>>,
    /// Scores: `evaluate jaccard`.
    pub scores: Vec<Pair<f64>>,
    /// Results with other bytes: `train.model`.
    pub results: Vec<Pair<ContentId>>,
}

/// One thing in two runs; `None`: it was not there.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Pair<T> {
    /// What it is.
    pub name: String,
    /// In the first run.
    pub a: Option<T>,
    /// In the second run.
    pub b: Option<T>,
}

impl RunDiff {
    /// Compares two runs.
    pub fn of(a: &RunRecord, b: &RunRecord) -> Self {
        let differing = |pairs: Vec<Pair<_>>| pairs.into_iter().filter(|p| p.a != p.b).collect();
        let complete = |run: &RunRecord| run.pipeline.is_some() && run.tasks.is_some();
        Self {
            a: a.info.run.clone(),
            b: b.info.run.clone(),
            complete: complete(a) && complete(b),
            parameters: pairs(parameters(a), parameters(b)).into_iter().filter(|p| p.a != p.b).collect(),
            data: pairs(sources(a), sources(b)).into_iter().filter(|p| p.a != p.b).collect(),
            seconds: pairs(seconds(a), seconds(b)),
            scores: pairs(scores(a), scores(b)),
            results: differing(pairs(results(a), results(b))),
        }
    }
}

/// Two tables as one, in the order of the first, then what only the second has.
fn pairs<T>(a: Vec<(String, T)>, b: Vec<(String, T)>) -> Vec<Pair<T>> {
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    let mut pairs: Vec<Pair<T>> = Vec::with_capacity(a.len());
    for (name, value) in a {
        at.insert(name.clone(), pairs.len());
        pairs.push(Pair { name, a: Some(value), b: None });
    }
    for (name, value) in b {
        match at.get(&name) {
            Some(&index) => pairs[index].b = Some(value),
            None => pairs.push(Pair { name, a: None, b: Some(value) }),
        }
    }
    pairs
}

/// Every value of the resolved pipeline by its dotted name, without what says where things were.
pub fn parameters(run: &RunRecord) -> Vec<(String, Value)> {
    const PLACES: [&str; 3] = ["pipeline", "file", "root"];
    let mut found = Vec::new();
    let Some(Value::Object(pipeline)) = &run.pipeline else { return found };
    for (key, value) in pipeline.iter().filter(|(key, _)| !PLACES.contains(&key.as_str())) {
        match (key.as_str(), value) {
            ("stages", Value::Object(stages)) => {
                stages.iter().for_each(|(name, stage)| of_stage(name, stage, &mut found))
            }
            _ => flatten(key.clone(), value, &mut found),
        }
    }
    found
}

fn of_stage(name: &str, stage: &Value, found: &mut Vec<(String, Value)>) {
    let Value::Object(keys) = stage else { return };
    for (key, value) in keys {
        match (key.as_str(), value) {
            ("with", _) => flatten(name.to_owned(), value, found),
            // Which files a pattern matched is told by the data.
            ("inputs", Value::Object(ports)) => {
                for (port, sources) in ports {
                    found.push((format!("{name}.inputs.{port}"), references(sources)));
                }
            }
            _ => flatten(format!("{name}.{key}"), value, found),
        }
    }
}

/// Sources as they are written in YAML: `stage.output`, a pattern, or a list of those.
fn references(sources: &Value) -> Value {
    let text = |source: &Value| {
        let get = |key: &str| source.get(key).and_then(Value::as_str);
        match (get("stage"), get("output"), get("pattern")) {
            (Some(stage), Some(output), _) => Value::from(format!("{stage}.{output}")),
            (_, _, Some(pattern)) => Value::from(pattern),
            _ => source.clone(),
        }
    };
    match sources.as_array().map(Vec::as_slice) {
        Some([one]) => text(one),
        Some(several) => several.iter().map(text).collect(),
        None => sources.clone(),
    }
}

fn flatten(name: String, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| flatten(format!("{name}.{key}"), value, found)),
        Value::Null => {}
        Value::Array(items) if items.is_empty() => {}
        _ => found.push((name, value.clone())),
    }
}

/// By their path below the project's root, where they lie there.
fn sources(run: &RunRecord) -> Vec<(String, Digest)> {
    let root = run.pipeline.as_ref().and_then(|p| Some(format!("{}/", p.get("root")?.as_str()?)));
    let shown = |path: &String| match &root {
        Some(root) => path.strip_prefix(root.as_str()).unwrap_or(path).to_owned(),
        None => path.clone(),
    };
    run.tasks.iter().flat_map(|t| &t.sources).map(|(path, digest)| (shown(path), *digest)).collect()
}

fn seconds(run: &RunRecord) -> Vec<(String, f64)> {
    let mut stages: Vec<(String, f64)> = Vec::new();
    for made in run.tasks.iter().flat_map(|t| &t.made) {
        match stages.last_mut() {
            Some((stage, seconds)) if *stage == made.stage => *seconds += made.seconds,
            _ => stages.push((made.stage.clone(), made.seconds)),
        }
    }
    stages
}

fn scores(run: &RunRecord) -> Vec<(String, f64)> {
    let stages = run.info.summary.iter().flat_map(|s| &s.stages);
    let tasks = stages.flat_map(|stage| stage.scores.iter().map(|(task, scores)| (label(&stage.name, task), scores)));
    tasks
        .flat_map(|(task, scores)| scores.iter().map(move |(name, value)| (format!("{task} {name}"), *value)))
        .collect()
}

fn results(run: &RunRecord) -> Vec<(String, ContentId)> {
    let made = run.tasks.iter().flat_map(|t| &t.made);
    made.flat_map(|t| t.outputs.iter().map(|o| (format!("{}.{}", label(&t.stage, &t.task), o.name), o.content)))
        .collect()
}
