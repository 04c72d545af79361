//! `s2pipe runs`, `runs show`: the memory of runs.

use super::cache::not_found;
use crate::cli::args::CacheDir;
use crate::cli::args_runs::RunsListArgs;
use crate::cli::failure::Failure;
use crate::cli::output::{Align, Table, print, print_json};
use crate::cli::project::standalone_cache;
use crate::engine::{RunInfo, RunRecord, RunSummary, label, parameters};

/// Lists runs, the newest first.
pub(in crate::cli) fn runs_list(args: &RunsListArgs) -> Result<(), Failure> {
    let runs = standalone_cache(&args.cache)?.runs(args.pipeline.as_deref(), args.last);
    if args.json {
        return print_json(&runs);
    }
    let mut table = Table::new([
        ("run", Align::Left),
        ("pipeline", Align::Left),
        ("", Align::Left),
        ("ran", Align::Right),
        ("cached", Align::Right),
        ("seconds", Align::Right),
        ("score", Align::Left),
    ]);
    for run in &runs {
        let summary = run.summary.as_ref();
        let count = |of: fn(&crate::engine::TaskCounts) -> usize| {
            summary
                .map_or_else(String::new, |s| s.stages.iter().map(|stage| of(&stage.tasks)).sum::<usize>().to_string())
        };
        table.row([
            run.run.clone(),
            run.pipeline.clone(),
            end(run),
            count(|t| t.ran),
            count(|t| t.cached),
            summary.map_or_else(String::new, |s| format!("{:.1}", s.seconds)),
            summary.and_then(headline).unwrap_or_default(),
        ]);
    }
    print(&table.render(""))
}

fn end(run: &RunInfo) -> String {
    let pinned = if run.pinned { ", pinned" } else { "" };
    format!("{}{pinned}", run.end.word())
}

/// The first score of the last stage that has one, the highest of its variants: `evaluate jaccard 0.797`.
fn headline(summary: &RunSummary) -> Option<String> {
    let stage = summary.stages.iter().rev().find(|stage| !stage.scores.is_empty())?;
    let name = stage.scores.values().find_map(|scores| match scores.contains_key("jaccard") {
        true => Some("jaccard"),
        false => scores.keys().next().map(String::as_str),
    })?;
    let values = || stage.scores.values().filter_map(|scores| scores.get(name));
    let best = values().copied().fold(f64::NEG_INFINITY, f64::max);
    let of = match values().count() {
        1 => String::new(),
        n => format!(", the highest of {n}"),
    };
    Some(format!("{} {name} {best:.3}{of}", stage.name))
}

/// Shows one run.
pub(in crate::cli) fn runs_show(name: &str, dir: &CacheDir, json: bool) -> Result<(), Failure> {
    let run = standalone_cache(dir)?.run_record(name).map_err(not_found)?;
    if json { print_json(&run) } else { print(&as_text(&run)) }
}

fn as_text(run: &RunRecord) -> String {
    let mut facts = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut fact = |name: &str, value: String| facts.row([name.to_owned(), value]);
    fact("run", run.info.run.clone());
    fact("pipeline", run.info.pipeline.clone());
    fact("ended", end(&run.info));
    if let Some(summary) = &run.info.summary {
        fact("started", summary.started.clone());
        fact("seconds", format!("{:.1}", summary.seconds));
    }
    fact("folder", run.folder.display().to_string());
    let mut text = facts.render("");
    if let Some(summary) = &run.info.summary {
        text += &stages(summary);
        text += &scores(summary);
        if !summary.why.is_empty() {
            text += "\nran because\n";
            let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
            summary.why.iter().for_each(|(task, why)| table.row([task.clone(), why.join("; ")]));
            text += &table.render("  ");
        }
        if !summary.cut_short.is_empty() {
            text += &format!("\ncut short by the budget: {}\n", summary.cut_short.join(", "));
        }
        for failure in &summary.failures {
            text += &format!("\nfailed: {}: {}\n", label(&failure.stage, &failure.task), failure.message);
            if let Some(log) = &failure.log {
                text += &format!("  log: {}\n", log.display());
            }
        }
    }
    let parameters = parameters(run);
    if !parameters.is_empty() {
        text += "\nparameters\n";
        let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
        parameters.into_iter().for_each(|(name, value)| table.row([name, value.to_string()]));
        text += &table.render("  ");
    }
    if let Some(tasks) = &run.tasks {
        text += &format!("\n{} source files, {} results\n", tasks.sources.len(), tasks.made.len());
    }
    text
}

fn stages(summary: &RunSummary) -> String {
    let mut table = Table::new([
        ("stage", Align::Left),
        ("ran", Align::Right),
        ("cached", Align::Right),
        ("failed", Align::Right),
        ("skipped", Align::Right),
        ("seconds", Align::Right),
    ]);
    for stage in &summary.stages {
        let tasks = &stage.tasks;
        let count = |n: usize| if n == 0 { String::new() } else { n.to_string() };
        table.row([
            stage.name.clone(),
            count(tasks.ran),
            count(tasks.cached),
            count(tasks.failed),
            count(tasks.skipped),
            format!("{:.1}", stage.seconds),
        ]);
    }
    format!("\n{}", table.render("  "))
}

fn scores(summary: &RunSummary) -> String {
    let mut table = Table::new([("", Align::Left), ("", Align::Left), ("", Align::Right)]);
    let mut any = false;
    for stage in &summary.stages {
        for (task, scores) in &stage.scores {
            for (name, value) in scores {
                table.row([label(&stage.name, task), name.clone(), format!("{value:.4}")]);
                any = true;
            }
        }
    }
    if any { format!("\nscores\n{}", table.render("  ")) } else { String::new() }
}
