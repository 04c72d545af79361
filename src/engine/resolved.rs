//! The checked pipeline as JSON, defaults filled in (`s2pipe.pipeline/1`): the record of what a run was asked to do.
//!
//! Written as text at once: as a tree of values, the record of ten thousand stages would be the largest thing in memory.

use std::io;
use std::path::Path;

use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::raster::ClassTable;
use crate::spec::{Input, Pipeline, Source, Stage};

/// The text of the record.
pub(super) fn resolved(pipeline: &Pipeline) -> String {
    let record = Record {
        pipeline: "s2pipe.pipeline/1",
        name: &pipeline.name,
        file: &pipeline.file,
        root: &pipeline.root,
        seed: pipeline.seed,
        budget_seconds: pipeline.budget.map(|b| b.as_secs_f64()),
        classes: &pipeline.classes,
        stages: Stages(&pipeline.stages),
    };
    // Fails for paths that are not UTF-8, which the language cannot spell either.
    serde_json::to_string(&record).unwrap_or_default()
}

#[derive(Serialize)]
struct Record<'a> {
    pipeline: &'static str,
    name: &'a str,
    file: &'a Path,
    root: &'a Path,
    seed: u64,
    budget_seconds: Option<f64>,
    classes: &'a ClassTable,
    stages: Stages<'a>,
}

struct Stages<'a>(&'a [Stage]);

impl Serialize for Stages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|stage| (&stage.name, StageRecord::of(stage))))
    }
}

#[derive(Serialize)]
struct StageRecord<'a> {
    uses: &'a str,
    inputs: Inputs<'a>,
    outputs: Outputs<'a>,
    needs: &'a [String],
    with: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    matrix: Value,
    #[serde(skip_serializing_if = "is_false")]
    join: bool,
    #[serde(skip_serializing_if = "Value::is_null")]
    limits: Value,
}

impl<'a> StageRecord<'a> {
    fn of(stage: &'a Stage) -> Self {
        Self {
            uses: &stage.uses,
            inputs: Inputs(&stage.inputs),
            outputs: Outputs(stage),
            needs: &stage.needs,
            with: &stage.with,
            matrix: if stage.matrix.is_empty() { Value::Null } else { stage.matrix_json() },
            join: stage.joins,
            limits: if stage.limits == Default::default() { Value::Null } else { stage.limits.to_json() },
        }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

struct Inputs<'a>(&'a [Input]);

impl Serialize for Inputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for input in self.0 {
            let sources: Vec<SourceRecord<'_>> = input.sources.iter().map(SourceRecord).collect();
            map.serialize_entry(&input.port, &sources)?;
        }
        map.end()
    }
}

struct SourceRecord<'a>(&'a Source);

impl Serialize for SourceRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match self.0 {
            Source::Output { stage, output } => {
                map.serialize_entry("stage", stage)?;
                map.serialize_entry("output", output)?;
            }
            Source::Files { pattern, files } => {
                map.serialize_entry("pattern", pattern)?;
                map.serialize_entry("files", files)?;
            }
        }
        map.end()
    }
}

struct Outputs<'a>(&'a Stage);

impl Serialize for Outputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.outputs.len()))?;
        for (name, path) in &self.0.outputs {
            let path = path.to_str().ok_or_else(|| S::Error::custom(io::ErrorKind::InvalidData))?;
            map.serialize_entry(name, path)?;
        }
        map.end()
    }
}
