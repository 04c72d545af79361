//! Results that wait to be pushed.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::push::{Pushed, Sent};
use crate::engine::Key;

/// How far pushing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Results that are over, one way or the other.
    pub done: usize,
    /// All results.
    pub total: usize,
    /// Results that could not be pushed.
    pub failed: usize,
    /// What has been put there.
    pub sent: Sent,
}

impl Progress {
    /// Whether nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.done == self.total
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Key>,
    closed: bool,
    progress: Progress,
}

/// Results that wait to be pushed, and how it went with the others.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, key: Key) {
        let mut state = self.state();
        state.waiting.push_back(key);
        state.progress.total += 1;
        self.changed.notify_all();
    }

    /// The next one, waiting for it; `None` when it is closed and empty.
    pub(super) fn next(&self) -> Option<Key> {
        let open = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(self.state(), open).unwrap_or_else(PoisonError::into_inner);
        state.waiting.pop_front()
    }

    /// One is over; `None`: it could not be pushed.
    pub(super) fn over(&self, pushed: Option<Pushed>) {
        let mut state = self.state();
        let progress = &mut state.progress;
        progress.done += 1;
        match pushed {
            Some(Pushed::Now(bytes)) => {
                progress.sent.results += 1;
                progress.sent.bytes += bytes;
            }
            Some(Pushed::Before) => progress.sent.already += 1,
            Some(Pushed::Nothing) => {}
            None => progress.failed += 1,
        }
        self.changed.notify_all();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Takes out what has not begun; it counts as failed.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        let left = std::mem::take(&mut state.waiting).len();
        state.progress.done += left;
        state.progress.failed += left;
    }

    /// How far it is, after a change or some time.
    pub(super) fn look(&self, wait: Duration) -> Progress {
        let state = self.state();
        if state.progress.is_over() {
            return state.progress;
        }
        let (state, _) = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        state.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Digest;

    #[test]
    fn what_was_added_comes_out_and_is_counted() {
        let queue = Queue::default();
        (0..5_u8).for_each(|n| queue.add(Key(Digest::of(&[n]))));
        assert_eq!(queue.next(), Some(Key(Digest::of(&[0]))));
        queue.over(Some(Pushed::Now(7)));
        queue.next();
        queue.over(Some(Pushed::Before));
        queue.next();
        queue.over(None);
        assert!(!queue.look(Duration::ZERO).is_over());
        queue.clear();
        queue.close();
        assert_eq!(queue.next(), None);
        let sent = Sent { results: 1, already: 1, bytes: 7 };
        assert_eq!(queue.look(Duration::ZERO), Progress { done: 5, total: 5, failed: 3, sent });
    }
}
