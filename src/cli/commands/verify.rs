//! `s2pipe verify --rerun STAGE`: determinism on demand.

use super::run::{engine_failure, read_device, stop_on_signals};
use crate::cli::args::Verbosity;
use crate::cli::args_runs::VerifyArgs;
use crate::cli::exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Terminal, print, print_json};
use crate::cli::project::Project;
use crate::engine::{Again, AgainTask, Cancel, RunOptions, rerun};
use crate::stages::difference;

/// Files that differ named one by one, at most, for each task.
const MOST_NAMED: usize = 5;

/// Runs a stage's cached tasks again and compares. Exit code 1 when one left other bytes, 3 when none was cached.
pub(in crate::cli) fn verify(args: &VerifyArgs, verbosity: &Verbosity) -> Result<(), Failure> {
    let device = read_device(&args.device.device)?;
    let mut options = RunOptions { device, gpu_memory: args.device.gpu_memory, ..RunOptions::default() };
    if let Some(jobs) = args.jobs {
        options.threads = jobs.into();
        // Everything that computes in parallel shares one pool. It exists already only in tests.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs.into()).build_global();
    }
    let project = Project::load(&args.pipeline)?;
    let graph = project.graph()?;
    let cache = project.cache(&args.cache)?;
    let cancel = Cancel::default();
    stop_on_signals(&cancel)?;
    let terminal = Terminal::new(verbosity, false);
    let around = (&terminal as &dyn crate::engine::Observer, &cancel);
    let again = rerun((&graph, &project.registry), &cache, &args.rerun, &options, around, &difference);
    terminal.close();
    let again = again.map_err(engine_failure)?;
    if args.json {
        print_json(&again)?;
    } else {
        print(&as_text(&again))?;
    }
    match &again {
        _ if cancel.is_cancelled() => Err(Failure::silent(exit::INTERRUPTED)),
        again if again.tasks.iter().any(|task| task.failed.is_some() || !task.differing.is_empty()) => {
            Err(Failure::silent(exit::FAILED))
        }
        again if !again.tasks.iter().any(AgainTask::is_same) => Err(Failure::silent(exit::STALE)),
        _ => Ok(()),
    }
}

fn as_text(again: &Again) -> String {
    let mut text = String::new();
    for task in &again.tasks {
        text += &match (&task.failed, task.seconds) {
            (Some(error), _) => format!("{}: failed: {error}\n", task.name),
            (None, None) => format!("{}: is not in the cache: nothing to compare with\n", task.name),
            (None, Some(seconds)) if task.differing.is_empty() => {
                format!("{}: the same bytes again, in {seconds:.1} s\n", task.name)
            }
            (None, Some(seconds)) => format!("{}: OTHER BYTES, in {seconds:.1} s\n{}", task.name, differing(task)),
        };
    }
    text
}

fn differing(task: &AgainTask) -> String {
    let mut text = String::new();
    for differing in task.differing.iter().take(MOST_NAMED) {
        let file = differing.file.display().to_string();
        let name = if file.is_empty() { differing.output.clone() } else { format!("{}/{file}", differing.output) };
        text += &format!("  {name}: {}\n", differing.what);
    }
    if let Some(more) = task.differing.len().checked_sub(MOST_NAMED).filter(|&more| more > 0) {
        text += &format!("  and {more} more files\n");
    }
    text
}
