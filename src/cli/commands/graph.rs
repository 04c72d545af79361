//! `s2pipe graph`: the stages and what flows between them.

use crate::cli::args::{GraphArgs, GraphFormat};
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::project::Project;
use crate::engine::{graph_dot, graph_mermaid, graph_text};

/// Draws the graph.
pub(in crate::cli) fn graph(args: &GraphArgs) -> Result<(), Failure> {
    let graph = Project::load(&args.pipeline)?.graph()?;
    print(&match args.format {
        GraphFormat::Text => graph_text(&graph),
        GraphFormat::Dot => graph_dot(&graph),
        GraphFormat::Mermaid => graph_mermaid(&graph),
    })
}
