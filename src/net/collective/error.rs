//! What can go wrong between the ranks of one training.

/// Why ranks cannot compute together, or no longer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RankError {
    /// A rank is no longer there.
    #[error("rank {peer} was lost: {reason}")]
    Lost {
        /// The one that is gone.
        peer: usize,
        /// How it was noticed.
        reason: String,
    },
    /// A rank met an error of its own, and said so before it left.
    #[error("rank {peer} gave up: {reason}")]
    GaveUp {
        /// The one that met it.
        peer: usize,
        /// Its error.
        reason: String,
    },
    /// Two ranks are not doing the same thing.
    #[error(
        "rank {peer} is out of step: expected {expected}, found {found}; all ranks must run the same build of s2pipe"
    )]
    OutOfStep {
        /// The one that differs from this rank.
        peer: usize,
        /// What this rank is doing.
        expected: String,
        /// What that rank is doing.
        found: String,
    },
    /// Not all ranks came to the meeting.
    #[error("of {ranks} ranks, {missing:?} did not come within {seconds} s: look whether their processes started")]
    Missing {
        /// Ranks in all.
        ranks: usize,
        /// Those that did not come.
        missing: Vec<usize>,
        /// How long they were waited for.
        seconds: u64,
    },
    /// Rank 0 could not be reached, or did not want this one.
    #[error("rank {rank} could not join rank 0 at {address}: {reason}")]
    NotJoined {
        /// The one that wanted to join.
        rank: usize,
        /// Where rank 0 was looked for.
        address: String,
        /// What happened there.
        reason: String,
    },
    /// No place to meet could be made.
    #[error("rank 0 cannot be reached by others: {reason}")]
    NoMeeting {
        /// What the system said.
        reason: String,
    },
    /// A rank begins with other weights, data or settings than rank 0.
    #[error(
        "rank {peer} would begin with other {what} than rank 0: all ranks must read the same files, checkpoints included"
    )]
    BeginsElsewhere {
        /// The one that differs.
        peer: usize,
        /// What differs.
        what: &'static str,
    },
    /// The wait was called off.
    #[error("stopped on request while ranks were meeting")]
    CalledOff,
}
