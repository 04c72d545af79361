//! What can go wrong, worded for the person at the terminal. `help()` says what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::disk;
use super::reach::ClusterError;

/// The pipeline cannot be turned into tasks. A checked pipeline gives these only where a stage kind objects.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The kind could not split the stage.
    #[error("stage {stage:?}: {message}")]
    Expand {
        /// Stage name.
        stage: String,
        /// What the kind said.
        message: String,
        /// What the kind advises.
        help: Option<String>,
    },
    /// No such kind.
    #[error("stage {stage:?} uses {kind:?}, which this program does not know")]
    UnknownKind {
        /// Stage name.
        stage: String,
        /// Kind name.
        kind: String,
    },
    /// A stage refers to a stage or output that is not there.
    #[error("stage {stage:?} refers to {wanted:?}, which no stage before it leaves")]
    NoSuchOutput {
        /// Stage name.
        stage: String,
        /// `stage.output` or `stage/task: output`.
        wanted: String,
    },
    /// Stages that wait for one another.
    #[error("these stages wait for one another: {}", .stages.join(" -> "))]
    Cycle {
        /// Names along the cycle, the first one repeated at the end.
        stages: Vec<String>,
    },
    /// Two things of one stage have the same name, or one lies inside the other.
    #[error("stage {stage:?} has two {what} called {name:?}")]
    Clash {
        /// Stage name.
        stage: String,
        /// "tasks", "outputs", "inputs".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that would leave its folder or cannot be written down.
    #[error("stage {stage:?}: {name:?} cannot be the name of an {what}: expected a relative UTF-8 path without \"..\"")]
    BadName {
        /// Stage name.
        stage: String,
        /// "input", "output".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A pipeline name that cannot be a folder of the cache.
    #[error(
        "{0:?} cannot be a pipeline's name: it names a folder, so it must not be empty, start with \".\" or hold \"/\""
    )]
    BadPipelineName(String),
}

impl GraphError {
    /// What to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Expand { help, .. } => help.clone(),
            Self::UnknownKind { .. } => Some("`s2pipe stages` lists the kinds".into()),
            Self::NoSuchOutput { .. } => Some("`s2pipe check` names the valid outputs".into()),
            Self::Cycle { .. } => Some("remove one of these edges (inputs or needs)".into()),
            Self::Clash { .. } => Some("give each its own name".into()),
            Self::BadName { .. } => Some("rename it".into()),
            Self::BadPipelineName(_) => Some("give the pipeline another `name:`".into()),
        }
    }
}

/// The cache folder cannot be used as it must.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk is full, or the quota used up.
    #[error("no space left for {}{}", .path.display(), FreeSpace(.free))]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// Bytes still free there, if known.
        free: Option<u64>,
    },
    /// No permission, or a read-only file system.
    #[error("cannot {action} {}: {source}", .path.display())]
    Denied {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file stands where a folder must be.
    #[error("{} is not a folder", .path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache was made by a program that knows more than this one.
    #[error("the cache {} has format {found}; this s2pipe reads formats up to {known}", .path.display())]
    Newer {
        /// The cache folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The version file holds something else.
    #[error("{} is not the version file of an s2pipe cache: expected \"s2pipe cache <number>\", found {found:?}", .path.display())]
    NotACache {
        /// The version file.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
}

/// `" (12 kB free)"`, or nothing where the figure is unknown.
struct FreeSpace<'a>(&'a Option<u64>);

impl fmt::Display for FreeSpace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |bytes| write!(f, " ({} kB free)", bytes / 1000))
    }
}

impl CacheError {
    /// Sorts an I/O error into the case that it is.
    pub(super) fn at(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { free: disk::free_bytes(&path), path }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { action, path, source }
            }
            io::ErrorKind::NotADirectory => match path.ancestors().find(|p| p.is_file()) {
                Some(file) => Self::NotAFolder { path: file.to_path_buf() },
                None => Self::Io { action, path, source },
            },
            _ => Self::Io { action, path, source },
        }
    }

    /// What to do.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::DiskFull { .. } => "nothing that was finished is lost: free some space, or choose another disk with \
                                      `--cache DIR`, and run again"
                .into(),
            Self::Denied { .. } => {
                "make the cache folder writable for you, or choose another one with `--cache DIR`".into()
            }
            Self::NotAFolder { .. } => "move that file away, or choose another cache folder with `--cache DIR`".into(),
            Self::Io { .. } => "look at the disk and run again: what was finished is in the cache".into(),
            Self::Newer { .. } => "use the newer s2pipe, or another cache with `--cache DIR`".into(),
            Self::NotACache { .. } => {
                "choose another cache with `--cache DIR`, or remove that folder if it is not needed".into()
            }
        })
    }
}

