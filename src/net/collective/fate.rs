//! What became of the others: noted once, and told to all that wait for them.

use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::RankError;

/// Called when ranks can no longer compute together.
type Hook = Box<dyn Fn(&RankError) + Send>;

/// The first thing that ended the work together, and what is to be let go of then.
#[derive(Default)]
pub(super) struct Fate {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    error: Option<RankError>,
    streams: Vec<TcpStream>,
    hooks: Vec<Hook>,
}

impl Fate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream that is shut when the work together ends: whoever reads from it then goes on.
    pub(super) fn shut_with(&self, stream: TcpStream) {
        let mut state = self.state();
        if state.error.is_some() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        state.streams.push(stream);
    }

    /// Something else to be done then; at once where it has happened.
    pub(super) fn call(&self, hook: Hook) {
        let mut state = self.state();
        if let Some(error) = &state.error {
            hook(error);
        }
        state.hooks.push(hook);
    }

    /// What ended the work together.
    pub(super) fn error(&self) -> Option<RankError> {
        self.state().error.clone()
    }

    /// Notes what ended it, where nothing has before; returns the first.
    pub(super) fn end(&self, error: RankError) -> RankError {
        let mut state = self.state();
        if let Some(first) = &state.error {
            return first.clone();
        }
        state.error = Some(error.clone());
        for stream in &state.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        state.hooks.iter().for_each(|hook| hook(&error));
        error
    }
}

impl std::fmt::Debug for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fate").field("error", &self.error()).finish_non_exhaustive()
    }
}
