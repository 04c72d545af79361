//! A batch's way through the network and back: alone, or shared out among ranks.

use candle_core::{Tensor, Var};

use super::Lesson;
use crate::net::Result;
use crate::net::collective::{Share, Summed, Team, Together};
use crate::net::ops::{Gradients, GradientsOf, Recorded};

/// A batch that has gone forward.
pub(super) struct Forward<'a> {
    lesson: &'a Lesson<'a>,
    recorded: Recorded,
    /// The loss of the whole batch, a scalar.
    pub(super) loss: Tensor,
    /// By the logits that this rank computed.
    gradient: Tensor,
    ranks: Option<(&'a Team, Share)>,
}

impl<'a> Forward<'a> {
    /// Computes logits and loss. With a team each rank computes the logits of its share, and all of them the loss of the whole
    /// batch: so any loss will do, also one that is not a sum over pixels.
    ///
    /// A batch with fewer patches than ranks is computed whole by every rank.
    ///
    /// # Errors
    /// The operators', the collective's.
    pub(super) fn new(lesson: &'a Lesson<'a>, team: Option<&'a Team>) -> Result<Self> {
        let share = match team {
            Some(team) => Some((team, team.share(lesson.bands.dim(0)?))),
            None => None,
        };
        let Some((team, share)) = share.filter(|(_, share)| share.is_for_all()) else {
            let recorded = lesson.network.record(&lesson.bands)?;
            let (loss, gradient) = lesson.loss.with_gradient(recorded.output(), &lesson.labels)?;
            return Ok(Self { lesson, recorded, loss, gradient, ranks: share });
        };
        let mine = share.mine();
        let bands = lesson.bands.narrow(0, mine.start, mine.len())?;
        let recorded = {
            let _step = Together { team: team.clone(), share }.begin();
            lesson.network.record(&bands)?
        };
        let logits = team.whole_batch(recorded.output(), share)?;
        let (loss, gradient) = lesson.loss.with_gradient(&logits, &lesson.labels)?;
        let gradient = gradient.narrow(0, mine.start, mine.len())?.contiguous()?;
        Ok(Self { lesson, recorded, loss, gradient, ranks: Some((team, share)) })
    }

    /// Gradients of the whole batch's loss.
    ///
    /// # Errors
    /// The operators', the collective's.
    pub(super) fn backward(self) -> Result<Backward> {
        let gradients = self.recorded.backward(&self.gradient)?;
        let Some((team, share)) = self.ranks else { return Ok(Backward::Own(gradients)) };
        // What all have computed counts once: rank 0's, so that no last bit can differ.
        let counts = share.is_for_all() || team.leads();
        Ok(Backward::Summed(team.sum_gradients(self.lesson.network.parameters(), &gradients, counts)?))
    }
}

/// Gradients of a batch.
pub(super) enum Backward {
    /// Computed here alone.
    Own(Gradients),
    /// Added up over the ranks.
    Summed(Summed),
}

impl GradientsOf for Backward {
    fn of(&self, var: &Var) -> Option<&Tensor> {
        match self {
            Self::Own(gradients) => gradients.of(var),
            Self::Summed(gradients) => gradients.of(var),
        }
    }
}
