//! `s2pipe run`: the main job.

use signal_hook::consts::{SIGINT, SIGTERM};

use super::cluster;
use super::status::{Jobs, plan_json, plan_text};
use crate::cli::args::{RunArgs, SelectArgs, Verbosity};
use crate::cli::exit;
use crate::cli::failure::Failure;
use crate::cli::guard::guard;
use crate::cli::output::{Terminal, print, print_json, summary_json, summary_text};
use crate::cli::project::Project;
use crate::cli::sharing::share;
use crate::engine::{self, Cancel, DeviceChoice, EngineError, PlanError, Reach, RunOptions, RunSummary, Selection};

/// Runs a pipeline, or says what would run.
pub(in crate::cli) fn run(args: &RunArgs, verbosity: &Verbosity) -> Result<(), Failure> {
    let device = read_device(&args.device.device)?;
    let project = Project::load(&args.pipeline)?;
    project.warn();
    let graph = project.graph()?;
    let cache = project.cache(&args.cache)?;
    guard(&project, &graph, &cache)?;
    let selection = selection(&args.select);
    let on_cluster = cluster::is_wanted(args, &project);
    if args.dry_run {
        let plan = engine::plan(&graph, &cache, &selection).map_err(engine_failure)?;
        return match (args.json, on_cluster) {
            (true, _) => print_json(&plan_json(&plan, &Jobs::new())),
            (false, true) => print(&cluster::scripts(&project, &graph, &plan, &cache)?),
            (false, false) => print(&plan_text(&plan, args.explain, &Jobs::new())),
        };
    }
    let mut options = RunOptions { selection, keep_going: args.keep_going, device, ..RunOptions::default() };
    (options.memory, options.gpus, options.gpu_memory) = (args.memory, args.gpus, args.device.gpu_memory);
    if let Some(jobs) = args.jobs {
        options.jobs = jobs.into();
        options.threads = jobs.into();
        // Everything that computes in parallel shares one pool. It exists already only in tests.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs.into()).build_global();
    }
    let cancel = Cancel::default();
    stop_on_signals(&cancel)?;
    let terminal = Terminal::new(verbosity, args.explain);
    let slurm = if on_cluster { Some(cluster::slurm(args, &project, &cache)?) } else { None };
    share(&args.remote, &project.site.remote, (&cache, &cancel, &terminal), |shared| {
        let reach = Reach { cluster: slurm.as_ref().map(|slurm| slurm as _), ..shared };
        let summary = engine::run_within(reach, &graph, &project.registry, &cache, &options, &terminal, &cancel);
        terminal.close();
        conclude(&summary.map_err(engine_failure)?, &project, args, (&terminal, verbosity))
    })
}

/// Prints what became of a run; a run that did not end well is a failure.
fn conclude(
    summary: &RunSummary,
    project: &Project,
    args: &RunArgs,
    (terminal, verbosity): (&Terminal, &Verbosity),
) -> Result<(), Failure> {
    if args.json {
        print_json(&summary_json(summary))?;
    } else if !verbosity.quiet {
        print(&summary_text(summary, &project.pipeline.classes))?;
    }
    if summary.ok {
        return Ok(());
    }
    terminal.failures(summary);
    Err(Failure::silent(if summary.interrupted { exit::INTERRUPTED } else { exit::FAILED }))
}

/// The selection of the command line.
pub(super) fn selection(args: &SelectArgs) -> Selection {
    Selection { from: args.from.clone(), until: args.until.clone(), force: args.force }
}

/// An engine error with its advice. Wrong stage names are the command line's fault, the rest is the machine's.
pub(in crate::cli) fn engine_failure(error: impl Into<EngineError>) -> Failure {
    let error = error.into();
    let help = error.help();
    let failure = match &error {
        EngineError::Plan(
            PlanError::UnknownStage { .. } | PlanError::FromOutside { .. } | PlanError::TooMuch { .. },
        ) => Failure::usage(&error),
        EngineError::Plan(_) | EngineError::Cache(_) | EngineError::Cluster(_) => Failure::failed(&error),
    };
    failure.help(help)
}

pub(super) fn read_device(text: &str) -> Result<DeviceChoice, Failure> {
    match text.split_once(':') {
        None if text == "auto" => Ok(DeviceChoice::Auto),
        None if text == "cpu" => Ok(DeviceChoice::Cpu),
        None if text == "cuda" => Ok(DeviceChoice::Cuda(0)),
        Some(("cuda", ordinal)) if ordinal.parse::<usize>().is_ok() => {
            Ok(DeviceChoice::Cuda(ordinal.parse().unwrap_or(0)))
        }
        _ => Err(Failure::usage(format!("--device {text}: expected auto, cpu, cuda or cuda:N"))),
    }
}

/// The first SIGINT or SIGTERM asks tasks to stop and leave checkpoints; a second one ends the program at once.
pub(in crate::cli) fn stop_on_signals(cancel: &Cancel) -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, exit::INTERRUPTED.into(), cancel.flag())
            .and_then(|_| signal_hook::flag::register(signal, cancel.flag()))
            .map_err(|e| Failure::failed(format!("signals cannot be handled: {e}")))?;
    }
    Ok(())
}
