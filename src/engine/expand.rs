//! From a checked pipeline's stages to tasks: each stage's kind splits it, and what the tasks refer to is looked up.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::error::GraphError;
use super::graph::{Graph, OutputItem, StageId, StageNode, TaskId, TaskInput, TaskNode, TaskSource, label};
use super::order::read_names;
use super::record::link_name;
use super::stage::{Cores, ExpandContext, Item, Origin, Registry, TaskPlan};
use super::tree::is_inside;
use crate::spec::{Cpus, Limits, Pipeline, Source, Stage, item_name};

/// What is known while the stages are split one after the other.
#[derive(Default)]
pub(super) struct Expander {
    stages: HashMap<String, StageId>,
    /// Items of every output of the stages so far, as the kinds gave them.
    items: HashMap<(String, String), Vec<Item>>,
    /// Stage name -> task name -> task.
    tasks: HashMap<String, HashMap<String, TaskId>>,
}

impl Expander {
    /// Splits one stage; those that it waits for have been added before.
    pub(super) fn add(
        &mut self,
        graph: &mut Graph,
        pipeline: &Pipeline,
        stage: &Stage,
        registry: &Registry,
    ) -> Result<(), GraphError> {
        let kind = registry
            .get(&stage.uses)
            .ok_or_else(|| GraphError::UnknownKind { stage: stage.name.clone(), kind: stage.uses.clone() })?;
        let context = ExpandContext { pipeline, stage, inputs: self.inputs(stage)? };
        let expansion = kind.expand(&context).map_err(|e| GraphError::Expand {
            stage: stage.name.clone(),
            message: e.message,
            help: e.help,
        })?;
        check_output_paths(stage, &expansion.tasks)?;
        let first = graph.tasks.len();
        for mut plan in expansion.tasks {
            plan.cores = cores(&stage.limits, plan.cores);
            self.add_task(graph, stage, plan, kind.spec().version)?;
        }
        let mut outputs = BTreeMap::new();
        for (name, items) in &expansion.outputs {
            let items: Result<_, _> = items.iter().map(|i| self.output_item(graph, stage, i)).collect();
            outputs.insert(name.clone(), items?);
        }
        for (name, items) in expansion.outputs {
            self.items.insert((stage.name.clone(), name), items);
        }
        let tasks = first..graph.tasks.len();
        let own = graph.stages.len();
        let of_tasks = graph.tasks[tasks.clone()].iter().flat_map(|t| &t.reads).map(|t| graph.tasks[*t].stage);
        let declared = read_names(stage).filter_map(|name| self.stages.get(name).copied());
        let reads = sorted(declared.chain(of_tasks).filter(|s| *s != own));
        let needs = sorted(stage.needs.iter().filter_map(|name| self.stages.get(name).copied()));
        self.stages.insert(stage.name.clone(), own);
        graph.stages.push(StageNode {
            name: stage.name.clone(),
            kind: stage.uses.clone(),
            tasks,
            reads,
            needs,
            outputs,
            limits: stage.limits.clone(),
        });
        Ok(())
    }

    /// The items on every port of a stage.
    fn inputs(&self, stage: &Stage) -> Result<BTreeMap<String, Vec<Item>>, GraphError> {
        let mut ports: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for input in &stage.inputs {
            let port = ports.entry(input.port.clone()).or_default();
            for source in &input.sources {
                match source {
                    Source::Files { files, .. } => port.extend(
                        files.iter().map(|file| Item { name: item_name(file), from: Origin::File(file.clone()) }),
                    ),
                    Source::Output { stage: upstream, output } => {
                        let items = self.items.get(&(upstream.clone(), output.clone()));
                        port.extend_from_slice(items.ok_or_else(|| GraphError::NoSuchOutput {
                            stage: stage.name.clone(),
                            wanted: format!("{upstream}.{output}"),
                        })?);
                    }
                }
            }
        }
        Ok(ports)
    }

