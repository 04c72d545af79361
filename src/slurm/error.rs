//! What can go wrong with Slurm itself, worded for the person at the terminal.

use std::io;
use std::path::PathBuf;

use crate::engine::ClusterError;

/// Slurm does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// A command of Slurm is not there.
    #[error("`{command}` cannot be started: {source}")]
    NoCommand {
        /// The command.
        command: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A command of Slurm ended badly.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// The command.
        command: &'static str,
        /// What it said, or how it ended.
        said: String,
    },
    /// A command of Slurm does not come to an end.
    #[error("`{command}` has not answered for {seconds} s")]
    Silent {
        /// The command.
        command: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Slurm answered something that is not understood.
    #[error("`{command}` answered {answer:?}, expected {expected}")]
    Unexpected {
        /// The command.
        command: &'static str,
        /// What it said, its beginning.
        answer: String,
        /// What it should have said.
        expected: &'static str,
    },
    /// A file of a batch cannot be written or read.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// "write", "read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Parts of what `sbatch` says when it will take the job later: the user's or the cluster's limits on jobs in the queue.
const FULL: [&str; 6] = [
    "MaxSubmitJob",
    "MaxJobCount",
    "Resource temporarily unavailable",
    "temporarily unable to accept job",
    "Job violates accounting/QOS policy (job submit limit",
    "GrpSubmitJob",
];
/// Parts of what Slurm's commands say when the controller does not answer: it restarts, or is busy.
const AWAY: [&str; 6] = [
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "Zero Bytes were transmitted",
    "Communication connection failure",
    "in backup mode",
];

impl SlurmError {
    /// Whether the cluster would take the job when others have ended.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Failed { said, .. } if FULL.iter().any(|part| said.contains(part)))
    }

    /// Whether the controller did not answer; what was asked for may have been done all the same.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Failed { said, .. } => AWAY.iter().any(|part| said.contains(part)),
            _ => false,
        }
    }

    /// What to do.
    pub fn help(&self) -> String {
        match self {
            Self::NoCommand { .. } => {
                "run where Slurm's commands are in the path (a login node), or say `--executor local`".into()
            }
            Self::Silent { .. } => "see with `sinfo` whether the cluster is up, and run again".into(),
            Self::Failed { command: "sbatch", .. } => {
                "change what is asked for under `slurm:` (partition, account, time, cpus, memory, gpus, array, options); \
                 `--dry-run` shows the script"
                    .into()
            }
            Self::Failed { .. } | Self::Unexpected { .. } => {
                "try the command by hand; s2pipe needs Slurm 20.11 or later".into()
            }
            Self::File { .. } => "look at the disk that holds the cache, and run again".into(),
        }
    }
}

impl From<SlurmError> for ClusterError {
    fn from(error: SlurmError) -> Self {
        Self { help: Some(error.help()), message: error.to_string() }
    }
}
