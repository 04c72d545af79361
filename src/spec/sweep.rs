//! What a `matrix` means for the whole pipeline: which axes reach which stage, and what each variant binds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::model::{AxisValue, Pipeline, Source, Stage};

/// Most variants that a stage may have.
pub const MAX_VARIANTS: usize = 1000;

/// The reserved name of the axis that changes the seed.
pub const SEED_AXIS: &str = "seed";

/// A file's name has at most 255 bytes; stage, task and extension must fit beside a variant's name (logs).
const LONGEST_NAME: usize = 120;

/// All axes of a pipeline, in topological order of their stages, then in the order of the file.
#[derive(Debug)]
pub struct Sweep {
    axes: Vec<SweepAxis>,
    /// Positions in `axes` that reach each stage, ascending; by position of the stage in the pipeline.
    reach: Vec<Vec<usize>>,
    positions: BTreeMap<String, usize>,
    /// Positions of the stages that have axes of their own.
    swept: Vec<usize>,
}

#[derive(Debug)]
struct SweepAxis {
    stage: usize,
    /// Position among the axes of its stage.
    position: usize,
    name: String,
    is_seed: bool,
    values: Vec<AxisValue>,
}

/// One value chosen on each of some axes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Variant {
    /// Axis and value by position, ascending by axis.
    choices: Vec<(usize, usize)>,
}

impl Sweep {
    /// Works out which axes reach which stage: its own and those of every stage that it reads; a stage that joins has
    /// its own alone. The stages must form no cycle.
    pub fn new(pipeline: &Pipeline) -> Self {
        let positions: BTreeMap<String, usize> =
            pipeline.stages.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
        let swept = (0..pipeline.stages.len()).filter(|at| !pipeline.stages[*at].bound.is_empty()).collect();
        let mut sweep = Self { axes: Vec::new(), reach: vec![Vec::new(); pipeline.stages.len()], positions, swept };
        if pipeline.stages.iter().all(|s| s.matrix.is_empty()) {
            return sweep;
        }
        let names = axis_names(pipeline);
        for stage in sweep.order(pipeline) {
            let spec = &pipeline.stages[stage];
            let mut reach: BTreeSet<usize> = BTreeSet::new();
            if !spec.joins {
                reach.extend(sweep.upstream(spec).flat_map(|up| sweep.reach[up].iter().copied()));
            }
            for (position, axis) in spec.matrix.iter().enumerate() {
                reach.insert(sweep.axes.len());
                sweep.axes.push(SweepAxis {
                    stage,
                    position,
                    name: names[stage][position].clone(),
                    is_seed: axis.is_seed(),
                    values: axis.values.clone(),
                });
            }
            sweep.reach[stage] = reach.into_iter().collect();
        }
        sweep
    }

    /// Whether no stage has a matrix.
    pub fn is_empty(&self) -> bool {
        self.axes.is_empty()
    }

    /// Where a stage stands in the pipeline.
    pub fn position(&self, stage: &str) -> Option<usize> {
        self.positions.get(stage).copied()
    }

    /// How many variants a stage has, 1 where no axis reaches it.
    pub fn count(&self, stage: &str) -> usize {
        self.axes_of(stage).iter().fold(1, |n, a| n.saturating_mul(self.axes[*a].values.len()))
    }

    /// All variants of a stage, the last axis changing fastest; one without choices where no axis reaches it.
    pub fn variants(&self, stage: &str) -> Vec<Variant> {
        let mut variants = vec![Variant::default()];
        for &axis in self.axes_of(stage) {
            let more = variants.iter().flat_map(|variant| {
                (0..self.axes[axis].values.len()).map(|value| {
                    let mut choices = variant.choices.clone();
                    choices.push((axis, value));
                    Variant { choices }
                })
            });
            variants = more.collect();
        }
        variants
    }

    /// The variant of a stage that a variant of one of its readers goes with: the choices on its axes.
    pub fn restrict(&self, variant: &Variant, stage: &str) -> Variant {
        let axes = self.axes_of(stage);
        Variant { choices: variant.choices.iter().filter(|(axis, _)| axes.contains(axis)).copied().collect() }
    }

    /// `width=16,lr=0.001`; empty for the variant without choices. Can be the name of a folder.
    pub fn name(&self, variant: &Variant) -> String {
        let parts = variant.choices.iter().map(|(axis, value)| {
            let axis = &self.axes[*axis];
            format!("{}={}", axis.name, axis.values[*value].label)
        });
        let name = parts.collect::<Vec<_>>().join(",");
        if name.len() <= LONGEST_NAME {
            return name;
        }
        let head: String = name.char_indices().take_while(|(at, _)| *at < LONGEST_NAME - 10).map(|(_, c)| c).collect();
        format!("{head}~{}", &blake3::hash(name.as_bytes()).to_hex()[..8])
    }

    /// What the variant chooses: name of the axis and value, a value with a name of its own by that name.
    pub fn values(&self, variant: &Variant) -> Vec<(String, Value)> {
        variant
            .choices
            .iter()
            .map(|(axis, value)| (self.axes[*axis].name.clone(), self.axes[*axis].values[*value].shown()))
            .collect()
    }

