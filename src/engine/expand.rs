//! From a checked pipeline's stages to tasks: each stage's kind splits it, and what the tasks refer to is looked up.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::error::GraphError;
use super::graph::{Graph, OutputItem, StageId, StageNode, TaskId, TaskInput, TaskNode, TaskSource, label};
use super::order::read_names;
use super::record::link_name;
use super::stage::{Cores, ExpandContext, Item, Origin, Registry, StageKind, TaskPlan};
use super::tree::is_inside;
use crate::spec::{Cpus, Limits, Pipeline, Source, Stage, Sweep, Variant, item_name};

/// What is known while the stages are split one after the other.
pub(super) struct Expander<'p> {
    pipeline: &'p Pipeline,
    sweep: Sweep,
    /// The pipeline with the parameters and the seed of the variant that is being split.
    bound: Cow<'p, Pipeline>,
    stages: HashMap<String, StageId>,
    /// Items of every output of the stages so far, by stage and variant: as the kinds gave them, with the task's whole
    /// name.
    items: HashMap<String, HashMap<Variant, BTreeMap<String, Vec<Item>>>>,
    /// Stage name -> task name -> task.
    tasks: HashMap<String, HashMap<String, TaskId>>,
}

impl<'p> Expander<'p> {
    /// Nothing is split yet.
    pub(super) fn new(pipeline: &'p Pipeline) -> Self {
        Self {
            pipeline,
            sweep: Sweep::new(pipeline),
            bound: Cow::Borrowed(pipeline),
            stages: HashMap::new(),
            items: HashMap::new(),
            tasks: HashMap::new(),
        }
    }

