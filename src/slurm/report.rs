//! What an element of a job array tells while it runs: a line of JSON each (`s2pipe.report/1`).
//!
//! A line is written by opening the file, appending, and closing it, because closing is what makes bytes visible to other
//! machines on a network file system. A line that was torn is skipped: what counts is in the cache.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::engine::{Key, Progress, TaskError, Ticket};

/// Steps of a task are told at most this often.
const STEP_EVERY: Duration = Duration::from_secs(2);

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Line {
    /// The element begins, for the first time or after a requeue.
    Element { report: String, node: String },
    /// A task runs.
    Started { ticket: Ticket, key: Key },
    /// How far a task is.
    Step { ticket: Ticket, unit: String, done: u64, total: u64, note: String },
    /// A task says something; `notice`: also to those who did not ask.
    Says { ticket: Ticket, text: String, notice: bool },
    /// A task's result is in the cache.
    Done { ticket: Ticket, key: Key, ran: bool },
    /// A task failed.
    Failed { ticket: Ticket, how: How, message: String, help: Option<String>, log: Option<PathBuf> },
}

/// How a task failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// It failed.
    Failed,
    /// It was asked to stop; it left a checkpoint where it could.
    Stopped,
    /// An input was no longer in the cache.
    InputGone { slot: String },
}

pub(super) const REPORT: &str = "s2pipe.report/1";

impl Line {
    /// What is told of a task that did not end well.
    pub(super) fn failed(ticket: Ticket, error: &TaskError, log: Option<PathBuf>) -> Self {
        let how = match error {
            TaskError::Cancelled => How::Stopped,
            TaskError::InputGone { slot } => How::InputGone { slot: slot.clone() },
            _ => How::Failed,
        };
        Self::Failed { ticket, how, message: error.to_string(), help: error.help(), log }
    }

    /// What is told of a task's progress.
    pub(super) fn progress(ticket: Ticket, news: Progress) -> Self {
        match news {
            Progress::Step { unit, done, total, note } => {
                Self::Step { ticket, unit: unit.to_owned(), done, total, note }
            }
            Progress::Message(text) => Self::Says { ticket, text, notice: false },
            Progress::Notice(text) => Self::Says { ticket, text, notice: true },
        }
    }
}

/// A unit as the engine has it. What a newer program counts in is called steps here.
pub(super) fn unit(name: &str) -> &'static str {
    ["epochs", "steps", "windows", "rows", "trees", "pixels", "blocks", "scenes"]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("steps")
}

/// Writes lines. What cannot be written is lost to the listener only.
#[derive(Debug)]
pub(super) struct Reporter {
    path: Option<PathBuf>,
    last_step: Mutex<Option<Instant>>,
}

impl Reporter {
    /// `path`: the file to append to; without one nothing is told.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, last_step: Mutex::new(None) }
    }

    pub(super) fn tell(&self, line: &Line) {
        let Some(path) = &self.path else { return };
        if let Line::Step { done, total, .. } = line {
            let Ok(mut last) = self.last_step.lock() else { return };
            if done < total && last.is_some_and(|last| last.elapsed() < STEP_EVERY) {
                return;
            }
            *last = Some(Instant::now());
        }
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let written =
            OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| file.write_all(&text));
        if let Err(error) = written {
            tracing::debug!("{}: {error}", path.display());
        }
    }
}

/// Reads what has been added since the last time.
#[derive(Debug, Default)]
pub(super) struct ReportReader {
    read: u64,
    rest: Vec<u8>,
}

impl ReportReader {
    pub(super) fn read(&mut self, path: &Path) -> Vec<Line> {
        let Ok(mut file) = File::open(path) else { return Vec::new() };
        let mut added = Vec::new();
        if file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut added)).is_err() {
            return Vec::new();
        }
        self.read += added.len() as u64;
        self.rest.extend(added);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        whole.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Digest;

    #[test]
    fn lines_come_whole_and_once_whatever_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.jsonl");
        let ticket = Ticket(Digest::of(b"a"));
        let (reporter, mut reader) = (Reporter::new(Some(path.clone())), ReportReader::default());
        assert!(reader.read(&path).is_empty(), "nothing yet");
        let done = Line::Done { ticket, key: Key(Digest::of(b"k")), ran: true };
        reporter.tell(&done);
        let mut half = OpenOptions::new().append(true).open(&path).unwrap();
        half.write_all(b"{\"is\":\"started\",\"tick").unwrap();
        assert_eq!(reader.read(&path), std::slice::from_ref(&done));
        // A requeued element goes on behind what was torn; one line is lost with it.
        reporter.tell(&done);
        assert!(reader.read(&path).is_empty());
        reporter.tell(&done);
        assert_eq!(reader.read(&path), [done]);
    }

    #[test]
    fn errors_keep_what_the_scheduler_must_know() {
        let ticket = Ticket(Digest::of(b"a"));
        let how = |error: TaskError| match Line::failed(ticket, &error, None) {
            Line::Failed { how, .. } => how,
            _ => unreachable!("a failure"),
        };
        assert_eq!(how(TaskError::Cancelled), How::Stopped);
        assert_eq!(how(TaskError::InputGone { slot: "model".into() }), How::InputGone { slot: "model".into() });
        assert_eq!(how(TaskError::Foreign("x".into())), How::Failed);
    }
}
