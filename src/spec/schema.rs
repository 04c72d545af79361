//! The JSON schema of the language, made from the kinds' definitions, for editors.
//!
//! Draft 7: what the YAML language server knows best. It checks what a schema can: keys, types, bounds, choices. What
//! references and globs mean is for [`super::load`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::check::default_kind;
use super::expect::variant_names;
use super::kind::{Default, InputSpec, KindSpec, ParamSpec, ParamType, VariantSpec};
use super::limits::MEMORY_PATTERN;
use super::site::{allocation_schema, executor_schema, remote_schema, slurm_schema};
use super::sweep::SEED_AXIS;
use super::words::{
    LABEL_PATTERN, MAX_CPUS, MAX_GPUS, MAX_RETRIES, NAME_PATTERN, PIPELINE_PATTERN, TOP_KEYS, VARIABLE_PATTERN,
};

/// Label codes 1..=255 as keys.
const CODE_PATTERN: &str = "^([1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$";

/// Durations in hours, minutes and seconds, at least one of them.
pub(super) const DURATION_PATTERN: &str = "^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+s)?$";

/// The JSON schema (draft 7) of a pipeline file in which these stage kinds are known.
pub fn schema(kinds: &[&'static KindSpec]) -> Value {
    let mut definitions = Map::new();
    definitions.insert("stage".into(), stage(kinds));
    definitions.insert("class".into(), class());
    definitions.insert("source".into(), source());
    definitions.insert("axis".into(), any_axis());
    definitions.insert("allocation".into(), allocation_schema());
    for kind in kinds {
        let mut with = params(kind.params, None, kind.doc);
        // What is required may stand in `matrix` instead: see `of_kind`.
        (with["type"], with["required"]) = (json!(["object", "null"]), json!([]));
        definitions.insert(format!("{}.with", kind.name), with);
        definitions.insert(format!("{}.inputs", kind.name), inputs(kind));
        definitions.insert(format!("{}.matrix", kind.name), matrix(kind));
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "s2pipe pipeline",
        "description": "A graph of stages from Sentinel-2 tiles to a scored land-cover map.",
        "type": "object",
        "required": ["stages"],
        "additionalProperties": false,
        "properties": {
            "name": {
                "description": "Names the folder of the results. Default: the file's name without extension.",
                "type": "string",
                "pattern": PIPELINE_PATTERN,
            },
            "seed": {
                "description": "Seed of everything random.",
                "type": "integer", "minimum": 0, "maximum": u64::MAX, "default": 0,
            },
            "budget": {
                "description": "Longest time for the whole run, such as 90s, 12m, 4h or 1h30m.",
                "type": "string", "pattern": DURATION_PATTERN, "not": { "pattern": "^[0hms]*$" },
            },
            "allow_overlap": {
                "description": "Score scenes that were trained on, or that share ground with such. Default: refuse.",
                "type": "boolean", "default": false,
            },
            "root": {
                "description": "What relative paths are relative to; itself relative to the folder of this file.",
                "type": "string", "minLength": 1,
            },
            "classes": {
                "description": "Label code in the truth raster -> name and colour. 0 means no label and is no class.",
                "type": ["object", "null"],
                "patternProperties": { CODE_PATTERN: { "$ref": "#/definitions/class" } },
                "additionalProperties": false,
            },
            "stages": {
                "description": "The stages, in any order.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": { "pattern": NAME_PATTERN, "not": { "enum": TOP_KEYS } },
                "additionalProperties": { "$ref": "#/definitions/stage" },
            },
            "executor": executor_schema(),
            "slurm": slurm_schema(kinds),
            "remote": remote_schema(),
        },
        "definitions": definitions,
    })
}

fn class() -> Value {
    json!({
        "type": "object",
        "required": ["name", "color"],
        "additionalProperties": false,
        "properties": {
            "name": { "description": "Name in figures and tables.", "type": "string", "minLength": 1 },
            "color": { "description": "#rrggbb in quotes, or a CSS colour name.", "type": "string" },
        },
    })
}

