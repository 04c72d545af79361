//! `slurm:`: what a cluster is asked for, for all stages, by kind and by stage.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::spec::node::{Entry, Node, NodeKind};
use crate::spec::problem::Problem;
use crate::spec::scalar::{Atom, float_advice};
use crate::spec::site::{Allocation, SlurmSettings};
use crate::spec::suggest::did_you_mean;
use crate::spec::words::{
    ALLOCATION_KEYS, MAX_ARRAY, MAX_CPUS, MAX_GPUS, MAX_NODES, MAX_PACK, MAX_SUBMIT_RATE, NAME_RULE, SLURM_KEYS,
    is_name,
};

use super::limits::{count, memory};
use super::sbatch::options;
use super::site::{Known, entries, line, text};
use super::top::{duration, unknown_keys};

/// Reads `slurm:`.
pub(super) fn slurm(node: &Node, known: &Known<'_>, problems: &mut Vec<Problem>) -> SlurmSettings {
    let entries = entries(node, "slurm", "slurm: { partition: normal, time: 1h }", problems);
    let keys: Vec<&str> = ALLOCATION_KEYS.into_iter().chain(SLURM_KEYS).collect();
    unknown_keys(entries, &keys, "`slurm`", problems);
    let given = |key: &str| entries.iter().find(|e| e.key == key).map(|e| &e.value);
    SlurmSettings {
        all: allocation(entries, "slurm", problems),
        kinds: given("kinds").map(|node| kinds(node, known, problems)).unwrap_or_default(),
        stages: given("stages").map(|node| stages(node, known, problems)).unwrap_or_default(),
        array: given("array").and_then(|node| count(node, "slurm.array", 1, MAX_ARRAY, problems)),
        submit_rate: given("submit_rate").and_then(|node| submit_rate(node, problems)),
    }
}

type ByName = BTreeMap<String, Allocation>;

fn kinds(node: &Node, known: &Known<'_>, problems: &mut Vec<Problem>) -> ByName {
    let names: Vec<&str> = known.kinds.iter().map(|k| k.name).collect();
    by_name(node, "kinds", problems, |entry| {
        if names.contains(&entry.key.as_str()) {
            return None;
        }
        let stage = known.stages.iter().flatten().any(|stage| *stage == entry.key);
        let help = stage.then(|| format!("`{}` is a stage: write it under `slurm.stages`", entry.key));
        Some(
            Problem::at(entry.key_place, format!("slurm.kinds: there is no stage kind `{}`", entry.key))
                .label("unknown kind")
                .maybe_help(help.or_else(|| did_you_mean(&entry.key, &names, "kinds"))),
        )
    })
}

fn stages(node: &Node, known: &Known<'_>, problems: &mut Vec<Problem>) -> ByName {
    by_name(node, "stages", problems, |entry| {
        let name = entry.key.as_str();
        match &known.stages {
            Some(stages) if stages.contains(&name) => None,
            Some(stages) => {
                let kind = known.kinds.iter().any(|kind| kind.name == name);
                let help = kind.then(|| format!("`{name}` is a stage kind: write it under `slurm.kinds`"));
                Some(
                    Problem::at(entry.key_place, format!("slurm.stages: the pipeline has no stage `{name}`"))
                        .label("unknown stage")
                        .maybe_help(help.or_else(|| did_you_mean(name, stages, "stages"))),
                )
            }
            None if is_name(name) => None,
            None => Some(
                Problem::at(entry.key_place, format!("slurm.stages: no stage can be called `{name}`"))
                    .label("not a stage name")
                    .help(format!("expected {NAME_RULE}")),
            ),
        }
    })
}

/// Settings by a name, each of which `wrong` looks at.
fn by_name(node: &Node, key: &str, problems: &mut Vec<Problem>, wrong: impl Fn(&Entry) -> Option<Problem>) -> ByName {
    let example = "{ train: { partition: accel, gpus: 1, time: 6h } }";
    let named = entries(node, &format!("slurm.{key}"), &format!("{key}: {example}"), problems);
    problems.extend(named.iter().filter_map(&wrong));
    named
        .iter()
        .map(|entry| {
            let path = format!("slurm.{key}.{}", entry.key);
            let settings = entries(&entry.value, &path, &format!("{}: {{ time: 6h, pack: 1 }}", entry.key), problems);
            narrow_keys(settings, &path, problems);
            (entry.key.clone(), allocation(settings, &path, problems))
        })
        .collect()
}

