//! `s2pipe cache du|gc|verify|pin|unpin`: keeping the cache in order.

use super::cache::not_found;
use crate::cli::args::CacheDir;
use crate::cli::args_cache::GcArgs;
use crate::cli::exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Align, Table, bytes, print, print_json};
use crate::cli::project::standalone_cache;
use crate::engine::{CacheError, CollectOptions, Collected, Usage, Verified};

/// Says what takes how much room.
pub(in crate::cli) fn cache_du(dir: &CacheDir, json: bool) -> Result<(), Failure> {
    let cache = standalone_cache(dir)?;
    let usage = cache.usage();
    if json { print_json(&usage) } else { print(&usage_text(&usage)) }
}

fn usage_text(usage: &Usage) -> String {
    let mut table = Table::new([("", Align::Left), ("count", Align::Right), ("size", Align::Right)]);
    for stage in &usage.stages {
        let name = format!("{}/{}", stage.pipeline, stage.stage);
        table.row([name, stage.room.count.to_string(), bytes(stage.room.bytes)]);
    }
    let others = [
        ("older results", usage.older),
        ("files without a result", usage.orphans),
        ("checkpoints of unfinished tasks", usage.checkpoints),
        ("records of runs", usage.runs),
    ];
    for (name, room) in others.iter().filter(|(_, room)| room.count > 0) {
        table.row([(*name).to_owned(), room.count.to_string(), bytes(room.bytes)]);
    }
    table.row(["in all".to_owned(), String::new(), bytes(usage.bytes)]);
    let mut text = table.render("");
    if usage.older.count + usage.orphans.count > 0 {
        text += "\n`s2pipe cache gc --dry-run` says which of the older results would go\n";
    }
    text
}

/// Removes what is not needed.
pub(in crate::cli) fn cache_gc(args: &GcArgs) -> Result<(), Failure> {
    let cache = standalone_cache(&args.cache)?;
    let options = CollectOptions {
        older_than: args.older_than,
        max_bytes: args.max_size,
        grace: args.grace,
        dry_run: args.dry_run,
    };
    let collected = cache.collect(&options).map_err(cache_failure)?;
    if args.json { print_json(&collected) } else { print(&collected_text(&collected)) }
}

fn collected_text(collected: &Collected) -> String {
    let mut table = Table::new([
        ("result", Align::Left),
        ("size", Align::Right),
        ("made", Align::Left),
        ("last used", Align::Left),
        ("differs from the newest by", Align::Left),
    ]);
    for result in &collected.results {
        table.row([
            result.name.clone(),
            bytes(result.bytes),
            result.created.clone(),
            result.used.clone(),
            result.differs.join("; "),
        ]);
    }
    let mut text = if collected.results.is_empty() { String::new() } else { table.render("") + "\n" };
    let verb = if collected.dry_run { "would remove" } else { "removed" };
    let mut parts = vec![counted(collected.results.len(), "result")];
    if collected.orphans > 0 {
        parts.push(format!("{} without a result", counted(collected.orphans, "file")));
    }
    if collected.checkpoints > 0 {
        parts.push(format!("checkpoints of {}", counted(collected.checkpoints, "unfinished task")));
    }
    let (freed, left) = (bytes(collected.bytes), bytes(collected.bytes_left));
    text += &format!("{verb} {}: {freed}; {left} stay\n", parts.join(", "));
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Reads every stored byte.
pub(in crate::cli) fn cache_verify(dir: &CacheDir, repair: bool, json: bool) -> Result<(), Failure> {
    let verified = standalone_cache(dir)?.verify(repair).map_err(cache_failure)?;
    if json {
        print_json(&verified)?;
    } else {
        print(&verified_text(&verified))?;
    }
    if verified.is_sound() || repair { Ok(()) } else { Err(Failure::silent(exit::FAILED)) }
}

fn verified_text(verified: &Verified) -> String {
    let mut text = String::new();
    for damage in &verified.damaged {
        let found = damage.found.map_or_else(|| "cannot be read".to_owned(), |found| format!("holds {found}"));
        text += &format!("damaged: {}\n  expected {}, {found}\n", damage.path.display(), damage.expected);
        let users = if damage.used_by.is_empty() { "nothing".to_owned() } else { damage.used_by.join(", ") };
        text += &format!("  needed by {users}\n");
    }
    for path in &verified.strange {
        text += &format!("strange: {} is no file of this cache's format\n", path.display());
    }
    if !verified.incomplete.is_empty() {
        let count = counted(verified.incomplete.len(), "result");
        text += &format!("{count} whose files are gone; they are made again when they are needed\n");
    }
    text += &format!("{} read, {}: ", counted(verified.files, "file"), bytes(verified.bytes));
    text += &match (verified.damaged.len() + verified.strange.len(), verified.repaired) {
        (0, _) => "all as they should be\n".to_owned(),
        (bad, true) => format!("{bad} bad and removed; the next run makes again what it needs\n"),
        (bad, false) => format!("{bad} bad; `s2pipe cache verify --repair` removes them\n"),
    };
    text
}

/// Protects a run or a result, or lists what is protected.
pub(in crate::cli) fn cache_pin(name: Option<&str>, dir: &CacheDir) -> Result<(), Failure> {
    let cache = standalone_cache(dir)?;
    if let Some(name) = name {
        let pin = cache.pin(name).map_err(not_found)?;
        return print(&format!("pinned {}\n", meant(&pin)));
    }
    let mut table = Table::new([("pin", Align::Left), ("since", Align::Left), ("what", Align::Left)]);
    for pin in cache.pins() {
        table.row([pin.name.clone(), pin.since.clone(), meant(&pin)]);
    }
    print(&table.render(""))
}

/// Takes a pin away.
pub(in crate::cli) fn cache_unpin(name: &str, dir: &CacheDir) -> Result<(), Failure> {
    match standalone_cache(dir)?.unpin(name).map_err(not_found)? {
        Some(pin) => print(&format!("no longer pinned: {}\n", meant(&pin))),
        None => Err(Failure::failed(format!("{name:?} is not pinned"))
            .help("`s2pipe cache pin` without a name lists the pins".to_owned())),
    }
}

fn meant(pin: &crate::engine::Pin) -> String {
    match (&pin.run, &pin.key) {
        (Some(run), _) => format!("run {run}"),
        (None, Some(key)) => format!("the result {key}"),
        (None, None) => "nothing".to_owned(),
    }
}

fn cache_failure(error: CacheError) -> Failure {
    let help = error.help();
    Failure::failed(error).help(help)
}
