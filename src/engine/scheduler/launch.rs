//! Starts a task on a thread of this process: its job, with what is free of the machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::thread::Scope;
use std::time::Instant;

use super::crew::Crew;
use super::{Report, Scheduler, name};
use crate::engine::attempt::panic_message;
use crate::engine::event::Watch;
use crate::engine::executor::{TaskEnv, TaskFailed, run_task};
use crate::engine::graph::TaskId;
use crate::engine::job::TaskJob;
use crate::engine::stage::Cores;
use crate::engine::task_error::TaskError;
use crate::spec::Cpus;

impl<'a> Scheduler<'a> {
    pub(super) fn launch<'s>(
        &mut self,
        scope: &'s Scope<'s, '_>,
        crew: &mut Crew<'s>,
        sender: &Sender<Report>,
        id: TaskId,
    ) where
        'a: 's,
    {
        if self.wait_for_inputs(id) {
            // What it reads vanished after it was found ready, and is being made again.
            return;
        }
        let begun = Instant::now();
        self.running += 1;
        let gpus = self.pool.take(self.survey.graph, id);
        let Some(job) = self.job(id, gpus) else {
            let error = TaskError::Foreign("an input of the task is not known".into());
            return self.take((id, begun, Err(TaskFailed { error, log: None })));
        };
        let (around, graph, cache) = (self.around, self.survey.graph, self.survey.cache);
        let sender = sender.clone();
        let body = move || {
            let watch = Watch { observer: around.observer, name: name(graph, id) };
            let (registry, cancel, logs) = (around.registry, around.cancel, around.logs.as_path());
            let env = TaskEnv { cache, registry, cancel, watch: &watch, logs };
            // The kind's own panics are caught closer to it; this one catches an observer's, and without it the
            // deciding thread would wait forever for a report.
            let result = catch_unwind(AssertUnwindSafe(|| run_task(&job, &env))).unwrap_or_else(|panic| {
                let (stage, message) = (job.ran_as.stage.clone(), panic_message(&*panic));
                Err(TaskFailed { error: TaskError::Panicked { stage, message }, log: None })
            });
            // The receiver outlives every task's thread.
            let _ = sender.send(Report::Ended(id, begun, result));
        };
        if let Err(e) = crew.run(scope, self.running, Box::new(body)) {
            let error = TaskError::Failed {
                message: format!("cannot start a thread: {e}"),
                help: Some("run with fewer jobs (`-j`)".into()),
            };
            self.take((id, begun, Err(TaskFailed { error, log: None })));
        }
    }

    /// The job of a task whose inputs are all known.
    fn job(&self, id: TaskId, gpus: Vec<u32>) -> Option<TaskJob> {
        let mut job = self.survey.job(id)?;
        (job.device, job.gpu_memory) = (self.around.options.device, self.around.options.gpu_memory);
        job.threads = self.threads(id);
        job.gpus = gpus;
        job.seconds_left = self.around.budget.seconds_left(self.survey.graph, id, &self.pending_alone());
        Some(job)
    }

    /// As many threads as its stage asks for processors. Else all for a task that runs alone; else a fair share among
    /// those that run (this one included) or could run.
    fn threads(&self, id: TaskId) -> usize {
        let node = &self.survey.graph.tasks[id];
        let all = self.around.options.threads.max(1);
        if let Some(Cpus::Count(count)) = self.survey.graph.stages[node.stage].limits.resources.cpus {
            return all.min(count as usize);
        }
        let side_by_side = (self.running + self.ready.len()).min(self.around.options.jobs.max(1));
        if node.plan.cores == Cores::All { all } else { (all / side_by_side).max(1) }
    }

    /// Tasks that want all cores and are not over; only looked for when there is a budget to share.
    fn pending_alone(&self) -> Vec<TaskId> {
        if !self.around.budget.is_limited() {
            return Vec::new();
        }
        self.all_cores.iter().copied().filter(|id| self.ends[*id].is_none()).collect()
    }
}
