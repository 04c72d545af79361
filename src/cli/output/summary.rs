//! The closing summary of a run, for people and for programs.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::scores::scores;
use super::{Align, Table};
use crate::engine::{RunSummary, StageStatus, StageSummary};
use crate::raster::ClassTable;

/// `{"run","ok","seconds","stages":[{"name","status","tasks":{"ran","cached"},"seconds","outputs":{name: path}}]}`
pub(in crate::cli) fn summary_json(summary: &RunSummary) -> Value {
    let stages: Vec<Value> = summary.stages.iter().map(stage_json).collect();
    json!({
        "run": summary.run,
        "ok": summary.ok,
        "interrupted": summary.interrupted,
        "seconds": rounded(summary.seconds),
        "stages": stages,
        "failures": summary.failures,
        "why": summary.why,
        "cut_short": summary.cut_short,
    })
}

fn stage_json(stage: &StageSummary) -> Value {
    let outputs: Map<String, Value> = stage.outputs.iter().map(|(name, path)| (name.clone(), json!(path))).collect();
    json!({
        "name": stage.name,
        "status": stage.status,
        "tasks": stage.tasks,
        "seconds": rounded(stage.seconds),
        "outputs": outputs,
    })
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Stages with what became of them, the score table, where the figures are.
pub(in crate::cli) fn summary_text(summary: &RunSummary, classes: &ClassTable) -> String {
    let mut table =
        Table::new([("stage", Align::Left), ("", Align::Left), ("tasks", Align::Left), ("seconds", Align::Right)]);
    for stage in &summary.stages {
        table.row([stage.name.clone(), status_word(stage.status).into(), tasks(stage), seconds(stage.seconds)]);
    }
    let mut text = format!("\n{}", table.render("  "));
    if let Some(scores) = scores(summary, classes) {
        text += &format!("\n{scores}");
    }
    for cut in &summary.cut_short {
        text += &format!("\n  {cut} was cut short by the budget; the next run goes on from its checkpoint\n");
    }
    let figures = outputs(summary, "jpg");
    if !figures.is_empty() {
        text += "\n  figures\n";
        figures.iter().take(MOST_FIGURES).for_each(|path| text += &format!("    {}\n", shown(path)));
        if let Some(more) = figures.len().checked_sub(MOST_FIGURES).filter(|&more| more > 0) {
            text += &format!("    and {more} more beside them\n");
        }
    }
    let how = if summary.ok {
        "done"
    } else if summary.interrupted {
        "interrupted"
    } else {
        "failed"
    };
    text += &format!("\n  {how} in {} s\n", seconds(summary.seconds));
    if summary.interrupted {
        text += "  the same command goes on from here\n";
    }
    text
}

/// Figures named one by one, at most.
const MOST_FIGURES: usize = 8;

fn status_word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Ran => "ran",
        StageStatus::Cached => "cached",
        StageStatus::Failed => "FAILED",
        StageStatus::Skipped => "skipped",
    }
}

fn tasks(stage: &StageSummary) -> String {
    let counts = &stage.tasks;
    let parts = [
        (counts.ran, "ran"),
        (counts.cached, "cached"),
        (counts.fetched, "fetched"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
    ];
    let named: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    named.join(", ")
}

fn seconds(seconds: f64) -> String {
    if seconds == 0.0 {
        "-".into()
    } else if seconds < 10.0 {
        format!("{seconds:.2}")
    } else {
        format!("{seconds:.0}")
    }
}

/// Paths of all outputs with this extension, in the order of stages.
fn outputs(summary: &RunSummary, extension: &str) -> Vec<std::path::PathBuf> {
    let all = summary.stages.iter().flat_map(|s| s.outputs.values());
    all.filter(|path| path.extension().is_some_and(|e| e == extension)).cloned().collect()
}

/// Relative to the current directory where that is shorter to read.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    short.display().to_string()
}