    fn add_task(&mut self, graph: &mut Graph, stage: &Stage, plan: TaskPlan, version: u32) -> Result<(), GraphError> {
        let mut inputs = Vec::with_capacity(plan.inputs.len());
        for (slot, origin) in &plan.inputs {
            if !is_inside(Path::new(slot)) {
                return Err(GraphError::BadName { stage: stage.name.clone(), what: "input", name: slot.clone() });
            }
            let from = self.source(graph, stage, origin)?;
            let path = match &from {
                TaskSource::File(path) => path,
                TaskSource::Task { task, output } => &graph.tasks[*task].plan.outputs[*output].path,
            };
            let ext = path.extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned());
            inputs.push(TaskInput { slot: slot.clone(), ext, from });
        }
        check_disjoint(stage, "inputs", inputs.iter().map(|i| link_name(&i.slot, &i.ext)))?;
        let reads = sorted(inputs.iter().filter_map(|i| match i.from {
            TaskSource::Task { task, .. } => Some(task),
            TaskSource::File(_) => None,
        }));
        let id = graph.tasks.len();
        if self.tasks.entry(stage.name.clone()).or_default().insert(plan.name.clone(), id).is_some() {
            return Err(GraphError::Clash { stage: stage.name.clone(), what: "tasks", name: plan.name });
        }
        graph.tasks.push(TaskNode { stage: graph.stages.len(), plan, version, inputs, reads });
        Ok(())
    }

    /// Finds what an input refers to, among the tasks so far.
    fn source(&self, graph: &Graph, stage: &Stage, origin: &Origin) -> Result<TaskSource, GraphError> {
        match origin {
            Origin::File(path) => Ok(TaskSource::File(path.clone())),
            Origin::Task { stage: of, task, output } => {
                let found = self.tasks.get(of).and_then(|tasks| tasks.get(task)).and_then(|&id| {
                    let output = graph.tasks[id].plan.outputs.iter().position(|o| o.name == *output)?;
                    Some(TaskSource::Task { task: id, output })
                });
                found.ok_or_else(|| GraphError::NoSuchOutput {
                    stage: stage.name.clone(),
                    wanted: format!("{}: {output}", label(of, task)),
                })
            }
        }
    }

    fn output_item(&self, graph: &Graph, stage: &Stage, item: &Item) -> Result<OutputItem, GraphError> {
        match self.source(graph, stage, &item.from)? {
            TaskSource::Task { task, output } => Ok(OutputItem { item: item.name.clone(), task, output }),
            // A stage cannot pass a source file off as its output: nothing would key it.
            TaskSource::File(path) => {
                Err(GraphError::NoSuchOutput { stage: stage.name.clone(), wanted: path.display().to_string() })
            }
        }
    }
}

/// A stage that says how many processors its tasks hold knows better than its kind.
fn cores(limits: &Limits, kind: Cores) -> Cores {
    match limits.resources.cpus {
        None => kind,
        Some(Cpus::All) => Cores::All,
        Some(Cpus::Count(_)) => Cores::One,
    }
}

/// The outputs of a stage's tasks share one folder of the readable view.
fn check_output_paths(stage: &Stage, tasks: &[TaskPlan]) -> Result<(), GraphError> {
    let outputs = || tasks.iter().flat_map(|t| &t.outputs);
    for output in outputs() {
        if output.path.to_str().is_none() || !is_inside(&output.path) {
            let name = output.path.display().to_string();
            return Err(GraphError::BadName { stage: stage.name.clone(), what: "output", name });
        }
    }
    for task in tasks {
        let mut names: Vec<&str> = task.outputs.iter().map(|o| o.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(GraphError::Clash { stage: stage.name.clone(), what: "outputs", name: twice[0].to_owned() });
        }
    }
    check_disjoint(stage, "outputs", outputs().map(|o| o.path.to_string_lossy().into_owned()))
}

/// No path twice, and none inside another.
fn check_disjoint(stage: &Stage, what: &'static str, paths: impl Iterator<Item = String>) -> Result<(), GraphError> {
    let mut paths: Vec<PathBuf> = paths.map(PathBuf::from).collect();
    // Paths compare by component, so whatever lies inside a path stands directly behind it.
    paths.sort_unstable();
    match paths.windows(2).find(|w| w[1].starts_with(&w[0])) {
        Some(pair) => Err(GraphError::Clash { stage: stage.name.clone(), what, name: pair[0].display().to_string() }),
        None => Ok(()),
    }
}

/// Ascending, each once.
fn sorted(ids: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut ids: Vec<usize> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
