//! Why a task runs: the difference between its record and the newest one of the same name.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::canonical::canonical_json;
use super::record::TaskRecord;

/// One cause for a task to run. Displayed as a person would say it: `model.width 24 -> 32`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// No task of this name has been run in this cache.
    NeverRun,
    /// `--force`, or at or behind `--from`.
    Forced,
    /// A parameter is another one.
    Param {
        /// Path of the parameter with dots: `model.width`.
        name: String,
        /// Its value then; `None`: it was not there.
        from: Option<Value>,
        /// Its value now.
        to: Option<Value>,
    },
    /// The seed is another one.
    Seed {
        /// Then.
        from: Option<u64>,
        /// Now.
        to: Option<u64>,
    },
    /// The class table is another one.
    Classes,
    /// An input holds something else.
    Input {
        /// Slot name.
        slot: String,
        /// What happened to it.
        change: InputChange,
        /// Where it comes from: a file's path or `stage/task`.
        source: Option<String>,
    },
    /// The stage's code was changed.
    Code {
        /// Version then.
        from: u32,
        /// Version now.
        to: u32,
    },
    /// The stage uses another kind.
    Kind {
        /// Then.
        from: String,
        /// Now.
        to: String,
    },
    /// Other outputs are declared.
    Outputs,
    /// A result is no longer in the cache.
    Evicted {
        /// Output name; `None`: all of them.
        output: Option<String>,
    },
    /// A result in the cache has been damaged.
    Damaged {
        /// Output name.
        output: String,
    },
    /// The last attempt was cut short by the budget.
    CutShort,
    /// Inputs or parameters changed, but what they were before is no longer known.
    Unknown,
}

/// What happened to an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputChange {
    /// It holds other bytes.
    Changed,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRun => f.write_str("never run"),
            Self::Forced => f.write_str("forced"),
            Self::Param { name, from, to } => change(f, name, from.as_ref(), to.as_ref()),
            Self::Seed { from, to } => change(f, "seed", from.as_ref(), to.as_ref()),
            Self::Classes => f.write_str("the class table changed"),
            Self::Input { slot, change, source } => {
                let what = match change {
                    InputChange::Changed => "changed",
                    InputChange::Added => "is new",
                    InputChange::Removed => "is gone",
                };
                write!(f, "input {slot} {what}")?;
                source.as_ref().map_or(Ok(()), |s| write!(f, " ({s})"))
            }
            Self::Code { from, to } => write!(f, "code version {from} -> {to}"),
            Self::Kind { from, to } => write!(f, "uses {from} -> {to}"),
            Self::Outputs => f.write_str("the declared outputs changed"),
            Self::Evicted { output: Some(output) } => write!(f, "its output {output} is no longer in the cache"),
            Self::Evicted { output: None } => f.write_str("its result is no longer in the cache"),
            Self::Damaged { output } => write!(f, "its output {output} in the cache is damaged"),
            Self::CutShort => f.write_str("cut short by the budget last time"),
            Self::Unknown => f.write_str("changed since its last run, whose record is gone"),
        }
    }
}

fn change<T: fmt::Display>(f: &mut fmt::Formatter<'_>, name: &str, from: Option<&T>, to: Option<&T>) -> fmt::Result {
    match (from, to) {
        (Some(from), Some(to)) => write!(f, "{name} {from} -> {to}"),
        (None, Some(to)) => write!(f, "{name} none -> {to}"),
        (Some(from), None) => write!(f, "{name} {from} -> none"),
        (None, None) => f.write_str(name),
    }
}

/// All differences between two records; empty when they are equal. `source` tells where an input of the new record
/// comes from.
pub(super) fn differences(old: &TaskRecord, new: &TaskRecord, source: impl Fn(&str) -> Option<String>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if old.kind != new.kind {
        reasons.push(Reason::Kind { from: old.kind.clone(), to: new.kind.clone() });
    } else if old.version != new.version {
        reasons.push(Reason::Code { from: old.version, to: new.version });
    }
    params(String::new(), Some(&old.params), Some(&new.params), &mut reasons);
    if old.seed != new.seed {
        reasons.push(Reason::Seed { from: old.seed, to: new.seed });
    }
    if spelling(old.classes.as_ref()) != spelling(new.classes.as_ref()) {
        reasons.push(Reason::Classes);
    }
    inputs(old, new, source, &mut reasons);
    if old.outputs != new.outputs {
        reasons.push(Reason::Outputs);
    }
    reasons
}

