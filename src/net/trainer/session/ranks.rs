//! What the ranks of one training must agree on.

use std::time::Instant;

use super::Session;
use crate::net::Result;
use crate::net::checkpoint::Weights;

/// What comes after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Another one.
    Step,
    /// The end, since the caller asked for it.
    Cancel,
    /// The end, since the deadline has passed.
    OutOfTime,
}

impl Next {
    const ALL: [Self; 3] = [Self::Step, Self::Cancel, Self::OutOfTime];
}

impl Session<'_> {
    /// Whether this process writes files and tells how far it is.
    pub(super) fn leads(&self) -> bool {
        self.team.is_none_or(|team| team.leads())
    }

    /// Rank 0's answer to a question that clocks and people have a say in, for all ranks.
    fn ask(&self, answer: u8) -> Result<u8> {
        Ok(self.team.map_or(Ok(answer), |team| team.ask(answer))?)
    }

    /// What comes after the step that was just made: looked up by rank 0.
    pub(super) fn next(&self) -> Result<Next> {
        let mut next = Next::Step;
        if self.leads() {
            if (self.hooks.cancelled)() {
                next = Next::Cancel;
            } else if self.hooks.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                next = Next::OutOfTime;
            }
        }
        let answer = self.ask(next as u8)?;
        Ok(Next::ALL.into_iter().find(|known| *known as u8 == answer).unwrap_or(Next::Step))
    }

    /// Whether so many steps and an evaluation should be over before the deadline, by rank 0's clock.
    pub(super) fn has_time_for(&self, steps: usize) -> Result<bool> {
        let fits = self.hooks.deadline.is_none_or(|deadline| self.pace.fits(steps, Instant::now(), deadline));
        Ok(self.ask(fits.into())? != 0)
    }

    /// Makes sure that all ranks begin with the same: configuration, data, and weights and position, which may come from a
    /// checkpoint. Rank 0 writes none before all have read it.
    pub(super) fn begin_alike(&self) -> Result<()> {
        let Some(team) = self.team else { return Ok(()) };
        team.agree("settings or data", self.folder.fingerprint().as_bytes())?;
        let at = [self.progress.epochs_done as u64, self.progress.steps_done as u64, self.progress.optimizer_steps];
        team.agree("checkpoints", &at.map(u64::to_le_bytes).concat())?;
        let mut hasher = blake3::Hasher::new();
        let Weights { parameters, buffers } = Weights::of(self.network)?;
        for value in parameters.iter().chain(&buffers).flatten() {
            hasher.update(&value.to_le_bytes());
        }
        Ok(team.agree("weights", hasher.finalize().as_bytes())?)
    }
}