fn source() -> Value {
    // The same text may be a stage, an output or a path, and a number may be a file's name.
    let one = json!({ "type": ["string", "number"] });
    json!({
        "description": "A stage, stage.output, or a path or glob; or a list of these.",
        "oneOf": [one, { "type": "array", "minItems": 1, "items": one }],
    })
}

fn stage(kinds: &[&'static KindSpec]) -> Value {
    json!({
        "type": "object",
        "required": ["uses"],
        "additionalProperties": false,
        "properties": {
            "uses": {
                "description": "The kind of the stage.",
                "oneOf": kinds.iter().map(|k| json!({ "const": k.name, "description": k.doc })).collect::<Vec<_>>(),
            },
            "with": { "description": "Parameters.", "type": ["object", "null"] },
            "inputs": { "description": "Input -> stage, stage.output, path or glob.", "type": ["object", "null"] },
            "outputs": { "description": "Output -> path in the stage's own folder.", "type": ["object", "null"] },
            "needs": {
                "description": "Stages that must end before this one begins, without data.",
                "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }, { "type": "null" }],
            },
            "matrix": {
                "description": "Parameter, such as model.width -> its values; the stage runs with every combination.",
                "type": ["object", "null"],
            },
            "join": {
                "description": "Receive all variants of the inputs at once, instead of running once for each.",
                "type": "boolean",
            },
            "timeout": {
                "description": "Longest time for one attempt at a task, such as 90s or 10m.",
                "type": "string", "pattern": DURATION_PATTERN, "not": { "pattern": "^[0hms]*$" },
            },
            "retries": {
                "description": "How often a task that failed is tried again.",
                "type": "integer", "minimum": 0, "maximum": MAX_RETRIES, "default": 0,
            },
            "resources": resources(),
        },
        "allOf": kinds.iter().map(|k| of_kind(k)).collect::<Vec<_>>(),
    })
}

fn resources() -> Value {
    json!({
        "description": "What each task of the stage holds while it runs.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "cpus": {
                "description": "Processors, or all of them.",
                "oneOf": [{ "type": "integer", "minimum": 1, "maximum": MAX_CPUS }, { "const": "all" }],
            },
            "memory": { "description": "Memory, such as 512MB or 8GB.", "type": "string", "pattern": MEMORY_PATTERN },
            "gpus": { "description": "GPUs.", "type": "integer", "minimum": 0, "maximum": MAX_GPUS, "default": 0 },
        },
    })
}

fn of_kind(kind: &KindSpec) -> Value {
    let mut properties = Map::new();
    properties.insert("with".into(), json!({ "$ref": format!("#/definitions/{}.with", kind.name) }));
    properties.insert("inputs".into(), json!({ "$ref": format!("#/definitions/{}.inputs", kind.name) }));
    properties.insert("outputs".into(), if kind.free_outputs { outputs() } else { Value::Bool(false) });
    properties.insert("matrix".into(), json!({ "$ref": format!("#/definitions/{}.matrix", kind.name) }));
    if !kind.free_inputs {
        properties.insert("join".into(), json!({ "const": kind.joins }));
    }
    let mut required = Vec::new();
    required.extend(kind.inputs.iter().any(|i| i.required).then_some("inputs"));
    let mut then = json!({ "required": required, "properties": properties });
    let needed: Vec<&str> = kind.params.iter().filter(|p| p.default == Default::Required).map(|p| p.name).collect();
    if !needed.is_empty() {
        // What a matrix gives need not stand in `with`.
        let given = |name: &&str| {
            json!({ "anyOf": [
                { "required": ["with"], "properties": { "with": { "type": "object", "required": [name] } } },
                { "required": ["matrix"], "properties": { "matrix": { "type": "object", "required": [name] } } },
            ] })
        };
        then["allOf"] = needed.iter().map(given).collect();
    }
    json!({ "if": { "required": ["uses"], "properties": { "uses": { "const": kind.name } } }, "then": then })
}

