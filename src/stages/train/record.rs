//! What of a stage's settings is in a training's record, and so in its key.

use serde_json::{Map, Value, json};

use super::init;
use super::models::{BLOCKS, PLAIN};

/// Settings of `augment` that came after the first version, and what each is where it is off.
fn off_by_default() -> [(&'static str, Value); 5] {
    [
        ("jitter_scene", json!(0.0)),
        ("scale", json!([1.0, 1.0])),
        ("noise", json!(0.0)),
        ("drop_bands", json!(0.0)),
        ("cutmix", json!(0.0)),
    ]
}

/// The settings without those that change nothing: a training that does without something new is the one that it was
/// before there was the choice, and is not done again.
pub(in crate::stages) fn record(with: &Map<String, Value>) -> Value {
    let mut record = with.clone();
    if let Some(Value::Object(augment)) = record.get_mut("augment") {
        let off = off_by_default();
        augment.retain(|name, value| !off.iter().any(|(known, off)| known == name && off == value));
    }
    if let Some(Value::Object(model)) = record.get_mut("model") {
        model.retain(|name, value| !(name == "block" && value == PLAIN || name == "encoder" && value == BLOCKS));
    }
    // An input of the task, which counts by its content and not by where it lies.
    record.remove(init::NAME);
    Value::Object(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(augment: Value) -> Value {
        record(json!({ "epochs": 3, "augment": augment }).as_object().unwrap())
    }

    #[test]
    fn what_is_off_is_not_in_the_record() {
        let old = json!({ "flips": true, "jitter": 0.0 });
        let mut new = old.clone();
        for (name, off) in off_by_default() {
            new[name] = off;
        }
        assert_eq!(recorded(new.clone()), json!({ "epochs": 3, "augment": old }));
        assert_eq!(recorded(old.clone()), json!({ "epochs": 3, "augment": old }), "what was always there stays");
        (new["noise"], new["scale"]) = (json!(0.1), json!([1.0, 2.0]));
        let kept = json!({ "flips": true, "jitter": 0.0, "noise": 0.1, "scale": [1.0, 2.0] });
        assert_eq!(recorded(new), json!({ "epochs": 3, "augment": kept }));
    }

    #[test]
    fn an_encoder_of_blocks_is_what_there_is_without_one_and_where_a_file_lies_does_not_count() {
        let of = |with: Value| record(with.as_object().unwrap());
        let blocks = json!({ "model": { "kind": "unet", "encoder": "blocks" }, "init": "some/where.safetensors" });
        assert_eq!(of(blocks), json!({ "model": { "kind": "unet" } }));
        let resnet = json!({ "model": { "kind": "unet", "encoder": "resnet18" } });
        assert_eq!(of(resnet.clone()), resnet);
    }

    #[test]
    fn a_plain_block_is_what_there_is_without_one() {
        let of = |model: Value| record(json!({ "model": model }).as_object().unwrap());
        let unet = json!({ "kind": "unet", "width": 8 });
        assert_eq!(of(json!({ "kind": "unet", "width": 8, "block": "plain" })), json!({ "model": unet }));
        let residual = json!({ "kind": "unet", "block": "residual" });
        assert_eq!(of(residual.clone()), json!({ "model": residual }));
    }

    /// The values that are left out are those that reading fills in.
    #[test]
    fn what_is_left_out_reads_as_off() {
        let read = |value: Value| serde_json::from_value::<crate::net::augment::AugmentConfig>(value).unwrap();
        let written: Map<String, Value> =
            off_by_default().map(|(name, off)| (name.to_owned(), off)).into_iter().collect();
        assert_eq!(read(Value::Object(written)), read(json!({})));
    }
}
