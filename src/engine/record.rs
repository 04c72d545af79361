//! The task record: everything that decides what a task's outputs are, and nothing else. Its digest is the task's key.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::canonical_json;
use super::digest::{ContentId, Digest, Key};
use super::stage::OutputDecl;

/// The record type that this program writes and reads.
pub const TASK_RECORD: &str = "s2pipe.task/1";

/// blake3 `derive_key` context of task keys: no other digest in the cache can be mistaken for one.
const KEY_CONTEXT: &str = "s2pipe 2025 task record 1: key";

/// What a task is made of. No path of this machine, time, device or thread count is in it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecord {
    /// [`TASK_RECORD`].
    pub record: String,
    /// Stage kind.
    pub kind: String,
    /// Code version of the kind.
    pub version: u32,
    /// The parameters that the task reads.
    pub params: Value,
    /// Seed, where the task uses one.
    pub seed: Option<u64>,
    /// Class table, as much of it as the task reads.
    pub classes: Option<Value>,
    /// Inputs, sorted by slot.
    pub inputs: Vec<InputRecord>,
    /// Declared outputs, sorted by name.
    pub outputs: Vec<OutputDecl>,
}

/// One input of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRecord {
    /// Slot name, e.g. `tiles/val_scene_0`.
    pub slot: String,
    /// Extension of the name under which the task sees the input (`tif`; may be empty). Programs choose their reader
    /// by it, therefore it is part of the key.
    pub ext: String,
    /// What the input holds.
    pub content: ContentId,
}

impl InputRecord {
    /// Where the input stands below the task's `in/` directory: the slot and the extension.
    pub fn link_name(&self) -> String {
        link_name(&self.slot, &self.ext)
    }
}

/// The name of an input's link: `slot.ext`, or the slot alone where it ends so already or there is no extension.
pub(super) fn link_name(slot: &str, ext: &str) -> String {
    let has_it = slot.strip_suffix(ext).is_some_and(|stem| stem.ends_with('.'));
    if ext.is_empty() || has_it { slot.to_owned() } else { format!("{slot}.{ext}") }
}

impl TaskRecord {
    /// A record of the current version; inputs and outputs are brought into canonical order.
    pub fn new(
        (kind, version): (&str, u32),
        (params, seed, classes): (&Value, Option<u64>, Option<&Value>),
        mut inputs: Vec<InputRecord>,
        mut outputs: Vec<OutputDecl>,
    ) -> Self {
        inputs.sort_by(|a, b| a.slot.cmp(&b.slot));
        outputs.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            record: TASK_RECORD.to_owned(),
            kind: kind.to_owned(),
            version,
            params: params.clone(),
            seed,
            classes: classes.cloned(),
            inputs,
            outputs,
        }
    }

    /// The canonical text that the key is computed from.
    ///
    /// # Errors
    /// When an output path is not UTF-8; [`super::Graph::expand`] refuses such tasks.
    pub fn canonical(&self) -> Result<String, serde_json::Error> {
        serde_json::to_value(self).map(|value| canonical_json(&value))
    }

    /// The task's key: blake3 in key-derivation mode over [`TaskRecord::canonical`].
    ///
    /// # Errors
    /// As [`TaskRecord::canonical`].
    pub fn key(&self) -> Result<Key, serde_json::Error> {
        self.canonical().map(|text| Key(Digest::in_context(KEY_CONTEXT, text.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(slot: &str, bytes: &[u8]) -> InputRecord {
        InputRecord { slot: slot.into(), ext: "tif".into(), content: ContentId::File(Digest::of(bytes)) }
    }

    fn record() -> TaskRecord {
        TaskRecord::new(
            ("train", 1),
            (&json!({"width": 24, "lr": 0.002}), Some(42), Some(&json!([1, 2]))),
            vec![input("b", b"2"), input("a", b"1")],
            vec![OutputDecl { name: "model".into(), path: "model".into() }],
        )
    }

    #[test]
    fn the_key_is_pinned() {
        // A change here throws away every user's cache: raise the record version and mean it.
        assert_eq!(
            record().canonical().unwrap(),
            "{\"classes\":[1,2],\"inputs\":[{\"content\":\"file:C1\",\"ext\":\"tif\",\"slot\":\"a\"},{\"content\":\"file:C2\",\
             \"ext\":\"tif\",\"slot\":\"b\"}],\"kind\":\"train\",\"outputs\":[{\"name\":\"model\",\"path\":\"model\"}],\
             \"params\":{\"lr\":2e-3,\"width\":24},\"record\":\"s2pipe.task/1\",\"seed\":42,\"version\":1}"
                .replace("C1", &Digest::of(b"1").hex())
                .replace("C2", &Digest::of(b"2").hex())
        );
    }

    #[test]
    fn each_field_changes_the_key() {
        let base = record();
        let mut keys = vec![base.key().unwrap()];
        let changes: Vec<fn(&mut TaskRecord)> = vec![
            |r| r.kind = "predict".into(),
            |r| r.version = 2,
            |r| r.params = json!({"width": 25, "lr": 0.002}),
            |r| r.seed = None,
            |r| r.classes = None,
            |r| r.inputs[0].content = ContentId::Tree(r.inputs[0].content.digest()),
            |r| r.inputs[0].slot = "c".into(),
            |r| r.inputs[0].ext = String::new(),
            |r| r.outputs[0].path = "m".into(),
        ];
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            keys.push(other.key().unwrap());
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 10);
    }

    #[test]
    fn order_and_number_spelling_do_not_change_the_key() {
        let mut other = record();
        other.params = serde_json::from_str(r#"{"lr": 2e-3, "width": 24.0}"#).unwrap();
        assert_eq!(other.key().unwrap(), record().key().unwrap());
        let text = serde_json::to_string_pretty(&record()).unwrap();
        let back: TaskRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(back.key().unwrap(), record().key().unwrap());
    }

    #[test]
    fn link_names_keep_the_extension_once() {
        assert_eq!(link_name("tiles/a", "tif"), "tiles/a.tif");
        assert_eq!(link_name("a.tif", "tif"), "a.tif");
        assert_eq!(link_name("notif", "tif"), "notif.tif");
        assert_eq!(link_name("a", ""), "a");
    }
}
