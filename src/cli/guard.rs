//! Refuses to score what was trained on.

use std::fmt::Write;

use super::failure::Failure;
use super::project::Project;
use crate::engine::{Cache, Graph};
use crate::stages::leak::{Leak, leaks};

/// Leaks named one by one, at most.
const MOST_NAMED: usize = 5;

/// Looks for scored scenes that reached training: an error, or a warning where the pipeline or the small area allows it.
pub(super) fn guard(project: &Project, graph: &Graph, cache: &Cache) -> Result<(), Failure> {
    let found = leaks(graph, cache).map_err(Failure::failed)?;
    let (grave, slight): (Vec<&Leak>, Vec<&Leak>) = found.iter().partition(|leak| leak.is_grave());
    for leak in &slight {
        tracing::warn!("{leak}");
    }
    if grave.is_empty() {
        return Ok(());
    }
    let message = describe(&grave);
    if project.pipeline.allow_overlap {
        tracing::warn!("{message} (allowed by `allow_overlap`)");
        return Ok(());
    }
    Err(Failure::usage(message).help(
        "a score on what was learnt from says nothing: take these scenes out of one split; \
         if you know why, `allow_overlap: true` at the top of the pipeline lets it pass"
            .to_owned(),
    ))
}

fn describe(leaks: &[&Leak]) -> String {
    let mut text = String::new();
    for (index, leak) in leaks.iter().take(MOST_NAMED).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}{leak}", if index == 0 { "" } else { "\n       " });
    }
    if let Some(more) = leaks.len().checked_sub(MOST_NAMED).filter(|&more| more > 0) {
        let _ = write!(text, "\n       and {more} more");
    }
    text
}