/// The run cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// `--from` or `--until` names no stage.
    #[error("there is no stage {name:?}{}", Nearest(.nearest))]
    UnknownStage {
        /// As given.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
        /// All stage names.
        stages: Vec<String>,
    },
    /// `--from` lies behind `--until`.
    #[error("--from {from} lies outside what --until {until} runs")]
    FromOutside {
        /// `--from`.
        from: String,
        /// `--until`.
        until: String,
    },
    /// A source file cannot be read.
    #[error("stage {stage:?} cannot read {}: {source}", .path.display())]
    Source {
        /// The stage that needs it.
        stage: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A stage asks for more than there is.
    #[error("stage {stage:?} asks for {wanted}, and there {there}")]
    TooMuch {
        /// The stage.
        stage: String,
        /// "64 GB of memory", "2 GPUs".
        wanted: String,
        /// "are 16 GB", "is none".
        there: String,
        /// The option that says otherwise.
        option: &'static str,
    },
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// `" of a, b, c"`.
struct Of<'a>(&'a [String]);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " of {}", self.0.join(", ")) }
    }
}

struct Nearest<'a>(&'a Option<String>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, "; did you mean {name:?}?"))
    }
}

impl PlanError {
    /// What to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownStage { stages, .. } => Some(format!("the stages are: {}", stages.join(", "))),
            Self::FromOutside { .. } => Some("name stages that lie on one path, or leave one of the two out".into()),
            Self::Source { .. } => Some("put the file in place, or change the pipeline".into()),
            Self::TooMuch { stage, option, .. } => Some(format!(
                "ask for less under `resources:` of {stage:?}, run elsewhere, or say with `{option}` what there is"
            )),
            Self::Cache(error) => error.help(),
        }
    }
}

/// A run cannot be started or its records cannot be written. What a single task does wrong is a [`TaskError`](super::TaskError) and
/// ends up in the run's summary instead.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Planning failed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The cluster does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl EngineError {
    /// What to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Plan(error) => error.help(),
            Self::Cache(error) => error.help(),
            Self::Cluster(error) => error.help.clone(),
        }
    }
}

/// A name given to a cache query does not lead to one thing.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Nothing has this name.
    #[error("nothing in the cache is called {name:?}{}", Nearest(.nearest))]
    NotFound {
        /// As given.
        name: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// No run has this id.
    #[error("there is no run {name:?} in the cache{}", Nearest(.nearest))]
    NoRun {
        /// As given.
        name: String,
        /// The nearest id.
        nearest: Option<String>,
    },
    /// It is a directory, where one file was asked for.
    #[error("{name:?} is a folder{}", Of(.files))]
    IsFolder {
        /// As given.
        name: String,
        /// Names of its files, at most 20.
        files: Vec<String>,
    },
    /// Its bytes are no longer in the cache.
    #[error("{name:?} is no longer in the cache")]
    Gone {
        /// As given.
        name: String,
    },
    /// Several things have it.
    #[error("{name:?} could be any of: {}", .candidates.join(", "))]
    Ambiguous {
        /// As given.
        name: String,
        /// Full names, at most 20.
        candidates: Vec<String>,
    },
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl QueryError {
    /// What to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("`s2pipe cache ls` lists what is there".into()),
            Self::NoRun { .. } => Some("`s2pipe runs` lists them; `latest` and `latest~1` are the newest two".into()),
            Self::IsFolder { .. } => Some("name one of its files".into()),
            Self::Gone { .. } => Some("`s2pipe run` makes it again".into()),
            Self::Ambiguous { .. } => Some("give one of the full names".into()),
            Self::Cache(error) => error.help(),
        }
    }
}
