//! What a training tells its caller, and asks it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::net::history::EpochRecord;

/// The caller's side of a training. Called from the training thread.
#[derive(Clone, Copy)]
pub struct TrainHooks<'a> {
    /// After every epoch.
    pub on_epoch: &'a dyn Fn(&EpochRecord),
    /// After every step: steps done, steps of the whole training, loss of the step's batch.
    pub on_step: &'a dyn Fn(usize, usize, f32),
    /// Asked after every step and every hold-out batch; `true` writes a checkpoint and ends with
    /// [`NetError::Cancelled`](crate::net::NetError::Cancelled).
    pub cancelled: &'a dyn Fn() -> bool,
    /// Training ends, with the best weights so far, before an epoch that would not be over by then.
    pub deadline: Option<Instant>,
    /// Where checkpoints are written and looked for; made where it does not exist.
    pub checkpoint_dir: &'a Path,
    /// Longest time between two checkpoints.
    pub checkpoint_every: Duration,
}

impl<'a> TrainHooks<'a> {
    /// Tells nobody, never stops early, a checkpoint at least every 30 s.
    pub fn quiet(checkpoint_dir: &'a Path) -> Self {
        Self {
            on_epoch: &|_| {},
            on_step: &|_, _, _| {},
            cancelled: &|| false,
            deadline: None,
            checkpoint_dir,
            checkpoint_every: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Debug for TrainHooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainHooks")
            .field("deadline", &self.deadline)
            .field("checkpoint_dir", &self.checkpoint_dir)
            .field("checkpoint_every", &self.checkpoint_every)
            .finish_non_exhaustive()
    }
}
