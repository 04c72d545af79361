//! `timeout:`, `retries:` and `resources:` of a stage.

use std::time::Duration;

use crate::spec::limits::{Cpus, Limits, Resources, parse_bytes};
use crate::spec::node::{Entry, Node};
use crate::spec::problem::Problem;
use crate::spec::scalar::{Atom, int_advice};
use crate::spec::words::{MAX_CPUS, MAX_GPUS, MAX_RETRIES, RESOURCE_KEYS};

use super::top::{duration, unknown_keys};

/// Reads the limits of a stage.
pub(super) fn limits(stage: &Entry, problems: &mut Vec<Problem>) -> Limits {
    let given = |key: &str| stage.value.get(key).map(|e| &e.value);
    let name = |key: &str| format!("{}.{key}", stage.key);
    Limits {
        timeout: given("timeout").and_then(|node| timeout(node, &name("timeout"), problems)),
        retries: given("retries").and_then(|n| count(n, &name("retries"), 0, MAX_RETRIES, problems)).unwrap_or(0),
        resources: given("resources").map(|node| resources(node, &stage.key, problems)).unwrap_or_default(),
    }
}

fn timeout(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Duration> {
    let seconds = duration(node, path, problems)?;
    if seconds == 0 {
        problems.push(
            Problem::at(node.place, format!("{path}: expected more than no time at all"))
                .help("remove `timeout` for tasks without limit"),
        );
    }
    Some(Duration::from_secs(seconds))
}

fn resources(node: &Node, stage: &str, problems: &mut Vec<Problem>) -> Resources {
    if node.is_null() {
        return Resources::default();
    }
    let Some(entries) = node.entries() else {
        let message = format!("{stage}.resources: expected a map, found {}", node.found());
        problems.push(
            Problem::at(node.place, message)
                .label("not a map")
                .help("for example `resources: { cpus: 4, memory: 8GB, gpus: 1 }`"),
        );
        return Resources::default();
    };
    unknown_keys(entries, &RESOURCE_KEYS, "`resources`", problems);
    let given = |key: &str| entries.iter().find(|e| e.key == key).map(|e| &e.value);
    let name = |key: &str| format!("{stage}.resources.{key}");
    Resources {
        cpus: given("cpus").and_then(|node| cpus(node, &name("cpus"), problems)),
        memory: given("memory").and_then(|node| memory(node, &name("memory"), problems)),
        gpus: given("gpus").and_then(|node| count(node, &name("gpus"), 0, MAX_GPUS, problems)).unwrap_or(0),
    }
}

fn cpus(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Cpus> {
    if node.text() == Some("all") {
        return Some(Cpus::All);
    }
    if node.scalar().is_some_and(|s| matches!(s.atom, Atom::Int(_))) {
        return count(node, path, 1, MAX_CPUS, problems).map(Cpus::Count);
    }
    problems.push(
        Problem::at(
            node.place,
            format!("{path}: expected a whole number from 1 to {MAX_CPUS} or `all`, found {}", node.found()),
        )
        .label("not a number of processors")
        .maybe_help(node.scalar().and_then(int_advice)),
    );
    None
}

/// An amount of memory in bytes; `path` begins the message.
pub(super) fn memory(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<u64> {
    let help = match node.scalar().filter(|s| s.atom != Atom::Null) {
        Some(scalar) => match parse_bytes(&scalar.text) {
            Ok(bytes) => return Some(bytes),
            Err(help) => help,
        },
        None => "for example `8GB`".to_owned(),
    };
    problems.push(
        Problem::at(node.place, format!("{path}: expected an amount of memory such as `8GB`, found {}", node.found()))
            .label("not an amount of memory")
            .help(help),
    );
    None
}

/// A whole number from `min` to `max`; `path` begins the message.
pub(super) fn count(node: &Node, path: &str, min: u32, max: u32, problems: &mut Vec<Problem>) -> Option<u32> {
    let scalar = node.scalar();
    let number = scalar.and_then(|s| if let Atom::Int(i) = s.atom { u32::try_from(i).ok() } else { None });
    let good = number.filter(|n| (min..=max).contains(n));
    if good.is_none() {
        problems.push(
            Problem::at(
                node.place,
                format!("{path}: expected a whole number from {min} to {max}, found {}", node.found()),
            )
            .label("not such a number")
            .maybe_help(scalar.and_then(int_advice)),
        );
    }
    good
}