/// The axes that a stage can have: every parameter by its path.
fn matrix(kind: &KindSpec) -> Value {
    let mut axes = BTreeMap::new();
    add_axes(kind.params, "", &format!("#/definitions/{}.with", kind.name), &mut axes);
    let axes = axes.into_iter().map(|(path, (doc, places))| {
        let refs: Vec<Value> = places.iter().map(|place| json!({ "$ref": place })).collect();
        // Parts of several variants may have the same path and other bounds: then any of them will do.
        let value = if refs.len() == 1 { refs[0].clone() } else { json!({ "anyOf": refs }) };
        (path, axis(&value, doc))
    });
    let mut axes: Map<String, Value> = axes.collect();
    let seed = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    axes.insert(SEED_AXIS.into(), axis(&seed, "Seed of everything random in this stage and what depends on it."));
    json!({ "type": ["object", "null"], "additionalProperties": false, "properties": axes })
}

/// What a parameter is for, and where in the schema it is described: in one place, or in several variants.
type Axes = BTreeMap<String, (&'static str, Vec<String>)>;

/// Adds parameters below a path; `place` leads to their map in the schema.
fn add_axes(specs: &'static [ParamSpec], above: &str, place: &str, axes: &mut Axes) {
    for spec in specs {
        let path = format!("{above}{}", spec.name);
        let below = format!("{path}.");
        let place = format!("{place}/properties/{}", spec.name);
        match spec.ty {
            ParamType::Object(inner) => add_axes(inner, &below, &place, axes),
            ParamType::Variant(variants) => {
                let kind = axes.entry(format!("{below}kind")).or_insert((spec.doc, Vec::new()));
                kind.1.push(format!("{place}/properties/kind"));
                for (index, variant) in variants.iter().enumerate() {
                    add_axes(variant.params, &below, &format!("{place}/allOf/{index}/then"), axes);
                }
            }
            _ => {}
        }
        axes.entry(path).or_insert((spec.doc, Vec::new())).1.push(place);
    }
}

/// A list of plain values, or a map of named ones; keywords for lists do not concern maps, nor the other way round.
fn any_axis() -> Value {
    json!({
        "type": ["array", "object"],
        "minItems": 1,
        "items": { "type": ["string", "number", "boolean"] },
        "minProperties": 1,
        "propertyNames": { "pattern": LABEL_PATTERN },
    })
}

fn axis(value: &Value, doc: &str) -> Value {
    json!({
        "description": doc,
        "allOf": [{ "$ref": "#/definitions/axis" }],
        "items": value,
        "additionalProperties": value,
    })
}

fn outputs() -> Value {
    json!({
        "type": ["object", "null"],
        "propertyNames": { "pattern": NAME_PATTERN },
        "additionalProperties": {
            "description": "A file or folder below the stage's own empty folder.",
            "type": "string",
            "pattern": r"^[^/*?\[][^*?\[]*$",
            "not": { "pattern": r"(^|/)\.\.(/|$)|^[./]*$" },
        },
    })
}

fn inputs(kind: &KindSpec) -> Value {
    if kind.free_inputs {
        return json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": VARIABLE_PATTERN },
            "additionalProperties": { "$ref": "#/definitions/source" },
        });
    }
    let properties: Map<String, Value> = kind.inputs.iter().map(|i| (i.name.to_owned(), input(i))).collect();
    let required: Vec<&str> = kind.inputs.iter().filter(|i| i.required).map(|i| i.name).collect();
    closed(properties, &required)
}

/// A map with these keys. It may be empty (null) where no key is required.
fn closed(properties: Map<String, Value>, required: &[&str]) -> Value {
    let ty = if required.is_empty() { json!(["object", "null"]) } else { json!("object") };
    json!({ "type": ty, "required": required, "additionalProperties": false, "properties": properties })
}

fn input(spec: &InputSpec) -> Value {
    // `allOf`, as draft 7 ignores what stands beside a `$ref`.
    json!({ "description": spec.doc, "allOf": [{ "$ref": "#/definitions/source" }] })
}

