//! The JSON schema against an independent validator, and the text of `s2pipe stages`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use s2pipe::spec::{describe, describe_json, schema};
use serde_json::{Value, json};

#[path = "spec/kinds.rs"]
mod kinds;
use kinds::KINDS;

/// Prints the names of the documents that the schema takes; fails where the schema itself is not one.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft7Validator
job = json.load(sys.stdin)
Draft7Validator.check_schema(job['schema'])
validator = Draft7Validator(job['schema'])
print(json.dumps([name for name, doc in job['documents'].items() if validator.is_valid(doc)]))
";

/// What the schema cannot see: files, references, cycles, the class table, uniqueness beyond keys, the kinds' own checks.
const BEYOND_A_SCHEMA: &[&str] = &[
    "classes-colour",
    "classes-duplicate-name",
    "files-",
    "graph-",
    "input-absent-output",
    "input-ambiguous",
    "input-glob-nothing",
    "input-no-file-port",
    "input-shell-artefact",
    "input-shell-no-output",
    "input-too-many-dots",
    "input-twice",
    "input-unknown-output",
    "input-unknown-stage",
    "input-wrong-artefact",
    "kind-check",
    "matrix-absent-output",
    "matrix-below-value",
    "matrix-duplicate",
    "matrix-empty-part",
    "matrix-kind-check",
    "matrix-missing-beside",
    "matrix-other-kind",
    "matrix-overlap",
    "matrix-too-many",
    "needs-",
    "output-inside",
    "output-same",
    "param-class-",
    "param-float-inf",
    "param-float-nan",
    "param-int-float",
    "param-int-exponent",
    "param-int-or-word-float",
    "set-",
    "site-stages",
    "syntax-",
    "top name from file",
    "top-root",
    "top-seed-float",
];

/// YAML as JSON; keys become text, as they do in editors.
fn as_json(value: &serde_yaml::Value) -> Value {
    match value {
        serde_yaml::Value::Sequence(items) => items.iter().map(as_json).collect(),
        serde_yaml::Value::Mapping(map) => {
            let key = |key: &serde_yaml::Value| key.as_str().map_or_else(|| as_json(key).to_string(), str::to_owned);
            Value::Object(map.iter().map(|(k, v)| (key(k), as_json(v))).collect())
        }
        other => serde_json::to_value(other).unwrap(),
    }
}

fn documents() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir("tests/spec/pipelines").unwrap().map(|entry| entry.unwrap().path());
    let read = |file: std::path::PathBuf| {
        let text = std::fs::read_to_string(&file).ok()?;
        let yaml = serde_yaml::from_str(&text).ok()?;
        Some((file.file_stem().unwrap().to_string_lossy().into_owned(), as_json(&yaml)))
    };
    files.filter_map(read).collect()
}

/// The documents that `jsonschema` takes; `None` where this machine has no Python with it.
fn valid(documents: &BTreeMap<String, Value>) -> Option<Vec<String>> {
    let pipe = Stdio::piped;
    let mut python = Command::new("python3");
    let mut python = python.args(["-c", VALIDATE]).stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().ok()?;
    let job = json!({ "schema": schema(KINDS), "documents": documents });
    // A Python without the package may end before it has read everything.
    let _ = python.stdin.take()?.write_all(job.to_string().as_bytes());
    let output = python.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if errors.contains("No module named") {
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_schema_takes_what_is_right_and_refuses_what_it_can_see_is_wrong() {
    let documents = documents();
    let Some(valid) = valid(&documents) else {
        println!("SKIPPED: there is no python3 with jsonschema here");
        return;
    };
    let wrong: Vec<&String> = documents
        .keys()
        .filter(|name| !BEYOND_A_SCHEMA.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| valid.contains(name) != name.starts_with("landcover"))
        .collect();
    assert!(wrong.is_empty(), "checked otherwise than expected: {wrong:?}");
    assert!(documents.len() > 100 && valid.len() < documents.len() / 2);
}

#[test]
fn the_schema_reads_as_in_its_snapshot() {
    insta::with_settings!({
        snapshot_path => "spec/snapshots", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!("the-schema", serde_json::to_string_pretty(&schema(KINDS)).unwrap()) });
}

#[test]
fn kinds_are_described_from_their_definitions() {
    let text = describe(KINDS, None).unwrap();
    insta::with_settings!({
        snapshot_path => "spec/snapshots", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!("the-kinds", text) });
    assert_eq!(describe(KINDS, Some("train")).unwrap().lines().next(), Some("train"));
    let unknown = describe(KINDS, Some("trian")).unwrap_err().to_string();
    assert!(unknown.starts_with("there is no stage kind `trian`: did you mean `train`?"), "{unknown}");
    let json = describe_json(KINDS, Some("patches")).unwrap();
    assert_eq!(
        json[0]["params"][0],
        json!({
            "name": "size", "required": false, "default": 128, "doc": "Side of a window in pixels.",
            "words": "a whole number from 8 to 4096", "min": 8, "max": 4096, "type": "int",
        })
    );
    let json = describe_json(KINDS, Some("train")).unwrap();
    assert_eq!(
        json[0]["params"][2],
        json!({
            "name": "batch", "required": false, "default": 16, "doc": "Windows a step.",
            "words": "a whole number from 1 to 4096 or `auto`", "min": 1, "max": 4096, "word": "auto",
            "type": "int_or_word",
        })
    );
}
