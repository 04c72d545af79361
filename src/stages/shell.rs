//! `shell`: any command, in a scratch directory of its own, with declared inputs and outputs.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::params::{read_params, read_with, to_json};
use crate::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, StageError, StageKind,
    TaskContext, TaskPlan,
};
use crate::spec::{Default, KindSpec, ParamSpec, ParamType, item_name};

static SPEC: KindSpec = KindSpec {
    name: "shell",
    version: 1,
    doc: "Runs a command with `sh`. Each input is an environment variable with a path; outputs are declared.",
    inputs: &[],
    free_inputs: true,
    outputs: &[],
    free_outputs: true,
    joins: false,
    params: &[ParamSpec {
        name: "run",
        ty: ParamType::Text,
        default: Default::Required,
        doc: "The command. Its working directory is empty and private; it must leave the declared outputs there.",
    }],
    check: None,
};

/// What a shell task reads.
#[derive(Debug, Serialize, Deserialize)]
struct ShellParams {
    run: String,
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
        let mut child = start(&params.run, task)?;
        let status = wait(&mut child, task)?;
        if status.success() {
            return Ok(Outcome::Complete);
        }
        let silent = std::fs::metadata(task.log).is_ok_and(|m| m.len() == 0);
        let and = if silent { " and printed nothing" } else { "" };
        Err(StageError::failed(format!("the command {}{and}", ending(status))))
    }
}

/// Environment variables passed on from the caller; everything else is left out, so that a result depends on what
/// the pipeline declares and not on who runs it.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

fn start(command: &str, task: &TaskContext<'_>) -> Result<Child, StageError> {
    let fail = |e: std::io::Error| StageError::failed(format!("{}: {e}", task.log.display()));
    let log = File::options().append(true).create(true).open(task.log).map_err(fail)?;
    let mut sh = Command::new("/bin/sh");
    sh.args(["-e", "-c", command])
        .current_dir(task.out_dir)
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("TMPDIR", task.scratch_dir)
        .envs(variables(task))
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(fail)?)
        .stderr(log)
        // A group of its own, so that stopping the task stops all that it started.
        .process_group(0);
    sh.spawn().map_err(|e| StageError::failed(format!("/bin/sh could not be started: {e}")))
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

fn wait(child: &mut Child, task: &TaskContext<'_>) -> Result<ExitStatus, StageError> {
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if task.cancel.is_cancelled() => {
                stop(child);
                return Err(StageError::Cancelled);
            }
            Ok(None) => std::thread::sleep(pause),
            Err(e) => return Err(StageError::failed(format!("waiting for the command failed: {e}"))),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// How long a command may tidy up after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

fn stop(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // A group that is gone already is what we want: errors mean nothing here.
    let signal = |s: Signal| group.map(|g| kill_process_group(g, s));
    signal(Signal::TERM);
    let asked = std::time::Instant::now();
    while asked.elapsed() < GRACE {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(Signal::KILL);
    let _ = child.wait();
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(127), _) => "was not found (exit code 127)".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