fn spelling(value: Option<&Value>) -> Option<String> {
    value.map(canonical_json)
}

fn params(name: String, old: Option<&Value>, new: Option<&Value>, reasons: &mut Vec<Reason>) {
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
        let gone = old.keys().filter(|key| !new.contains_key(*key));
        for key in new.keys().chain(gone) {
            let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            params(below, old.get(key), new.get(key), reasons);
        }
    } else if spelling(old) != spelling(new) {
        let name = if name.is_empty() { "parameters".to_owned() } else { name };
        reasons.push(Reason::Param { name, from: old.cloned(), to: new.cloned() });
    }
}

/// Both lists are sorted by slot.
fn inputs(old: &TaskRecord, new: &TaskRecord, source: impl Fn(&str) -> Option<String>, reasons: &mut Vec<Reason>) {
    let find = |record: &TaskRecord, slot: &str| {
        record.inputs.binary_search_by(|i| i.slot.as_str().cmp(slot)).ok().map(|at| record.inputs[at].clone())
    };
    for input in &new.inputs {
        let change = match find(old, &input.slot) {
            None => InputChange::Added,
            Some(before) if before != *input => InputChange::Changed,
            Some(_) => continue,
        };
        reasons.push(Reason::Input { slot: input.slot.clone(), change, source: source(&input.slot) });
    }
    for input in old.inputs.iter().filter(|i| find(new, &i.slot).is_none()) {
        reasons.push(Reason::Input { slot: input.slot.clone(), change: InputChange::Removed, source: None });
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::{ContentId, Digest};
    use super::super::record::InputRecord;
    use super::*;
    use serde_json::json;

    fn record(params: Value, inputs: &[(&str, &str)]) -> TaskRecord {
        let inputs = inputs.iter().map(|(slot, bytes)| InputRecord {
            slot: (*slot).into(),
            ext: String::new(),
            content: ContentId::File(Digest::of(bytes.as_bytes())),
        });
        TaskRecord::new(("train", 1), (&params, Some(1), None), inputs.collect(), vec![])
    }

    fn said(old: &TaskRecord, new: &TaskRecord) -> Vec<String> {
        differences(old, new, |slot| Some(format!("from {slot}"))).iter().map(Reason::to_string).collect()
    }

    #[test]
    fn parameters_are_named_with_their_path() {
        let old = record(json!({"model": {"kind": "unet", "width": 24}, "epochs": 40, "lr": 1.0, "mix": 1}), &[]);
        let new = record(json!({"model": {"kind": "unet", "width": 32}, "epochs": 40, "lr": 1, "ema": 0.5}), &[]);
        assert_eq!(said(&old, &new), ["model.width 24 -> 32", "ema none -> 0.5", "mix 1 -> none"]);
        assert!(said(&old, &old.clone()).is_empty());
    }

    #[test]
    fn inputs_are_named_with_their_source() {
        let old = record(json!({}), &[("a", "1"), ("b", "2"), ("c", "3")]);
        let new = record(json!({}), &[("a", "1"), ("b", "x"), ("d", "4")]);
        assert_eq!(said(&old, &new), ["input b changed (from b)", "input d is new (from d)", "input c is gone"]);
    }

    #[test]
    fn version_seed_and_classes() {
        let old = record(json!({}), &[]);
        let mut new = old.clone();
        new.version = 2;
        new.seed = Some(7);
        new.classes = Some(json!({"1": "urban"}));
        assert_eq!(said(&old, &new), ["code version 1 -> 2", "seed 1 -> 7", "the class table changed"]);
    }
}
