//! What lies behind a task's input: the source files and tasks that it was made from, through any number of stages.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::cache::Cache;
use super::digest::Digest;
use super::graph::{Graph, TaskId, TaskSource};

/// Everything behind one or several inputs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lineage<'g> {
    /// Source files.
    pub files: BTreeSet<&'g Path>,
    /// Tasks, the direct makers included.
    pub tasks: BTreeSet<TaskId>,
}

impl Graph {
    /// What is behind the inputs of a task whose slot name `wanted` accepts.
    pub fn behind(&self, task: TaskId, wanted: impl Fn(&str) -> bool) -> Lineage<'_> {
        let mut lineage = Lineage::default();
        let mut open = Vec::new();
        for input in self.tasks[task].inputs.iter().filter(|i| wanted(&i.slot)) {
            lineage.add(&input.from, &mut open);
        }
        while let Some(task) = open.pop() {
            for input in &self.tasks[task].inputs {
                lineage.add(&input.from, &mut open);
            }
        }
        lineage
    }
}

impl<'g> Lineage<'g> {
    fn add(&mut self, source: &'g TaskSource, open: &mut Vec<TaskId>) {
        match source {
            TaskSource::File(path) => {
                self.files.insert(path);
            }
            TaskSource::Task { task, .. } => {
                if self.tasks.insert(*task) {
                    open.push(*task);
                }
            }
        }
    }
}

impl Cache {
    /// The digest of a source file, from memory where the file has not changed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn source_digest(&self, path: &Path) -> io::Result<Digest> {
        self.sources().digest(path)
    }
}