/// A map of parameters; `kind` is the word that selects it among variants.
fn params(specs: &[ParamSpec], kind: Option<&VariantSpec>, doc: &str) -> Value {
    let mut properties = Map::new();
    properties.extend(kind.map(|v| ("kind".to_owned(), json!({ "const": v.kind, "description": v.doc }))));
    properties.extend(specs.iter().map(|p| (p.name.to_owned(), param(p))));
    let required: Vec<&str> = specs.iter().filter(|p| p.default == Default::Required).map(|p| p.name).collect();
    let mut schema = closed(properties, &required);
    schema["description"] = doc.into();
    schema
}

fn param(spec: &ParamSpec) -> Value {
    let mut schema = of_type(&spec.ty, spec.default);
    schema["description"] = spec.doc.into();
    if let Default::Json(text) = spec.default
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        schema["default"] = value;
    }
    schema
}

fn of_type(ty: &ParamType, default: Default) -> Value {
    match ty {
        ParamType::Bool => json!({ "type": "boolean" }),
        ParamType::Int { min, max } => integer(*min, *max),
        ParamType::IntOrWord { min, max, word } => json!({ "oneOf": [integer(*min, *max), { "const": word }] }),
        ParamType::Float { min, max } => {
            let mut schema = json!({ "type": "number" });
            let positive = *min == f64::MIN_POSITIVE;
            bound(&mut schema, "exclusiveMinimum", positive.then(|| json!(0)));
            bound(&mut schema, "minimum", (*min > f64::MIN && !positive).then(|| json!(min)));
            bound(&mut schema, "maximum", (*max < f64::MAX).then(|| json!(max)));
            schema
        }
        ParamType::Text => json!({ "type": "string" }),
        ParamType::Files => json!({ "type": "string", "minLength": 1 }),
        ParamType::Choice(words) => json!({ "enum": words }),
        ParamType::Duration => json!({ "type": "string", "pattern": DURATION_PATTERN }),
        ParamType::List(item) => json!({ "type": "array", "items": of_type(item, Default::Required) }),
        ParamType::Class => {
            json!({ "oneOf": [{ "type": "string", "minLength": 1 }, { "type": "integer", "minimum": 1, "maximum": 255 }] })
        }
        ParamType::Variable => json!({ "type": "string", "pattern": VARIABLE_PATTERN }),
        ParamType::Variables => json!({
            "type": "object",
            "propertyNames": { "pattern": VARIABLE_PATTERN },
            "additionalProperties": { "type": ["string", "number"] },
        }),
        ParamType::Object(specs) => {
            let mut schema = params(specs, None, "");
            // Unlike `with:` itself, a parameter that is named must have a value.
            schema["type"] = "object".into();
            schema
        }
        ParamType::Variant(variants) => variant(variants, default_kind(default).as_deref()),
    }
}

fn integer(min: i64, max: i64) -> Value {
    let mut schema = json!({ "type": "integer" });
    bound(&mut schema, "minimum", (min != i64::MIN).then(|| json!(min)));
    bound(&mut schema, "maximum", (max != i64::MAX).then(|| json!(max)));
    schema
}

fn bound(schema: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        schema[key] = value;
    }
}

/// `if` and `then` by `kind` rather than `oneOf`: an editor then names the wrong key instead of "matches none".
fn variant(variants: &[VariantSpec], default: Option<&str>) -> Value {
    let names: Vec<&str> = variant_names(variants).collect();
    let branches: Vec<Value> = variants
        .iter()
        .map(|v| {
            let named = json!({ "properties": { "kind": { "const": v.kind } } });
            let mut condition = named;
            if default != Some(v.kind) {
                // Without `kind`, the condition would hold for any kind: it is the default's alone.
                condition["required"] = json!(["kind"]);
            }
            let mut body = params(v.params, Some(v), v.doc);
            body["type"] = "object".into();
            json!({ "if": condition, "then": body })
        })
        .collect();
    let required: &[&str] = if default.is_some() { &[] } else { &["kind"] };
    json!({
        "type": "object",
        "required": required,
        "properties": { "kind": { "enum": names } },
        "allOf": branches,
    })
}
