//! The README is true: its commands run, its YAML is right. And the shipped pipelines and the schema are up to date.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use project::{Project, finish, s2pipe};
use serde_json::{Value, json};

const README: &str = include_str!("../README.md");

/// The code blocks with this word behind the fence.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = README.split(&fence).skip(1);
    blocks.map(|rest| rest.split_once("```").expect("the block ends").0.to_owned()).collect()
}

/// The commands of the console blocks, comments taken off, continued lines joined.
fn commands() -> Vec<String> {
    let text = blocks("console").concat().replace("\\\n", " ");
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.map(|line| line.split(" # ").next().unwrap_or(line).trim().to_owned()).collect()
}

#[test]
fn every_command_of_the_tour_runs() {
    let commands = commands();
    assert!(commands.len() >= 12, "{commands:?}");
    let project = Project::finished();
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[0], "s2pipe", "{command}");
        // Through a shell, as a person types it.
        let mut shell = Command::new("sh");
        let binary = Path::new(env!("CARGO_BIN_EXE_s2pipe")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
        shell.args(["-c", &command]).current_dir(project.root()).env("PATH", path).env("S2PIPE_CONFIG", "");
        shell.env_remove("S2PIPE_LOG");
        let ran = finish(shell);
        let fine = ran.code == Some(0) || (words[1] == "status" && ran.code == Some(3));
        assert!(fine, "{command}: exit code {:?}\n{}\n{}", ran.code, ran.stdout, ran.stderr);
        assert!(!ran.stdout.trim().is_empty(), "{command} printed nothing");
    }
}

/// What the README says about classes and scenes, put into a project that has such files.
#[test]
fn the_example_of_own_scenes_is_a_good_pipeline() {
    let [example] = blocks("yaml").try_into().expect("one YAML block");
    let project = Project::fresh();
    for split in ["train", "val"] {
        fs::create_dir_all(project.path(&format!("data/{split}"))).unwrap();
        for what in ["img", "mask"] {
            let file = project.path(&format!("data/{split}/a_1_{what}.tif"));
            fs::copy(project.data(if what == "img" { "val_scene_0" } else { "val_truth_0" }), file).unwrap();
        }
    }
    project.write_pipeline(&example);
    project.s2pipe(&["check"]).ok();
}

#[test]
fn the_shipped_pipelines_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in fs::read_dir(root.join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        s2pipe(root, &["check", path.to_str().unwrap()]).ok();
        let first = "# yaml-language-server: $schema=../docs/pipeline.schema.json";
        assert_eq!(fs::read_to_string(&path).unwrap().lines().next(), Some(first), "{}", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn the_committed_schema_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let printed = s2pipe(root, &["schema"]).ok().stdout;
    let committed = fs::read_to_string(root.join("docs/pipeline.schema.json")).unwrap();
    assert!(printed == committed, "write it anew: s2pipe schema > docs/pipeline.schema.json");
}

/// Prints what an independent validator says about each document; `null` where it is valid.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft7Validator
job = json.load(sys.stdin)
Draft7Validator.check_schema(job['schema'])
validator = Draft7Validator(job['schema'])
print(json.dumps([next((e.message for e in validator.iter_errors(d)), None) for d in job['documents']]))
";

#[test]
fn the_shipped_pipelines_match_the_schema() {
    let known = Command::new("python3").args(["-c", "import jsonschema"]).output();
    if !known.is_ok_and(|out| out.status.success()) {
        println!("skipped: no Python with jsonschema");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&s2pipe(root, &["schema"]).ok().stdout).unwrap();
    let mut documents: Vec<Value> = fs::read_dir(root.join("pipelines"))
        .unwrap()
        .map(|entry| as_json(&fs::read_to_string(entry.unwrap().path()).unwrap()))
        .collect();
    documents.push(as_json(project::PIPELINE));
    let good = documents.len();
    documents.push(as_json(&project::PIPELINE.replace("epochs: 6", "epochs: 0")));
    documents.push(as_json(&project::PIPELINE.replace("epochs: 6", "epoch: 6")));
    let mut python =
        Command::new("python3").args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let job = json!({ "schema": schema, "documents": documents });
    python.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let said: Vec<Option<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said[..good], vec![None; good]);
    assert!(said[good..].iter().all(Option::is_some), "{said:?}");
}

/// YAML as JSON; keys become text, as they do in editors.
fn as_json(text: &str) -> Value {
    fn convert(value: serde_yaml::Value) -> Value {
        match value {
            serde_yaml::Value::Mapping(map) => {
                let key = |key: serde_yaml::Value| {
                    key.as_str().map_or_else(|| convert(key.clone()).to_string(), str::to_owned)
                };
                Value::Object(map.into_iter().map(|(k, v)| (key(k), convert(v))).collect())
            }
            serde_yaml::Value::Sequence(list) => list.into_iter().map(convert).collect(),
            other => serde_json::to_value(other).unwrap(),
        }
    }
    convert(serde_yaml::from_str(text).unwrap())
}
