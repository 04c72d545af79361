//! A step that ranks take together, as the operators see it.

use std::cell::RefCell;

use super::{Collective, Share, Team};

thread_local! {
    static PRESENT: RefCell<Option<Together>> = const { RefCell::new(None) };
}

/// What an operator must know whose result depends on the whole batch.
#[derive(Clone, Debug)]
pub(crate) struct Together {
    /// The ranks.
    pub(crate) team: Team,
    /// The patches of the batch that the operands hold.
    pub(crate) share: Share,
}

/// The step that this thread takes together with other ranks; `None`: operands hold the whole batch.
pub(crate) fn together() -> Option<Together> {
    PRESENT.with_borrow(Option::clone)
}

/// Ends the step when it is dropped.
#[must_use = "the step is over when this is dropped"]
pub(crate) struct Step(Option<Together>);

impl Together {
    /// From now on this thread's operators get this rank's share of a batch.
    pub(crate) fn begin(self) -> Step {
        Step(PRESENT.replace(Some(self)))
    }

    pub(crate) fn collective(&self) -> &dyn Collective {
        self.team.collective()
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        PRESENT.set(self.0.take());
    }
}