    /// Splits one stage, each variant for itself; those that it waits for have been added before.
    pub(super) fn add(&mut self, graph: &mut Graph, stage: &Stage, registry: &Registry) -> Result<(), GraphError> {
        let kind = registry
            .get(&stage.uses)
            .ok_or_else(|| GraphError::UnknownKind { stage: stage.name.clone(), kind: stage.uses.clone() })?;
        let first = graph.tasks.len();
        let mut outputs: BTreeMap<String, Vec<OutputItem>> = BTreeMap::new();
        let variants = self.sweep.variants(&stage.name);
        let names: Vec<String> = variants.iter().map(|v| self.sweep.name(v)).collect();
        for (variant, name) in variants.into_iter().zip(&names) {
            for (output, items) in self.add_variant(graph, stage, kind.as_ref(), variant, name)? {
                outputs.entry(output).or_default().extend(items);
            }
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
            variants: names.into_iter().filter(|name| !name.is_empty()).collect(),
            tasks,
            reads,
            needs,
            outputs,
            limits: stage.limits.clone(),
        });
        Ok(())
    }

    /// Splits one variant of a stage and returns its outputs.
    fn add_variant(
        &mut self,
        graph: &mut Graph,
        stage: &Stage,
        kind: &dyn StageKind,
        variant: Variant,
        name: &str,
    ) -> Result<BTreeMap<String, Vec<OutputItem>>, GraphError> {
        if !self.sweep.is_empty() {
            self.sweep.bind(&variant, &stage.name, self.pipeline, self.bound.to_mut());
        }
        let bound = self.sweep.position(&stage.name).map_or(stage, |at| &self.bound.stages[at]);
        let context = ExpandContext { pipeline: &self.bound, stage: bound, inputs: self.inputs(stage, &variant)? };
        let mut expansion = kind.expand(&context).map_err(|e| GraphError::Expand {
            stage: label(&stage.name, name),
            message: e.message,
            help: e.help,
        })?;
        check_output_paths(stage, &expansion.tasks)?;
        // The kind knows of no variants: what it says of tasks of its own is about those of this one.
        let own = |origin: &mut Origin| match origin {
            Origin::Task { stage: of, task, .. } if *of == stage.name => *task = below(name, task),
            _ => {}
        };
        for mut plan in expansion.tasks {
            plan.name = below(name, &plan.name);
            plan.cores = cores(&stage.limits, plan.cores);
            plan.inputs.iter_mut().for_each(|(_, origin)| own(origin));
            self.add_task(graph, stage, name, plan, kind.spec().version)?;
        }
        expansion.outputs.values_mut().flatten().for_each(|item| own(&mut item.from));
        let mut outputs = BTreeMap::new();
        for (output, items) in &expansion.outputs {
            let items: Result<_, _> = items.iter().map(|i| self.output_item(graph, stage, name, i)).collect();
            outputs.insert(output.clone(), items?);
        }
        self.items.entry(stage.name.clone()).or_default().insert(variant, expansion.outputs);
        Ok(outputs)
    }

    /// The items on every port of a stage.
    fn inputs(&self, stage: &Stage, variant: &Variant) -> Result<BTreeMap<String, Vec<Item>>, GraphError> {
        let mut ports: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for input in &stage.inputs {
            let port = ports.entry(input.port.clone()).or_default();
            for source in &input.sources {
                match source {
                    Source::Files { files, .. } => {
                        port.extend(files.iter().map(|file| Item::new(item_name(file), Origin::File(file.clone()))));
                    }
                    Source::Output { stage: upstream, output } if stage.joins => {
                        for variant in self.sweep.variants(upstream) {
                            let (name, axes) = (self.sweep.name(&variant), self.sweep.values(&variant));
                            let items = self.upstream(stage, upstream, output, &variant)?.iter();
                            port.extend(items.map(|i| Item {
                                name: below(&name, &i.name),
                                from: i.from.clone(),
                                axes: axes.clone(),
                            }));
                        }
                    }
                    Source::Output { stage: upstream, output } => {
                        let variant = self.sweep.restrict(variant, upstream);
                        port.extend_from_slice(self.upstream(stage, upstream, output, &variant)?);
                    }
                }
            }
            if stage.joins {
                tell_apart(port);
            }
        }
        Ok(ports)
    }

    /// The items of an output of a stage that has been split.
    fn upstream(&self, stage: &Stage, upstream: &str, output: &str, variant: &Variant) -> Result<&[Item], GraphError> {
        let items = self.items.get(upstream).and_then(|of| of.get(variant)?.get(output));
        items.map(Vec::as_slice).ok_or_else(|| GraphError::NoSuchOutput {
            stage: stage.name.clone(),
            wanted: format!("{}.{output}", label(upstream, &self.sweep.name(variant))),
        })
    }

    fn add_task(
        &mut self,
        graph: &mut Graph,
        stage: &Stage,
        variant: &str,
        plan: TaskPlan,
        version: u32,
    ) -> Result<(), GraphError> {
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
        let slots: HashSet<&str> = inputs.iter().map(|i| i.slot.as_str()).collect();
        if slots.len() < inputs.len() {
            // `a.txt` and `a.csv`, say: both would be `a`.
            let twice = |i: &&TaskInput| inputs.iter().filter(|other| other.slot == i.slot).count() > 1;
            let name = inputs.iter().find(twice).map_or_else(String::new, |i| i.slot.clone());
            return Err(GraphError::Clash { stage: stage.name.clone(), what: "inputs", name });
        }
        let reads = sorted(inputs.iter().filter_map(|i| match i.from {
            TaskSource::Task { task, .. } => Some(task),
            TaskSource::File(_) => None,
        }));
        let id = graph.tasks.len();
        if self.tasks.entry(stage.name.clone()).or_default().insert(plan.name.clone(), id).is_some() {
            return Err(GraphError::Clash { stage: stage.name.clone(), what: "tasks", name: plan.name });
        }
        let (stage, variant) = (graph.stages.len(), variant.to_owned());
        graph.tasks.push(TaskNode { stage, variant, plan, version, inputs, reads });
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

    fn output_item(&self, graph: &Graph, stage: &Stage, variant: &str, item: &Item) -> Result<OutputItem, GraphError> {
        match self.source(graph, stage, &item.from)? {
            TaskSource::Task { task, output } => Ok(OutputItem { item: below(variant, &item.name), task, output }),
            // A stage cannot pass a source file off as its output: nothing would key it.
            TaskSource::File(path) => {
                Err(GraphError::NoSuchOutput { stage: stage.name.clone(), wanted: path.display().to_string() })
            }
        }
    }
}

/// `variant/name`, or that of the two which there is.
fn below(variant: &str, name: &str) -> String {
    match (variant.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => variant.to_owned(),
        (false, false) => format!("{variant}/{name}"),
    }
}

/// Puts the stage's name before items that come from several stages under the same names, or names of which one would
/// be a folder of the other.
fn tell_apart(items: &mut [Item]) {
    let mut names: Vec<&Path> = items.iter().map(|i| Path::new(&i.name)).collect();
    // As in `check_disjoint`.
    names.sort_unstable();
    if !names.windows(2).any(|pair| pair[1].starts_with(pair[0])) {
        return;
    }
    for item in items {
        if let Origin::Task { stage, .. } = &item.from {
            item.name = below(stage, &item.name);
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
