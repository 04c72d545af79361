//! What a run tells whoever watches it.

use serde::Serialize;

use super::action::StoredOutput;
use super::digest::Key;
use super::executor::TaskWatch;
use super::plan::PlanCounts;
use super::reason::Reason;
use super::stage::{Progress, ProgressSink};

/// Watches a run. Called from several threads; must be quick.
pub trait Observer: Send + Sync {
    /// One piece of news.
    fn event(&self, event: &Event<'_>);
}

/// Hears nothing.
impl Observer for () {
    fn event(&self, _event: &Event<'_>) {}
}

/// A task by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct TaskName<'a> {
    /// Stage name.
    pub stage: &'a str,
    /// Task name; empty for the only task of a stage.
    pub task: &'a str,
}

/// One piece of news. In the journal each is a line (`s2pipe.events/1`).
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The run begins. All tasks have been looked up.
    RunStarted {
        /// Run id.
        run: &'a str,
        /// Pipeline name.
        pipeline: &'a str,
        /// What is expected.
        tasks: PlanCounts,
    },
    /// A task has to run and all that it reads is there.
    TaskQueued {
        /// Which.
        name: TaskName<'a>,
        /// Why it runs.
        reasons: &'a [Reason],
    },
    /// Another process is running this very task; its result will be taken.
    TaskWaiting {
        /// Which.
        name: TaskName<'a>,
    },
    /// It waits in the queue of a cluster.
    TaskSent {
        /// Which.
        name: TaskName<'a>,
        /// The job there.
        job: &'a str,
    },
    /// It runs.
    TaskStarted {
        /// Which.
        name: TaskName<'a>,
        /// Its key.
        key: Key,
        /// Job and machine, where it runs on a cluster; otherwise empty.
        #[serde(skip_serializing_if = "str::is_empty")]
        place: &'a str,
    },
    /// News from inside a task.
    TaskProgress {
        /// Which.
        name: TaskName<'a>,
        /// What it says.
        news: &'a Progress,
    },
    /// It is over, one way or the other. Comes for every selected task; a second time for one whose result vanished
    /// from the cache during the run and that was made again.
    TaskFinished {
        /// Which.
        name: TaskName<'a>,
        /// How it ended.
        status: TaskStatus,
        /// Seconds that it took in this run.
        seconds: f64,
        /// Its key, where known.
        key: Option<Key>,
        /// What it left. Left out in the journal of a run where the task was in the cache.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        outputs: &'a [StoredOutput],
        /// What went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    },
    /// The run is over.
    RunFinished {
        /// Run id.
        run: &'a str,
        /// Whether all selected tasks ended well.
        ok: bool,
        /// Whether it was cancelled.
        interrupted: bool,
        /// Wall-clock seconds.
        seconds: f64,
    },
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Its result was in the cache, or another process made it meanwhile.
    Cached,
    /// Its result came from the remote.
    Fetched,
    /// It ran.
    Ran,
    /// It ran, and its deadline cut it short.
    CutShort,
    /// It failed.
    Failed,
    /// It was not started, because something before it failed or the run ended early.
    Skipped,
    /// It was running when the run was cancelled.
    Cancelled,
}

/// Passes a task's news on to the run's observer.
pub(super) struct Watch<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) name: TaskName<'a>,
}

impl ProgressSink for Watch<'_> {
    fn progress(&self, news: Progress) {
        self.observer.event(&Event::TaskProgress { name: self.name, news: &news });
    }
}

impl TaskWatch for Watch<'_> {
    fn waiting(&self) {
        self.observer.event(&Event::TaskWaiting { name: self.name });
    }

    fn started(&self, key: Key) {
        self.observer.event(&Event::TaskStarted { name: self.name, key, place: "" });
    }
}
