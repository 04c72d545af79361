//! Tickets: by what a task is known before its inputs are.
//!
//! A key names the *content* of a task's inputs, so a task has none until all that it reads is made. A ticket names where
//! the inputs *come from*: the bytes of source files, and the tickets of the tasks before it. It is known as soon as the
//! pipeline is, stays the same while tasks before it end, and so tells a task that is on its way on a cluster from one
//! that is yet to be sent, also to a run that begins later. It says nothing about what is in the cache; only a key does.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::{Lookup, MadeFrom};
use super::cache::{Cache, fan_out};
use super::canonical::canonical_json;
use super::digest::{Digest, Key};
use super::disk::Sync;
use super::error::CacheError;
use super::graph::TaskSource;
use super::record::InputRecord;
use super::survey::Survey;
use super::task_error::TaskError;

/// blake3 `derive_key` context of tickets.
const CONTEXT: &str = "s2pipe 2026 ticket 1";

/// By what a task is known before its inputs are. See the module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub Digest);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An input that was not made yet when its job was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Awaited {
    /// Slot name.
    pub slot: String,
    /// Extension of the name under which the task sees the input.
    pub ext: String,
    /// The ticket of the task that makes it.
    pub ticket: Ticket,
    /// Stage name of that task.
    pub stage: String,
    /// Its task name.
    pub task: String,
    /// Which of its outputs.
    pub output: String,
}

impl Survey<'_> {
    /// The ticket of every task of the graph; `None` where a source file has not been hashed because its task is not
    /// selected.
    pub(super) fn tickets(&self) -> Vec<Option<Ticket>> {
        let mut tickets: Vec<Option<Ticket>> = Vec::with_capacity(self.graph.tasks.len());
        // Tasks are in topological order.
        for node in &self.graph.tasks {
            let inputs: Option<Vec<_>> = node
                .inputs
                .iter()
                .map(|input| {
                    let from = match &input.from {
                        TaskSource::File(path) => json!({ "source": self.sources().get(path.as_os_str())? }),
                        TaskSource::Task { task, output } => {
                            json!({ "ticket": tickets[*task]?, "output": self.graph.tasks[*task].plan.outputs[*output].name })
                        }
                    };
                    Some(json!({ "slot": input.slot, "ext": input.ext, "from": from }))
                })
                .collect();
            let plan = &node.plan;
            tickets.push(inputs.map(|mut inputs| {
                inputs.sort_by_key(|input| input["slot"].to_string());
                let text = canonical_json(&json!({
                    "kind": self.graph.stages[node.stage].kind,
                    "version": node.version,
                    "params": plan.params,
                    "seed": plan.seed,
                    "classes": plan.classes,
                    "inputs": inputs,
                    "outputs": plan.outputs,
                }));
                Ticket(Digest::in_context(CONTEXT, text.as_bytes()))
            }));
        }
        tickets
    }
}

impl Cache {
    fn stamp_path(&self, ticket: Ticket) -> PathBuf {
        fan_out(&self.tickets_dir(), &ticket.0.hex())
    }

    /// Notes which key the task with this ticket turned out to have, for those that await its result.
    pub(super) fn stamp(&self, ticket: Ticket, key: Key) -> Result<(), CacheError> {
        self.write(&self.stamp_path(ticket), format!("{key}\n").as_bytes(), Sync::Lazy)
    }

    /// The key that a ticket turned out to have.
    fn stamped(&self, ticket: Ticket) -> Option<Key> {
        fs::read_to_string(self.stamp_path(ticket)).ok()?.trim().parse().ok().map(Key)
    }

    /// What an awaited input has turned out to be.
    pub(super) fn arrived(&self, awaited: &Awaited) -> Result<(InputRecord, MadeFrom), TaskError> {
        let gone = || TaskError::InputGone { slot: awaited.slot.clone() };
        let stamp = self.stamp_path(awaited.ticket);
        let key = self.seen_late(&stamp, || self.stamped(awaited.ticket)).ok_or_else(gone)?;
        let Lookup::Hit(done) = self.lookup_of_another(key) else { return Err(gone()) };
        let output = done.outputs.iter().find(|o| o.name == awaited.output).ok_or_else(gone)?;
        let Awaited { slot, ext, stage, task, output: name, .. } = awaited.clone();
        let record = InputRecord { slot, ext, content: output.content };
        Ok((record, MadeFrom::Task { stage, task, output: name, key }))
    }
}
