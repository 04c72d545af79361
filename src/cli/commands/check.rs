//! `s2pipe check`: is the pipeline right?

use crate::cli::args::PipelineArgs;
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::project::Project;

/// Checks a pipeline, splits it into tasks, and says how many there are.
pub(in crate::cli) fn check(args: &PipelineArgs) -> Result<(), Failure> {
    let project = Project::load(args)?;
    project.warn();
    let graph = project.graph()?;
    let variants = match graph.stages.iter().map(|s| s.variants.len()).max() {
        None | Some(0) => String::new(),
        Some(n) => format!(" in {n} variants"),
    };
    print(&format!(
        "{}: {} stages, {} tasks{variants}, no mistakes found\n",
        project.pipeline.file.display(),
        graph.stages.len(),
        graph.tasks.len()
    ))
}