/// Notes the keys that settings of a kind or stage must not have.
fn narrow_keys(settings: &[Entry], path: &str, problems: &mut Vec<Problem>) {
    for entry in settings {
        if SLURM_KEYS.contains(&entry.key.as_str()) {
            problems.push(
                Problem::at(entry.key_place, format!("`{}` is not a key of `{path}`", entry.key))
                    .label("holds for all stages")
                    .help("write it in `slurm:` itself"),
            );
        } else {
            unknown_keys(std::slice::from_ref(entry), &ALLOCATION_KEYS, &format!("`{path}`"), problems);
        }
    }
}

/// The keys that `slurm:` and each of its kinds and stages have; `path` is where they stand.
fn allocation(entries: &[Entry], path: &str, problems: &mut Vec<Problem>) -> Allocation {
    let given = |key: &str| Some((&entries.iter().find(|e| e.key == key)?.value, format!("{path}.{key}")));
    let mut number = |key: &str, min, max| given(key).and_then(|(node, at)| count(node, &at, min, max, problems));
    let (cpus, gpus) = (number("cpus", 1, MAX_CPUS), number("gpus", 0, MAX_GPUS));
    let (nodes, pack) = (number("nodes", 1, MAX_NODES), number("pack", 1, MAX_PACK));
    Allocation {
        partition: given("partition").and_then(|(node, at)| word(node, &at, "partition: normal", problems)),
        account: given("account").and_then(|(node, at)| word(node, &at, "account: nn1234k", problems)),
        time: given("time").and_then(|(node, at)| time(node, &at, problems)),
        memory: given("memory").and_then(|(node, at)| some_memory(node, &at, problems)),
        options: given("options").and_then(|(node, at)| options(node, &at, problems)),
        setup: given("setup").and_then(|(node, at)| setup(node, &at, problems)),
        cpus,
        gpus,
        nodes,
        pack,
    }
}

/// A name of the cluster's: one word.
fn word(node: &Node, path: &str, example: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let text = line(node, path, example, problems)?;
    if text.contains(char::is_whitespace) || text.starts_with('-') {
        problems.push(
            Problem::at(node.place, format!("{path}: expected a name without blanks, found {}", node.found()))
                .label("not a name")
                .help(format!("for example `{example}`")),
        );
        return None;
    }
    Some(text.to_owned())
}

fn time(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Duration> {
    let seconds = duration(node, path, problems)?;
    if seconds == 0 {
        problems.push(
            Problem::at(node.place, format!("{path}: expected more than no time at all"))
                .help("remove `time` for as long as the cluster allows by default"),
        );
    }
    Some(Duration::from_secs(seconds))
}

fn some_memory(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<u64> {
    let bytes = memory(node, path, problems)?;
    if bytes == 0 {
        problems.push(
            Problem::at(node.place, format!("{path}: expected more than no memory at all"))
                .help("remove `memory` for what the cluster gives by default"),
        );
    }
    Some(bytes)
}

fn setup(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let example = "setup: [\"module load CUDA/12.4\"]";
    let items = list(node, path, example, problems)?;
    Some(items.iter().filter_map(|item| text(item, path, example, problems)).map(str::to_owned).collect())
}

/// The items of a list, which may be empty.
pub(super) fn list<'n>(node: &'n Node, path: &str, example: &str, problems: &mut Vec<Problem>) -> Option<&'n [Node]> {
    if let NodeKind::List(items) = &node.kind {
        return Some(items);
    }
    problems.push(
        Problem::at(node.place, format!("{path}: expected a list, found {}", node.found()))
            .label("not a list")
            .help(format!("for example `{example}`")),
    );
    None
}

fn submit_rate(node: &Node, problems: &mut Vec<Problem>) -> Option<f64> {
    let scalar = node.scalar();
    let number = scalar.and_then(|s| match s.atom {
        Atom::Int(i) => Some(i as f64),
        Atom::Float(f) => Some(f),
        _ => None,
    });
    let good = number.filter(|rate| *rate > 0.0 && *rate <= MAX_SUBMIT_RATE);
    if good.is_none() {
        let message =
            format!("slurm.submit_rate: expected a number above 0, up to {MAX_SUBMIT_RATE}, found {}", node.found());
        problems.push(
            Problem::at(node.place, message).label("not submissions a second").maybe_help(
                scalar.and_then(float_advice).or_else(|| Some("for example `submit_rate: 1.0`".to_owned())),
            ),
        );
    }
    good
}
