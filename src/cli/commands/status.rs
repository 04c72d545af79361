//! `s2pipe status`: what a run would do, and why.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::run::{engine_failure, selection};
use crate::cli::args::StatusArgs;
use crate::cli::exit;
use crate::cli::failure::Failure;
use crate::cli::guard::guard;
use crate::cli::output::{Align, Table, print, print_json};
use crate::cli::project::Project;
use crate::engine::{self, Plan, PlannedTask, TaskState, Ticket};
use crate::slurm::{self, OnItsWay};

/// Tasks that are on their way on a cluster.
pub(super) type Jobs = HashMap<Ticket, OnItsWay>;

/// Says what would run; exit code 3 when something would.
pub(in crate::cli) fn status(args: &StatusArgs) -> Result<(), Failure> {
    let project = Project::load(&args.pipeline)?;
    let graph = project.graph()?;
    let cache = project.cache(&args.cache)?;
    guard(&project, &graph, &cache)?;
    let plan = engine::plan(&graph, &cache, &selection(&args.select)).map_err(engine_failure)?;
    let jobs = slurm::on_their_way(&cache).unwrap_or_else(|error| {
        tracing::warn!("whether tasks are queued or running on a cluster is not known: {error}");
        HashMap::new()
    });
    if args.json {
        print_json(&plan_json(&plan, &jobs))?;
    } else {
        print(&plan_text(&plan, true, &jobs))?;
    }
    if plan.is_current() { Ok(()) } else { Err(Failure::silent(exit::STALE)) }
}

/// The plan as JSON: `{"pipeline","current","tasks":[{"stage","task","state":"cached|will_run|may_run",…}]}`. `reasons` are
/// sentences, `causes` the same for programs. Tasks that are on their way on a cluster have `"job"`, and `"node"` where they
/// run.
pub(super) fn plan_json(plan: &Plan, jobs: &Jobs) -> Value {
    let tasks: Vec<Value> = plan
        .tasks
        .iter()
        .map(|task| {
            let mut value = json!({ "stage": task.stage, "task": task.task, "key": task.key });
            let (state, why) = match &task.state {
                TaskState::Cached => ("cached", Vec::new()),
                TaskState::WillRun { reasons } => {
                    value["causes"] = json!(reasons);
                    ("will_run", reasons.iter().map(ToString::to_string).collect())
                }
                TaskState::MayRun { depends_on } => {
                    value["depends_on"] = json!(depends_on);
                    ("may_run", Vec::new())
                }
            };
            value["state"] = json!(state);
            value["reasons"] = json!(why);
            value["seconds"] = json!(task.seconds);
            if let Some(place) = place(task, jobs) {
                value["job"] = json!(place.job);
                value["node"] = json!(place.node);
            }
            value
        })
        .collect();
    json!({ "pipeline": plan.pipeline, "current": plan.is_current(), "tasks": tasks })
}

/// One line a stage, or with `explain` one for every task that is not cached.
pub(super) fn plan_text(plan: &Plan, explain: bool, jobs: &Jobs) -> String {
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut start = 0;
    while start < plan.tasks.len() {
        let stage = &plan.tasks[start].stage;
        let count = plan.tasks[start..].iter().take_while(|t| t.stage == *stage).count();
        let tasks = &plan.tasks[start..start + count];
        table.row([stage.clone(), stage_line(tasks)]);
        for task in tasks.iter().filter(|t| explain && t.state != TaskState::Cached) {
            table.row([format!("  {}", if task.task.is_empty() { "·" } else { &task.task }), task_line(task, jobs)]);
        }
        start += count;
    }
    table.render("")
}

fn stage_line(tasks: &[PlannedTask]) -> String {
    let count = |wanted: fn(&TaskState) -> bool| tasks.iter().filter(|t| wanted(&t.state)).count();
    let parts = [
        (count(|s| matches!(s, TaskState::Cached)), "cached"),
        (count(|s| matches!(s, TaskState::WillRun { .. })), "will run"),
        (count(|s| matches!(s, TaskState::MayRun { .. })), "may run"),
    ];
    let named: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    named.join(", ")
}

/// Where a task is that is on its way.
fn place<'j>(task: &PlannedTask, jobs: &'j Jobs) -> Option<&'j OnItsWay> {
    task.ticket.and_then(|ticket| jobs.get(&ticket)).filter(|_| task.state != TaskState::Cached)
}

fn task_line(task: &PlannedTask, jobs: &Jobs) -> String {
    match place(task, jobs) {
        Some(OnItsWay { job, node: Some(node) }) => format!("runs in job {job} on {node}"),
        Some(OnItsWay { job, node: None }) => format!("queued as job {job}"),
        None => state_line(task),
    }
}

fn state_line(task: &PlannedTask) -> String {
    match &task.state {
        TaskState::Cached => "cached".to_owned(),
        TaskState::WillRun { reasons } => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!("will run: {}", reasons.join("; "))
        }
        TaskState::MayRun { depends_on } => format!("may run: depends on {}", depends_on.join(", ")),
    }
}
