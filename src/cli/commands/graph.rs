//! `s2pipe graph`: the stages and what flows between them.

use crate::cli::args::{GraphArgs, GraphFormat};
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::project::Project;

/// Draws the graph.
pub(in crate::cli) fn graph(args: &GraphArgs) -> Result<(), Failure> {
    let graph = Project::load(&args.pipeline)?.graph()?;
    print(&match args.format {
        _ => graph.pipeline.clone(),
    })
}
