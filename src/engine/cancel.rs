//! How running tasks are asked to stop: by a person, or because their time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Asks running tasks to stop soon; cloned freely.
#[derive(Clone, Default, Debug)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// Ask everyone to stop.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// One that also asks from this moment on. It shares the flag with the one that it comes from, and never lasts
    /// longer.
    #[must_use]
    pub fn until(&self, moment: Instant) -> Self {
        let deadline = self.deadline.map_or(moment, |earlier| earlier.min(moment));
        Self { asked: self.flag(), deadline: Some(deadline) }
    }

    /// Whether someone has asked, or the time is over.
    pub fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::SeqCst) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_is_for_the_child_alone_and_a_request_for_both() {
        let whole = Cancel::default();
        let now = Instant::now();
        let late = whole.until(now + Duration::from_secs(3600));
        assert!(whole.until(now).is_cancelled() && !whole.is_cancelled() && !late.is_cancelled());
        assert!(whole.until(now).until(now + Duration::from_secs(3600)).is_cancelled(), "the earlier moment counts");
        whole.cancel();
        assert!(late.is_cancelled());
        late.cancel();
        assert!(whole.is_cancelled());
    }
}
