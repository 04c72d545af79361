//! The folder of a batch: one submission, a job array.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::element::Pack;
use super::error::SlurmError;
use crate::engine::Ticket;

const BATCH: &str = "s2pipe.batch/1";
const FILE: &str = "batch.json";
const JOB: &str = "job";
const TRIED: &str = "tried";
const OVER: &str = "over";
/// The script of a batch.
pub(super) const SCRIPT: &str = "job.sh";
/// Its jobs bear this and the id of the batch as their comment.
const COMMENT: &str = "s2pipe:";

/// `batch.json`: what was handed over. Written once, before Slurm is asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct BatchFile {
    /// `s2pipe.batch/1`.
    pub(super) batch: String,
    /// Also the name of the folder.
    pub(super) id: String,
    /// Number of the user whose jobs they are: others do not see them in the queue.
    pub(super) user: u32,
    /// The run that handed it over.
    pub(super) run: String,
    pub(super) pipeline: String,
    pub(super) stage: String,
    /// Whether it waits for other batches.
    pub(super) waits: bool,
    /// The tasks of every element.
    pub(super) elements: Vec<Vec<TaskRef>>,
}

/// A task of a batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct TaskRef {
    /// Task name; empty for the only task of a stage.
    pub(super) task: String,
    pub(super) ticket: Ticket,
}

impl BatchFile {
    pub(super) fn new(id: String, (run, pipeline, stage): (&str, &str, &str), waits: bool, packs: &[Pack]) -> Self {
        let tasks = |pack: &Pack| {
            let one =
                |task: &super::element::PackTask| TaskRef { task: task.job.ran_as.task.clone(), ticket: task.ticket };
            pack.tasks.iter().map(one).collect()
        };
        Self {
            batch: BATCH.to_owned(),
            id,
            user: user(),
            run: run.to_owned(),
            pipeline: pipeline.to_owned(),
            stage: stage.to_owned(),
            waits,
            elements: packs.iter().map(tasks).collect(),
        }
    }

    /// Reads the file of a folder; `None` where there is none of this version.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let file: Self = serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()?;
        (file.batch == BATCH).then_some(file)
    }

    /// Whether its jobs are those of this user.
    pub(super) fn is_mine(&self) -> bool {
        self.user == user()
    }

    /// Writes the folder: packs, script, and last the file itself.
    pub(super) fn write(&self, dir: &Path, packs: &[Pack], script: &str) -> Result<(), SlurmError> {
        for name in ["packs", "reports", "logs"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(|source| SlurmError::File { action: "make", path, source })?;
        }
        for (number, pack) in packs.iter().enumerate() {
            let path = dir.join("packs").join(format!("{number}.json"));
            write(&path, &json(&path, pack)?)?;
        }
        write(&dir.join(SCRIPT), script.as_bytes())?;
        let (path, fresh) = (dir.join(FILE), dir.join("batch.json.new"));
        write(&fresh, &json(&path, self)?)?;
        fs::rename(&fresh, &path).map_err(|source| SlurmError::File { action: "write", path, source })
    }
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, SlurmError> {
    let fail = |e: serde_json::Error| SlurmError::File {
        action: "write",
        path: path.to_path_buf(),
        source: io::Error::other(e),
    };
    serde_json::to_vec(value).map_err(fail)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SlurmError> {
    fs::write(path, bytes).map_err(|source| SlurmError::File { action: "write", path: path.to_path_buf(), source })
}

/// What the jobs of a batch bear as their comment.
pub(super) fn comment(id: &str) -> String {
    format!("{COMMENT}{id}")
}

/// The batch that a job belongs to.
pub(super) fn of_comment(comment: &str) -> Option<&str> {
    comment.strip_prefix(COMMENT)
}

/// Notes the job of a batch. Where this fails, the comment tells.
pub(super) fn note_job(dir: &Path, job: &str) {
    let _ = fs::write(dir.join(JOB), format!("{job}\n"));
}

/// The job of a batch, where it has been noted.
pub(super) fn noted_job(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join(JOB)).ok()?;
    Some(text.trim().to_owned()).filter(|job| !job.is_empty())
}

/// Notes that Slurm is about to be asked to take a batch. Where this fails, a lost answer means that its tasks run twice,
/// which does no harm.
pub(super) fn note_try(dir: &Path) {
    let _ = fs::write(dir.join(TRIED), "");
}

/// Whether Slurm has been asked to take a batch.
pub(super) fn was_tried(dir: &Path) -> bool {
    dir.join(TRIED).exists()
}

/// Nothing more will be heard of a batch. Of one that went well nothing stays; otherwise its logs do.
pub(super) fn close(dir: &Path, well: bool) {
    if well {
        // What cannot be removed now is removed by a later run.
        let _ = fs::remove_dir_all(dir);
    } else {
        let _ = fs::write(dir.join(OVER), "");
    }
}

pub(super) fn is_over(dir: &Path) -> bool {
    dir.join(OVER).exists()
}

/// All folders of batches.
pub(super) fn folders(batches: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(batches).into_iter().flatten().flatten().map(|e| e.path()).collect();
    all.sort();
    all
}

/// Where element `n` tells what it does.
pub(super) fn report(dir: &Path, element: usize) -> PathBuf {
    dir.join("reports").join(format!("{element}.jsonl"))
}

/// What element `n` prints.
pub(super) fn printed(dir: &Path, element: usize) -> PathBuf {
    dir.join("logs").join(format!("{element}.out"))
}
