//! A run: look everything up, run what has to run, leave a folder that tells what happened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::cache::Cache;
use super::cancel::Cancel;
use super::error::EngineError;
use super::event::{Event, Observer, TaskStatus};
use super::graph::{Graph, StageId, TaskId};
use super::journal::Journal;
use super::plan::PlanCounts;
use super::reach::{Cluster, Reach};
use super::resources::Pool;
use super::run_folder::{EVENTS_FILE, RunFolder};
use super::scheduler::{Around, Scheduler};
use super::selection::Selection;
use super::stage::{DeviceChoice, Registry};
use super::summary::{Failure, RunSummary, StageSummary, TaskCounts};
use super::survey::{State, Survey};

const SUMMARY: &str = "s2pipe.run/2";
/// A failure shows this many last lines of its log, from at most this many bytes.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 << 10;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What to run.
    pub selection: Selection,
    /// Processors for all tasks together; a task holds one where its stage or kind does not say otherwise.
    pub jobs: usize,
    /// Bytes of memory for all tasks together instead of what the machine has.
    pub memory: Option<u64>,
    /// Number of GPUs instead of those that the machine has.
    pub gpus: Option<u32>,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// Device for training and prediction.
    pub device: DeviceChoice,
    /// Bytes of GPU memory that a task may use at most, instead of what its GPU has.
    pub gpu_memory: Option<u64>,
    /// Threads for all tasks together.
    pub threads: usize,
    /// Time for the whole run instead of the pipeline's own.
    pub budget: Option<Duration>,
}

impl Default for RunOptions {
    /// Everything that is not in the cache, with as many jobs and threads as there are cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            selection: Selection::default(),
            jobs: cores,
            memory: None,
            gpus: None,
            keep_going: false,
            device: DeviceChoice::Auto,
            gpu_memory: None,
            threads: cores,
            budget: None,
        }
    }
}

