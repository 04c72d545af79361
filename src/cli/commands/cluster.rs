//! `s2pipe run --executor slurm`: tasks as jobs of a cluster.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use crate::cli::args::{ExecutorArg, OnInterruptArg, RunArgs};
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::engine::{Cache, Cores, Graph, Plan, PlannedTask, TaskState};
use crate::slurm::{OnInterrupt, Preview, Slurm, preview};
use crate::spec::ExecutorName;

/// Whether tasks are to run on a cluster: the command line says so, else the pipeline, else the person's settings.
pub(super) fn is_wanted(args: &RunArgs, project: &Project) -> bool {
    match args.executor {
        Some(executor) => executor == ExecutorArg::Slurm,
        None => project.site.executor == Some(ExecutorName::Slurm),
    }
}

/// The cluster.
pub(super) fn slurm<'a>(args: &RunArgs, project: &Project, cache: &Cache) -> Result<Slurm<'a>, Failure> {
    if project.pipeline.budget.is_some() {
        tracing::warn!("`budget` does not count on a cluster, where tasks wait in a queue: use `time` under `slurm:`");
    }
    let wanted = args.on_interrupt;
    let ask = move |elements: usize| match wanted {
        Some(OnInterruptArg::Cancel) => OnInterrupt::Cancel,
        Some(OnInterruptArg::Leave) => leave(elements),
        None if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => ask(elements),
        None => leave(elements),
    };
    Ok(Slurm::new(project.site.slurm.clone(), cache, program()?, Box::new(ask)))
}

/// This program, as nodes of a cluster find it.
fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|e| Failure::failed(format!("where this program lies is not known: {e}")))
}

fn leave(elements: usize) -> OnInterrupt {
    let stay = if elements == 1 { "1 job stays" } else { &format!("{elements} jobs stay") };
    eprintln!("{stay} in the queue: the same command follows what is there");
    OnInterrupt::Leave
}

fn ask(elements: usize) -> OnInterrupt {
    let jobs = if elements == 1 { "the job that is" } else { &format!("the {elements} jobs that are") };
    eprint!("\ncancel {jobs} queued or running? [y/N] ");
    let mut answer = String::new();
    // No answer is no.
    let _ = std::io::stdin().read_line(&mut answer);
    if answer.trim().to_lowercase().starts_with('y') { OnInterrupt::Cancel } else { leave(elements) }
}

/// What would be submitted, stage by stage.
pub(super) fn scripts(project: &Project, graph: &Graph, plan: &Plan, cache: &Cache) -> Result<String, Failure> {
    let program = program()?;
    let mut text = String::new();
    for stage in &graph.stages {
        let tasks: Vec<&PlannedTask> =
            plan.tasks.iter().filter(|t| t.stage == stage.name && t.state != TaskState::Cached).collect();
        if tasks.is_empty() {
            continue;
        }
        let all_cores = graph.tasks[stage.tasks.clone()].iter().any(|task| task.plan.cores == Cores::All);
        let seconds = tasks.iter().filter_map(|task| task.seconds).collect();
        let (name, kind, limits) = (&*stage.name, &*stage.kind, &stage.limits);
        let shown =
            Preview { pipeline: &graph.pipeline, stage: name, kind, limits, tasks: tasks.len(), all_cores, seconds };
        let (script, per_job) = preview(&shown, &project.site.slurm, cache.root(), &program);
        let certain = tasks.iter().filter(|task| matches!(task.state, TaskState::WillRun { .. })).count();
        let sure = if certain == tasks.len() { "will run" } else { "will or may run" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {name}: {} {sure}, {per_job} a job\n{script}", count(tasks.len()));
    }
    Ok(if text.is_empty() { "nothing would be submitted\n".to_owned() } else { text })
}

fn count(tasks: usize) -> String {
    if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") }
}
