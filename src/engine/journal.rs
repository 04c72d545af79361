//! The journal of a run: every event as a line of JSON.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::error::CacheError;
use super::event::{Event, Observer, TaskStatus};
use super::stage::Progress;

/// Steps of one task are written at most this often; the last one always is.
const STEP_EVERY: Duration = Duration::from_secs(1);

/// Writes `events.jsonl`: a header line, then a line an event with `at`, the seconds since the run began.
#[derive(Debug)]
pub(super) struct Journal {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    out: BufWriter<File>,
    last_step: HashMap<String, Instant>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: f64,
    #[serde(rename = "is")]
    event: &'a Event<'a>,
}

impl Journal {
    pub(super) fn create(path: &Path, start: Instant) -> Result<Self, CacheError> {
        let fail = |e| CacheError::at("write", path, e);
        let file = File::create(path).map_err(fail)?;
        // Held as long as the process lives: so others can tell a run in progress from one that was killed. Where locks
        // do not work a run in progress looks killed, which only misleads a list.
        let _ = file.try_lock();
        let mut out = BufWriter::new(file);
        writeln!(out, "{{\"journal\":\"s2pipe.events/1\"}}").map_err(fail)?;
        Ok(Self { start, state: Mutex::new(State { out, last_step: HashMap::new() }) })
    }
}

impl Journal {
    /// Makes what was written so far visible to other processes.
    pub(super) fn flush(&self) {
        let _ = self.state.lock().unwrap_or_else(PoisonError::into_inner).out.flush();
    }
}

/// The outputs of a task that was in the cache are told by the run's task list.
fn shortened<'a>(event: &Event<'a>) -> Event<'a> {
    match event {
        Event::TaskFinished { name, status: TaskStatus::Cached, seconds, key, error, .. } => Event::TaskFinished {
            name: *name,
            status: TaskStatus::Cached,
            seconds: *seconds,
            key: *key,
            outputs: &[],
            error: *error,
        },
        other => other.clone(),
    }
}

impl Observer for Journal {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::TaskProgress { name, news: Progress::Step { done, total, .. } } = event {
            let now = Instant::now();
            let task = format!("{}/{}", name.stage, name.task);
            let due = state.last_step.get(&task).is_none_or(|last| now - *last >= STEP_EVERY);
            if !due && done < total {
                return;
            }
            state.last_step.insert(task, now);
        }
        let at = (self.start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        // A journal that cannot be written (a disk that fills up) must not end the run.
        if let Ok(line) = serde_json::to_string(&Line { at, event: &shortened(event) }) {
            let _ = writeln!(state.out, "{line}");
        }
        let quiet = matches!(event, Event::TaskFinished { status: TaskStatus::Cached | TaskStatus::Skipped, .. });
        if !quiet {
            let _ = state.out.flush();
        }
    }
}
