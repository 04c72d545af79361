//! Several processes that train one network together, each on a GPU of its own (or each on the CPU): *ranks*.
//!
//! All draw the same batches; each computes its [`Share`] of every batch's patches. What depends on the whole batch goes
//! through a [`Collective`]: statistics of batch normalisation and the sums of its backward pass, logits (so that every rank
//! computes the loss of the whole batch, whatever loss that is), gradients of the parameters. So a training with N ranks
//! takes the steps that one process would take with the same batches, but for the order in which numbers are added up.

mod error;
mod exchange;
mod fate;
mod frame;
mod lifeline;
mod meeting;
mod share;
mod tcp;
mod team;
#[cfg(test)]
mod tests;
mod together;
mod token;

use std::fmt;

pub use error::RankError;
pub(crate) use exchange::Summed;
pub use meeting::{Meeting, join};
pub use share::Share;
pub use tcp::Tcp;
pub use team::Team;
pub(crate) use together::{Together, together};
pub use token::Token;

/// What ranks do together. Every rank makes the same calls in the same order; each waits for the others.
///
/// Every method but [`Self::give_up`] fails, within seconds and on all ranks, once a rank is gone.
pub trait Collective: Send + Sync + fmt::Debug {
    /// This rank's number, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// Replaces values by their sums over all ranks, which are the same bits everywhere. All ranks give as many.
    ///
    /// # Errors
    /// A rank that is gone or does something else.
    fn sum_f32(&self, values: &mut [f32]) -> Result<(), RankError>;

    /// As [`Self::sum_f32`].
    ///
    /// # Errors
    /// As [`Self::sum_f32`].
    fn sum_f64(&self, values: &mut [f64]) -> Result<(), RankError>;

    /// What every rank gave, in the order of the ranks. Not all need give as much.
    ///
    /// # Errors
    /// As [`Self::sum_f32`].
    fn gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, RankError>;

    /// Gives all ranks the bytes of rank 0.
    ///
    /// # Errors
    /// As [`Self::sum_f32`].
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RankError>;

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// As [`Self::sum_f32`].
    fn barrier(&self) -> Result<(), RankError> {
        self.gather(&[]).map(drop)
    }

    /// Tells the others why this rank cannot go on, and ends the work together.
    fn give_up(&self, reason: &str);

    /// What ended the work together, once something has.
    fn trouble(&self) -> Option<RankError>;

    /// Something to be done, on some thread, when the work together ends in trouble; at once where it has.
    fn on_trouble(&self, hook: Box<dyn Fn(&RankError) + Send>);
}
