//! The stage kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde::{Deserialize, Serialize};

use super::group::Group;
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::spec::{Default, Finding, KindSpec, ParamSpec, ParamType, Pipeline, Stage, item_name};
use crate::stages::params::{read_params, read_with, to_json};

static SPEC: KindSpec = KindSpec {
    name: "shell",
    version: 1,
    doc: "Runs a command with `sh`. Each input is an environment variable with a path; outputs are declared.",
    inputs: &[],
    free_inputs: true,
    outputs: &[],
    free_outputs: true,
    joins: false,
    params: &[
        ParamSpec {
            name: "run",
            ty: ParamType::Text,
            default: Default::Required,
            doc: "The command. Its working directory is empty and private; it must leave the declared outputs there.",
        },
        ParamSpec {
            name: "env",
            ty: ParamType::Variables,
            default: Default::Absent,
            doc: "Environment variables of the command. Another value is another result.",
        },
        ParamSpec {
            name: "pass",
            ty: ParamType::List(&ParamType::Variable),
            default: Default::Absent,
            doc: "Variables passed on from your own environment, for credentials and paths: their values do not count.",
        },
    ],
    check: Some(check_variables),
};

/// What a shell task reads.
#[derive(Debug, Serialize, Deserialize)]
struct ShellParams {
    run: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    /// Names only: what the values are is the caller's business.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pass: BTreeSet<String>,
}

/// Variables that every command is given by us.
const OURS: [&str; 3] = ["PWD", "TMPDIR", "S2PIPE_CPUS"];

/// No variable is given twice.
fn check_variables(_: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let Ok(params) = read_with::<ShellParams>(&stage.with) else { return Vec::new() };
    let trouble = |name: &str| {
        if OURS.contains(&name) {
            Some((format!("`{name}` is set for every command by s2pipe itself"), "remove it"))
        } else if stage.input(name).is_some() {
            Some((format!("`{name}` is an input already"), "give one of the two another name"))
        } else {
            None
        }
    };
    let mut findings = Vec::new();
    let mut note = |key: &str, name: &str, message: String, help: &str| {
        let path = ["with", key, name].map(str::to_owned).to_vec();
        findings.push(Finding { path, message: format!("with.{key}: {message}"), help: Some(help.to_owned()) });
    };
    for name in params.env.keys() {
        if let Some((message, help)) = trouble(name) {
            note("env", name, message, help);
        }
    }
    for name in &params.pass {
        if params.env.contains_key(name) {
            note("pass", name, format!("`{name}` has a value under `env` already"), "remove one of the two");
        } else if let Some((message, help)) = trouble(name) {
            note("pass", name, message, help);
        }
    }
    findings
}

/// The `shell` stage kind.
#[derive(Debug)]
pub struct Shell;

impl StageKind for Shell {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let params: ShellParams = read_with(&context.stage.with)?;
        let mut inputs = Vec::new();
        for input in &context.stage.inputs {
            // One thing on a port: the variable is its path. Several, or the variants of one: the path of a directory
            // that holds them by name.
            match context.items(&input.port) {
                [one] if one.axes.is_empty() => inputs.push((input.port.clone(), one.from.clone())),
                many => inputs.extend(many.iter().map(|i| (format!("{}/{}", input.port, i.name), i.from.clone()))),
            }
        }
        let outputs: Vec<OutputDecl> = context
            .stage
            .outputs
            .iter()
            .map(|(name, path)| OutputDecl { name: name.clone(), path: path.clone() })
            .collect();
        // Named like a file of the user's, so that a map of it has a name and several can stand in one list.
        let item = |output: &OutputDecl| {
            let stage = context.stage.name.clone();
            Item::new(item_name(&output.path), Origin::Task { stage, task: String::new(), output: output.name.clone() })
        };
        Ok(Expansion {
            outputs: outputs.iter().map(|o| (o.name.clone(), vec![item(o)])).collect(),
            tasks: vec![TaskPlan {
                name: String::new(),
                params: to_json(&params),
                seed: None,
                classes: None,
                inputs,
                outputs,
                cores: Cores::One,
            }],
        })
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let params: ShellParams = read_params(task)?;
        for output in task.outputs {
            if let Some(parent) = output.path.parent() {
                let folder = task.out_dir.join(parent);
                std::fs::create_dir_all(&folder)
                    .map_err(|e| StageError::failed(format!("{}: {e}", folder.display())))?;
            }
        }
        // Earlier attempts may have written to the log.
        let written = || std::fs::metadata(task.log).map_or(0, |m| m.len());
        let before = written();
        let waited = start(&params, task)?.wait(task.cancel);
        let waited = waited.map_err(|e| StageError::failed(format!("waiting for the command failed: {e}")))?;
        let Some(status) = waited else { return Err(StageError::Cancelled) };
        if status.success() {
            return Ok(Outcome::Complete);
        }
        let silent = written() == before;
        let and = if silent { " and printed nothing" } else { "" };
        Err(StageError::failed(format!("the command {}{and}", ending(status))))
    }

    fn is_foreign(&self) -> bool {
        true
    }
}

/// Environment variables passed on from the caller; everything else is left out, so that a result depends on what
/// the pipeline declares and not on who runs it.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

fn start(params: &ShellParams, task: &TaskContext<'_>) -> Result<Group, StageError> {
    let fail = |e: std::io::Error| StageError::failed(format!("{}: {e}", task.log.display()));
    let log = File::options().append(true).create(true).open(task.log).map_err(fail)?;
    let mut sh = Command::new("/bin/sh");
    let passed = PASSED_ON.into_iter().chain(params.pass.iter().map(String::as_str));
    sh.current_dir(task.out_dir)
        .env_clear()
        .envs(passed.filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(&params.env)
        .env("TMPDIR", task.scratch_dir)
        .env("S2PIPE_CPUS", task.threads.to_string())
        .envs(variables(task))
        .stdout(log.try_clone().map_err(fail)?)
        .stderr(log);
    if !task.gpus.is_empty() {
        let ordinals: Vec<String> = task.gpus.iter().map(u32::to_string).collect();
        sh.env("CUDA_VISIBLE_DEVICES", ordinals.join(","));
    }
    Group::start(&mut sh, &params.run).map_err(|e| StageError::failed(format!("/bin/sh could not be started: {e}")))
}

/// One variable a port: the path of its only item, or of the directory that holds its items, at any depth.
fn variables(task: &TaskContext<'_>) -> Vec<(String, PathBuf)> {
    let mut variables: Vec<(String, PathBuf)> = Vec::new();
    for (slot, path) in task.inputs {
        let (name, value) = match slot.split_once('/') {
            None => (slot.as_str(), path.as_path()),
            Some((port, below)) => (port, path.ancestors().nth(below.split('/').count()).unwrap_or(Path::new("/"))),
        };
        if variables.last().is_none_or(|(last, _)| last != name) {
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    variables
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(127), _) => "was not found (exit code 127)".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
