//! What can go wrong with one task, worded for the person at the terminal.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::error::CacheError;

/// Why one task did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It was asked to stop.
    #[error("stopped on request")]
    Cancelled,
    /// The stage said so.
    #[error("{message}")]
    Failed {
        /// What went wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// It took longer than its stage allows.
    #[error("stopped at its timeout of {}", Seconds(.seconds))]
    TimedOut {
        /// Seconds that one attempt may take.
        seconds: f64,
    },
    /// It failed again and again.
    #[error("{last} (attempt {attempts} of {attempts})")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// How the last attempt ended.
        last: Box<TaskError>,
    },
    /// A command changed what it was to read.
    #[error("stage {stage:?} wrote to its input {input}")]
    InputWritten {
        /// Stage name.
        stage: String,
        /// The file, or the output of another stage.
        input: String,
    },
    /// The stage's code panicked.
    #[error("stage {stage:?} broke down inside s2pipe: {message}")]
    Panicked {
        /// Stage name.
        stage: String,
        /// The panic's message.
        message: String,
    },
    /// It ended without one of its outputs.
    #[error("the task ended without leaving its output {name:?} (expected at {})", .path.display())]
    MissingOutput {
        /// Output name.
        name: String,
        /// Path relative to the output directory.
        path: PathBuf,
    },
    /// An output is neither file nor directory.
    #[error("output {name:?}: {} is {found}, which cannot be kept: expected files and directories", .path.display())]
    BadOutput {
        /// Output name.
        name: String,
        /// The thing.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A source file is not what it was when the run began.
    #[error("{} changed while the run was using it", .path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// A source file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An input is no longer in the store.
    #[error("input {slot:?} is no longer in the cache")]
    InputGone {
        /// Slot name.
        slot: String,
    },
    /// The record was made for another program.
    #[error("the task record cannot be run by this s2pipe: {0}")]
    Foreign(String),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl TaskError {
    /// What to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Cancelled => None,
            Self::Failed { help, .. } => help.clone(),
            Self::TimedOut { .. } => {
                Some("see in its log what it was waiting for, or give it longer with `timeout:` of the stage".into())
            }
            Self::GaveUp { last, .. } => last.help(),
            Self::InputWritten { input, .. } => Some(format!(
                "let it work on a copy: inputs are only to be read. If something else changed {input} meanwhile, run again"
            )),
            Self::Panicked { .. } => {
                Some("this is a fault of s2pipe, not of your data: please report it with the log".into())
            }
            Self::MissingOutput { .. } => {
                Some("let the stage write that path, or declare under `outputs:` what it really writes".into())
            }
            Self::BadOutput { .. } => Some("write a file or a directory there".into()),
            Self::SourceChanged { .. } => Some("run again once the file is complete".into()),
            Self::Source { .. } => Some("put the file in place and run again".into()),
            Self::InputGone { .. } => Some("run again: what is missing is made again".into()),
            Self::Foreign(_) => Some("use the same s2pipe version that made the record".into()),
            Self::Cache(error) => error.help(),
        }
    }

    /// Whether another attempt could end well: what failed was the task, not the cache, its inputs or the person.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Failed { .. }
                | Self::TimedOut { .. }
                | Self::Panicked { .. }
                | Self::MissingOutput { .. }
                | Self::BadOutput { .. }
        )
    }

    /// The same after this many attempts.
    pub(super) fn after(self, attempts: u32) -> Self {
        if attempts > 1 && self.may_pass() { Self::GaveUp { attempts, last: Box::new(self) } } else { self }
    }
}

/// `90 s`, `0.5 s`.
struct Seconds<'a>(&'a f64);

impl fmt::Display for Seconds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}
