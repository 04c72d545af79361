//! `s2pipe runs diff`: two runs side by side.

use super::cache::{SHOWN_DIGITS, not_found};
use crate::cli::args::CacheDir;
use crate::cli::failure::Failure;
use crate::cli::output::{Align, Table, print, print_json};
use crate::cli::project::standalone_cache;
use crate::engine::{Pair, RunDiff};

/// Compares two runs.
pub(in crate::cli) fn runs_diff((a, b): (&str, &str), dir: &CacheDir, json: bool) -> Result<(), Failure> {
    let cache = standalone_cache(dir)?;
    let record = |name: &str| cache.run_record(name).map_err(not_found);
    let diff = RunDiff::of(&record(a)?, &record(b)?);
    if json { print_json(&diff) } else { print(&as_text(&diff)) }
}

fn as_text(diff: &RunDiff) -> String {
    let mut text =
        section("parameters", &diff.parameters, (&diff.a, &diff.b), ToString::to_string, |_, _| String::new());
    text += &section("data", &diff.data, (&diff.a, &diff.b), |digest| short(&digest.hex()), |_, _| String::new());
    text +=
        &section("scores", &diff.scores, (&diff.a, &diff.b), |v| format!("{v:.4}"), |a, b| format!("{:+.4}", b - a));
    text += &section("seconds", &diff.seconds, (&diff.a, &diff.b), |v| format!("{v:.1}"), |_, _| String::new());
    let results: Vec<String> = diff.results.iter().map(|pair| format!("  {}\n", pair.name)).collect();
    if !results.is_empty() {
        text += &format!("results with other bytes\n{}", results.concat());
    }
    if diff.parameters.is_empty() && diff.data.is_empty() && diff.results.is_empty() {
        text += "no difference in parameters, data or results\n";
    }
    if !diff.complete {
        text += "one of the runs was killed, or made by a version that kept less: what it did not write down is not compared\n";
    }
    text
}

/// One table; nothing where there is nothing to show.
fn section<T>(
    title: &str,
    pairs: &[Pair<T>],
    (a, b): (&str, &str),
    show: impl Fn(&T) -> String,
    change: impl Fn(&T, &T) -> String,
) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let mut table = Table::new([(title, Align::Left), (a, Align::Right), (b, Align::Right), ("", Align::Right)]);
    for pair in pairs {
        let cell = |value: &Option<T>| value.as_ref().map_or_else(|| "-".to_owned(), &show);
        let change = match (&pair.a, &pair.b) {
            (Some(a), Some(b)) => change(a, b),
            _ => String::new(),
        };
        table.row([format!("  {}", pair.name), cell(&pair.a), cell(&pair.b), change]);
    }
    format!("{}\n", table.render(""))
}

fn short(digest: &str) -> String {
    digest.chars().take(SHOWN_DIGITS).collect()
}