/// Runs a pipeline on this machine, with nothing but this machine. See [`run_within`].
///
/// # Errors
/// As [`run_within`].
pub fn run(
    graph: &Graph,
    registry: &Registry,
    cache: &Cache,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RunSummary, EngineError> {
    run_within(Reach::default(), graph, registry, cache, options, observer, cancel)
}

/// Runs a pipeline. A task that fails is no error of this function: it is in the summary.
///
/// # Errors
/// [`EngineError`] when the run cannot be planned or its folder cannot be written.
pub fn run_within(
    reach: Reach<'_>,
    graph: &Graph,
    registry: &Registry,
    cache: &Cache,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RunSummary, EngineError> {
    let start = Instant::now();
    let started = jiff::Timestamp::now();
    // Nothing that this run counts on is collected before the journal says that it does.
    let hold = cache.hold()?;
    // Before the cache is looked at: what ends in between is then found there, and not handed over again.
    let on_their_way = reach.cluster.map(Cluster::on_their_way).transpose()?.unwrap_or_default();
    let survey = Survey::make(graph, cache, &options.selection)?;
    let may_run = |id: &TaskId| matches!(survey.states[*id], State::Must { .. } | State::May);
    // What is free of this machine does not matter where nothing runs on it.
    let here = reach.cluster.is_none();
    let pool = Pool::new(graph, (0..graph.tasks.len()).filter(|id| here && may_run(id)), options)?;
    cache.sweep();
    let folder = RunFolder::create(cache, graph, started)?;
    let journal = Journal::create(&folder.dir.join(EVENTS_FILE), start)?;
    let everyone: [&dyn Observer; 2] = [&journal, observer];
    let around = Around {
        registry,
        options,
        observer: &Everyone(&everyone),
        cancel,
        budget: Budget::new(&survey, start, options.budget.or(graph.budget), options.jobs.max(1)),
        logs: folder.dir.join("logs"),
        reach,
        run: folder.id.clone(),
    };
    let tasks = counts(&survey);
    around.observer.event(&Event::RunStarted { run: &folder.id, pipeline: &graph.pipeline, tasks });
    let mut scheduler = Scheduler::new(survey, pool, &around);
    scheduler.report_cached();
    journal.flush();
    drop(hold);
    scheduler.run(&on_their_way);
    let summary = summarise(&scheduler, folder.id.clone(), started, start, cancel);
    match folder.write_tasks(&scheduler.survey).and_then(|()| folder.write_summary(&summary)) {
        // What failed must be told, also where the disk is too full to write it down.
        Err(error) if !summary.ok => tracing::warn!("{error}"),
        other => other?,
    }
    let RunSummary { run, ok, interrupted, seconds, .. } = &summary;
    around.observer.event(&Event::RunFinished { run, ok: *ok, interrupted: *interrupted, seconds: *seconds });
    Ok(summary)
}

/// The journal and whoever else watches.
struct Everyone<'a>(&'a [&'a dyn Observer]);

impl Observer for Everyone<'_> {
    fn event(&self, event: &Event<'_>) {
        self.0.iter().for_each(|observer| observer.event(event));
    }
}

fn counts(survey: &Survey<'_>) -> PlanCounts {
    let mut counts = PlanCounts::default();
    for state in &survey.states {
        match state {
            State::Out => {}
            State::Made(_) => counts.cached += 1,
            State::Must { .. } => counts.will_run += 1,
            State::May => counts.may_run += 1,
        }
    }
    counts
}

fn summarise(
    scheduler: &Scheduler<'_>,
    run: String,
    started: jiff::Timestamp,
    start: Instant,
    cancel: &Cancel,
) -> RunSummary {
    let survey = &scheduler.survey;
    let graph = survey.graph;
    let included = (0..graph.stages.len()).filter(|s| survey.selected.included[*s]);
    let stages: Vec<StageSummary> = included.map(|s| stage_summary(scheduler, s)).collect();
    let ok = stages.iter().all(|s| s.tasks.failed + s.tasks.skipped == 0);
    let failures = scheduler.failures.iter().map(|(id, failed)| {
        let node = &graph.tasks[*id];
        Failure {
            stage: graph.stages[node.stage].name.clone(),
            task: node.plan.name.clone(),
            message: failed.error.to_string(),
            help: failed.error.help(),
            log: failed.log.clone(),
            tail: failed.log.as_deref().map(tail).unwrap_or_default(),
        }
    });
    let is_cut = |id: &usize| scheduler.ends[*id].as_ref().is_some_and(|e| e.status == TaskStatus::CutShort);
    RunSummary {
        summary: SUMMARY.to_owned(),
        run,
        pipeline: graph.pipeline.clone(),
        started: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ok,
        // A cancel that came after the last task changed nothing.
        interrupted: !ok && cancel.is_cancelled(),
        seconds: start.elapsed().as_secs_f64(),
        stages,
        failures: failures.collect(),
        why: scheduler.why.iter().map(|(id, reasons)| (graph.label(*id), reasons.clone())).collect(),
        cut_short: (0..graph.tasks.len()).filter(is_cut).map(|id| graph.label(id)).collect(),
    }
}

fn stage_summary(scheduler: &Scheduler<'_>, id: StageId) -> StageSummary {
    let survey = &scheduler.survey;
    let stage = &survey.graph.stages[id];
    let mut tasks = TaskCounts::default();
    let mut spans = Vec::new();
    for task in stage.tasks.clone() {
        // A task without an end was in the cache from the start.
        let end = scheduler.ends[task].as_ref();
        match end.map_or(TaskStatus::Cached, |e| e.status) {
            TaskStatus::Cached => tasks.cached += 1,
            TaskStatus::Fetched => tasks.fetched += 1,
            TaskStatus::Ran | TaskStatus::CutShort => tasks.ran += 1,
            TaskStatus::Failed => tasks.failed += 1,
            TaskStatus::Skipped | TaskStatus::Cancelled => tasks.skipped += 1,
        }
        spans.extend(end.and_then(|e| e.span));
    }
    let first = spans.iter().map(|s| s.0).min();
    let last = spans.iter().map(|s| s.1).max();
    let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    StageSummary {
        name: stage.name.clone(),
        status: tasks.status(),
        tasks,
        seconds,
        scores: scores(survey, id),
        outputs: outputs(survey, id),
    }
}

/// What the stage's tasks reported about their results, in whichever run that was.
fn scores(survey: &Survey<'_>, id: StageId) -> BTreeMap<String, BTreeMap<String, f64>> {
    let tasks = survey.graph.stages[id].tasks.clone().filter_map(|task| match &survey.states[task] {
        State::Made(made) if !made.scores.is_empty() => {
            Some((survey.graph.tasks[task].plan.name.clone(), made.scores.clone()))
        }
        _ => None,
    });
    tasks.collect()
}

/// Where the stage's outputs are in the view.
fn outputs(survey: &Survey<'_>, id: StageId) -> BTreeMap<String, PathBuf> {
    let graph = survey.graph;
    let view = survey.cache.view_dir(&graph.pipeline);
    let mut paths = BTreeMap::new();
    for (name, items) in &graph.stages[id].outputs {
        for item in items.iter().filter(|i| matches!(survey.states[i.task], State::Made(_))) {
            let name = if item.item.is_empty() { name.clone() } else { format!("{name}/{}", item.item) };
            // A stage may pass on what another stage made: it lies where that stage's outputs are.
            let maker = &graph.tasks[item.task];
            paths.insert(name, view.join(graph.folder(item.task)).join(&maker.plan.outputs[item.output].path));
        }
    }
    paths
}

/// The last lines of a log; none where it cannot be read.
fn tail(log: &Path) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(log)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|l| (*l).to_owned()).collect()
}
