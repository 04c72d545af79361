//! The other ranks: they take part in a training that rank 0 was given, and leave nothing behind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lead::meeting_in;
use super::order::Order;
use super::span::{self, Span};
use crate::engine::{Cancel, DeviceChoice, Progress, ProgressSink, Scores, StageError, TaskContext};
use crate::net::collective::{Collective, Tcp, join};
use crate::net::{NetError, Team, TrainHooks, train_together};
use crate::stages::train::kind::{compute, prepare_with_model, training_failure};

/// Time to reach a rank 0 that has said where it is.
const REACH: Duration = Duration::from_secs(30);
/// From one look for rank 0's file to the next.
const LOOK: Duration = Duration::from_millis(100);

/// Takes part as rank `rank` in the training that `order`, the line of JSON which rank 0 wrote, is about; on GPU `ordinal`
/// where rank 0 computes on one.
///
/// # Errors
/// As training, worded for the person at the terminal; [`StageError::Cancelled`] when rank 0 was asked to stop.
pub fn take_part(order: &str, rank: usize, ordinal: usize) -> Result<(), StageError> {
    let order = Order::read(order)?;
    let hub = join((&order.hosts, order.port), &order.token()?, (rank, order.ranks), REACH);
    work(&order, hub.map_err(|error| StageError::failed(error.to_string()))?, ordinal)
}

/// As [`take_part`], as one of the ranks that `srun` has started: waits until rank 0 says in `checkpoints` where it is, or
/// `is_done` says that there is nothing to do. `visible`: GPUs that the driver shows.
///
/// # Errors
/// As [`take_part`]; a rank 0 that does not come.
pub fn take_part_elsewhere(
    span: &Span,
    checkpoints: &Path,
    visible: usize,
    is_done: &dyn Fn() -> bool,
) -> Result<(), StageError> {
    let started = Instant::now();
    let mut problem = "it has not said where it is".to_owned();
    while started.elapsed() < span::PATIENCE {
        if is_done() {
            return Ok(());
        }
        if let Some(order) = meeting_in(checkpoints) {
            let order = Order::read(&order)?;
            let ways = span.ways_to(&order.hosts);
            // A file of a rank 0 that is gone leads nowhere, or to somebody else: look again.
            match join((&ways, order.port), &order.token()?, (span.rank, span.ranks), Duration::ZERO) {
                Ok(hub) => return work(&order, hub, span.ordinal(visible)),
                Err(error) => problem = error.to_string(),
            }
        }
        std::thread::sleep(LOOK);
    }
    Err(StageError::with_help(
        format!("rank {} waited {} s for rank 0: {problem}", span.rank, span::PATIENCE.as_secs()),
        "look at what rank 0 says; all ranks must see the same cache directory",
    ))
}

fn work(order: &Order, hub: Tcp, ordinal: usize) -> Result<(), StageError> {
    let collective: Arc<dyn Collective> = Arc::new(hub);
    let team = Team::new(Arc::clone(&collective));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(order.threads).build();
    let done = pool
        .map_err(|error| StageError::failed(format!("no threads for this rank: {error}")))
        .and_then(|pool| pool.install(|| train(order, team, order.device(ordinal))));
    if let Err(error @ StageError::Failed { .. }) = &done {
        // Where it was another rank's error, that is known already.
        collective.give_up(&error.to_string());
    }
    done
}

fn train(order: &Order, team: Team, device: DeviceChoice) -> Result<(), StageError> {
    let folder = tempfile::tempdir().map_err(|error| StageError::failed(format!("a folder of its own: {error}")))?;
    let (cancel, scores, log) = (Cancel::default(), Scores::default(), folder.path().join("log"));
    let task = TaskContext {
        params: &order.params,
        seed: order.seed,
        classes: order.classes.as_ref(),
        inputs: &order.inputs,
        outputs: &[],
        out_dir: folder.path(),
        scratch_dir: folder.path(),
        checkpoint_dir: &order.checkpoints,
        device,
        gpu_memory: order.gpu_memory,
        threads: order.threads,
        gpus: &[],
        deadline: None,
        cancel: &cancel,
        progress: &Told,
        log: &log,
        scores: &scores,
    };
    let (config, model, source) = prepare_with_model(&task)?;
    let compute = compute(&config, &task)?;
    let team = team.on(&compute).map_err(training_failure)?;
    let hooks = TrainHooks::quiet(&order.checkpoints);
    match train_together((&compute, Some(&team)), &config, model, &source, &hooks) {
        Ok(_) => Ok(()),
        Err(NetError::Cancelled) => Err(StageError::Cancelled),
        Err(error) => Err(training_failure(error)),
    }
}

/// What a rank has to say goes to its standard error, and from there to rank 0's log.
struct Told;

impl ProgressSink for Told {
    fn progress(&self, news: Progress) {
        if let Progress::Message(text) | Progress::Notice(text) = news {
            tracing::info!("{text}");
        }
    }
}