    /// Gives every stage the parameters of the variant, and the pipeline the seed that `stage` has in it. Axes that the
    /// variant does not choose on take their first value. `pipeline` is the one that the sweep was made of, or a copy.
    pub fn bind(&self, variant: &Variant, stage: &str, base: &Pipeline, pipeline: &mut Pipeline) {
        for &position in &self.swept {
            let from = &base.stages[position];
            let Some(bound) = from.bound.get(self.own_index(variant, from)) else { continue };
            pipeline.stages[position].with.clone_from(&bound.with);
            pipeline.stages[position].files.clone_from(&bound.files);
        }
        pipeline.seed = self.seed(variant, stage).unwrap_or(base.seed);
    }

    /// Position in [`Stage::bound`] of what a variant chooses for a stage; axes that it does not choose on take their
    /// first value.
    pub fn own_index(&self, variant: &Variant, stage: &Stage) -> usize {
        let own = self.positions.get(&stage.name);
        let chosen = |position: usize| {
            let is_it = |(axis, _): &&(usize, usize)| {
                Some(&self.axes[*axis].stage) == own && self.axes[*axis].position == position
            };
            variant.choices.iter().find(is_it).map_or(0, |(_, value)| *value)
        };
        let axes = stage.matrix.iter().enumerate().filter(|(_, axis)| !axis.is_seed());
        axes.fold(0, |index, (position, axis)| index * axis.values.len() + chosen(position))
    }

    /// The stages that a stage reads.
    pub fn sources<'p>(&self, stage: &str, pipeline: &'p Pipeline) -> impl Iterator<Item = &'p str> {
        let position = self.positions.get(stage).copied();
        let sources: Vec<usize> = position.map_or_else(Vec::new, |p| self.upstream(&pipeline.stages[p]).collect());
        sources.into_iter().map(|p| pipeline.stages[p].name.as_str())
    }

    /// The seed that a variant chooses for a stage: on its own axis, else on that of the last stage before it.
    fn seed(&self, variant: &Variant, stage: &str) -> Option<u64> {
        let own = self.positions.get(stage);
        let seeds = || variant.choices.iter().rev().filter(|(axis, _)| self.axes[*axis].is_seed);
        let (axis, value) = seeds().find(|(axis, _)| Some(&self.axes[*axis].stage) == own).or(seeds().next())?;
        self.axes[*axis].values[*value].value.as_u64()
    }

    fn axes_of(&self, stage: &str) -> &[usize] {
        self.positions.get(stage).map_or(&[], |position| &self.reach[*position])
    }

    fn upstream<'a>(&'a self, stage: &'a Stage) -> impl Iterator<Item = usize> + 'a {
        stage.inputs.iter().flat_map(|i| &i.sources).filter_map(|source| match source {
            Source::Output { stage, .. } => self.positions.get(stage).copied(),
            Source::Files { .. } => None,
        })
    }

    /// Stages after what they wait for, otherwise in the order of the file. Stages of a cycle, which has been reported
    /// where it can be met, are left out.
    fn order(&self, pipeline: &Pipeline) -> Vec<usize> {
        let waits: Vec<Vec<usize>> = pipeline
            .stages
            .iter()
            .map(|s| self.upstream(s).chain(s.needs.iter().filter_map(|n| self.positions.get(n).copied())).collect())
            .collect();
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); waits.len()];
        waits.iter().enumerate().for_each(|(stage, ups)| ups.iter().for_each(|up| readers[*up].push(stage)));
        let mut open: Vec<usize> = waits.iter().map(Vec::len).collect();
        let mut free: BTreeSet<usize> = (0..waits.len()).filter(|stage| open[*stage] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(next) = free.pop_first() {
            order.push(next);
            for &reader in &readers[next] {
                open[reader] -= 1;
                if open[reader] == 0 {
                    free.insert(reader);
                }
            }
        }
        order
    }
}

/// What each axis is called, by stage: the last part of its path; where two axes would have the same, the whole path;
/// where these are the same too, with the stage before it.
fn axis_names(pipeline: &Pipeline) -> Vec<Vec<String>> {
    let spellings: [fn(&str, &str) -> String; 3] = [
        |_, path| path.rsplit('.').next().unwrap_or(path).to_owned(),
        |_, path| path.to_owned(),
        |stage, path| format!("{stage}.{path}"),
    ];
    let axes = || pipeline.stages.iter().flat_map(|s| s.matrix.iter().map(|a| (s.name.as_str(), a.path.as_str())));
    let unique = |stage: &str, path: &str| {
        let fits = |spell: &&fn(&str, &str) -> String| {
            let name = spell(stage, path);
            axes().filter(|(stage, path)| spell(stage, path) == name).count() < 2
        };
        spellings.iter().find(fits).unwrap_or(&spellings[2])(stage, path)
    };
    pipeline.stages.iter().map(|s| s.matrix.iter().map(|a| unique(&s.name, &a.path)).collect()).collect()
}
