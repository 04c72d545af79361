//! Which part of the graph a run is about, and which part of that runs whatever the cache holds.

use super::error::PlanError;
use super::graph::{Graph, StageId};

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// This stage and everything that depends on it runs again; the rest comes from the cache where it can.
    pub from: Option<String>,
    /// Nothing beyond this stage and what it depends on.
    pub until: Option<String>,
    /// Every selected task runs again.
    pub force: bool,
}

/// A [`Selection`] worked out, by stage.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) included: Vec<bool>,
    pub(super) forced: Vec<bool>,
}

impl Selection {
    /// Works out which stages are included and which are forced.
    pub(super) fn resolve(&self, graph: &Graph) -> Result<Selected, PlanError> {
        let from = self.from.as_deref().map(|name| stage(graph, name)).transpose()?;
        let until = self.until.as_deref().map(|name| stage(graph, name)).transpose()?;
        let included = until.map_or_else(|| vec![true; graph.stages.len()], |id| upstream(graph, id));
        let mut forced = from.map_or_else(|| vec![false; graph.stages.len()], |id| downstream(graph, id));
        if let (Some(from), Some(until)) = (from, until)
            && !included[from]
        {
            let name = |id: StageId| graph.stages[id].name.clone();
            return Err(PlanError::FromOutside { from: name(from), until: name(until) });
        }
        if self.force {
            forced.fill(true);
        }
        Ok(Selected { included, forced })
    }
}

fn stage(graph: &Graph, name: &str) -> Result<StageId, PlanError> {
    graph.stage_id(name).ok_or_else(|| {
        let stages: Vec<String> = graph.stages.iter().map(|s| s.name.clone()).collect();
        PlanError::UnknownStage { name: name.to_owned(), nearest: nearest(name, &stages), stages }
    })
}

/// The candidate that `name` most probably meant, if any is near enough.
pub(super) fn nearest<S: AsRef<str>>(name: &str, candidates: &[S]) -> Option<String> {
    let score = |c: &str| strsim::jaro_winkler(&c.to_lowercase(), &name.to_lowercase());
    candidates
        .iter()
        .map(|c| (score(c.as_ref()), c.as_ref()))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c.to_owned())
}

/// A stage and all that it waits for. Stages are in topological order, so one pass backwards is enough.
fn upstream(graph: &Graph, id: StageId) -> Vec<bool> {
    let mut marked = vec![false; graph.stages.len()];
    marked[id] = true;
    for stage in (0..=id).rev() {
        if marked[stage] {
            for &up in graph.stages[stage].reads.iter().chain(&graph.stages[stage].needs) {
                marked[up] = true;
            }
        }
    }
    marked
}

/// A stage and all that waits for it.
pub(super) fn downstream(graph: &Graph, id: StageId) -> Vec<bool> {
    let mut marked = vec![false; graph.stages.len()];
    marked[id] = true;
    for stage in id + 1..graph.stages.len() {
        let node = &graph.stages[stage];
        marked[stage] = node.reads.iter().chain(&node.needs).any(|&up| marked[up]);
    }
    marked
}
