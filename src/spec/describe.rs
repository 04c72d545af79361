//! The kinds for people: what `s2pipe stages` prints, from the same definitions that the checks use.

use serde_json::{Value, json};

use super::kind::{Artefact, Default, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType};
use super::suggest::did_you_mean;

/// A name that is no stage kind.
#[derive(Debug, thiserror::Error)]
#[error("there is no stage kind `{name}`{}", help.as_ref().map_or(String::new(), |help| format!(": {help}")))]
pub struct UnknownKind {
    /// What was asked for.
    pub name: String,
    /// The nearest kind, and all of them.
    pub help: Option<String>,
}

/// Every kind, or the one with this name, as text: its inputs, parameters with type, bounds and default, and outputs.
///
/// # Errors
/// When there is no such kind.
pub fn describe(kinds: &[&'static KindSpec], name: Option<&str>) -> Result<String, UnknownKind> {
    let parts: Vec<String> = select(kinds, name)?.into_iter().map(kind_text).collect();
    Ok(parts.join("\n"))
}

/// The same as JSON: a list of
/// `{"name","version","doc","inputs":[{"name","accepts","files","required","doc"}],"free_inputs",
/// "params":[{"name","type","words","required","default","doc",…}],"outputs":[{"name","holds","when","doc"}],"free_outputs","joins"}`.
///
/// # Errors
/// When there is no such kind.
pub fn describe_json(kinds: &[&'static KindSpec], name: Option<&str>) -> Result<Value, UnknownKind> {
    Ok(select(kinds, name)?.into_iter().map(kind_json).collect())
}

fn select(kinds: &[&'static KindSpec], name: Option<&str>) -> Result<Vec<&'static KindSpec>, UnknownKind> {
    let Some(name) = name else { return Ok(kinds.to_vec()) };
    let names: Vec<&str> = kinds.iter().map(|k| k.name).collect();
    kinds
        .iter()
        .find(|k| k.name == name)
        .map(|kind| vec![*kind])
        .ok_or_else(|| UnknownKind { name: name.to_owned(), help: did_you_mean(name, &names, "kinds") })
}

/// Rows of a section: name, facts, sentence.
type Row = (String, String, &'static str);

fn kind_text(kind: &KindSpec) -> String {
    let mut text = format!("{}\n  {}\n", kind.name, kind.doc);
    let mut inputs: Vec<Row> = kind.inputs.iter().map(input_row).collect();
    if kind.free_inputs {
        inputs.push(("(any name)".into(), "a stage, a path or a glob".into(), "You name the inputs."));
    }
    let mut params = Vec::new();
    param_rows(kind.params, 0, &mut params);
    let mut outputs: Vec<Row> = kind.outputs.iter().map(output_row).collect();
    if kind.free_outputs {
        outputs.push(("(any name)".into(), "a path".into(), "You declare the outputs under `outputs:`."));
    }
    section(&mut text, "inputs", &inputs);
    section(&mut text, "with", &params);
    section(&mut text, "outputs", &outputs);
    text
}

/// Two lines a row: the name with its facts, then what it is for.
fn section(text: &mut String, title: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    text.push_str(&format!("\n  {title}:\n"));
    for (name, facts, doc) in rows {
        if facts.is_empty() {
            text.push_str(&format!("    {name:width$}  {doc}\n"));
            continue;
        }
        text.push_str(&format!("    {name:width$}  {facts}\n"));
        if !doc.is_empty() {
            text.push_str(&format!("    {:width$}    {doc}\n", ""));
        }
    }
}

fn input_row(input: &InputSpec) -> Row {
    let mut accepts: Vec<&str> = input.accepts.iter().map(|a| a.word()).collect();
    accepts.extend(input.accepts_files.then_some("a path or glob"));
    let required = if input.required { "required" } else { "optional" };
    (input.name.to_owned(), format!("{}; {required}", accepts.join(" or ")), input.doc)
}

fn output_row(output: &OutputSpec) -> Row {
    let when = output.when.map_or(String::new(), |param| format!("; only with `{param}`"));
    (output.name.to_owned(), format!("{}{when}", output.artefact), output.doc)
}

fn param_rows(params: &[ParamSpec], depth: usize, rows: &mut Vec<Row>) {
    for param in params {
        let default = match param.default {
            Default::Required => "required".to_owned(),
            Default::Absent => "optional".to_owned(),
            Default::Json(text) => format!("default {}", default_words(text)),
        };
        let words = match param.ty {
            ParamType::Object(_) => "a map".to_owned(),
            ty => ty.words(),
        };
        rows.push((format!("{:1$}{2}", "", depth * 2, param.name), format!("{words}; {default}"), param.doc));
        below(&param.ty, depth + 1, rows);
    }
}

fn below(ty: &ParamType, depth: usize, rows: &mut Vec<Row>) {
    match ty {
        ParamType::Object(params) => param_rows(params, depth, rows),
        ParamType::List(item) => below(item, depth, rows),
        ParamType::Variant(variants) => {
            for variant in *variants {
                rows.push((format!("{:1$}kind: {2}", "", depth * 2, variant.kind), String::new(), variant.doc));
                param_rows(variant.params, depth + 1, rows);
            }
        }
        _ => {}
    }
}

/// A default the way people write it: `unet` for `{"kind":"unet"}`, no quotes.
fn default_words(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    match &value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|i| default_words(&i.to_string())).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => match map.get("kind").and_then(Value::as_str) {
            Some(kind) if map.len() == 1 => kind.to_owned(),
            _ if map.is_empty() => "as below".to_owned(),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

fn kind_json(kind: &KindSpec) -> Value {
    let inputs: Vec<Value> = kind
        .inputs
        .iter()
        .map(|i| {
            let accepts: Vec<&str> = i.accepts.iter().map(|a| a.word()).collect();
            json!({ "name": i.name, "accepts": accepts, "files": i.accepts_files, "required": i.required, "doc": i.doc })
        })
        .collect();
    let word = Artefact::word;
    let outputs: Vec<Value> = kind
        .outputs
        .iter()
        .map(|o| json!({ "name": o.name, "holds": word(o.artefact), "when": o.when, "doc": o.doc }))
        .collect();
    json!({
        "name": kind.name,
        "version": kind.version,
        "doc": kind.doc,
        "inputs": inputs,
        "free_inputs": kind.free_inputs,
        "params": kind.params.iter().map(param_json).collect::<Vec<_>>(),
        "outputs": outputs,
        "free_outputs": kind.free_outputs,
        "joins": kind.joins,
    })
}

fn param_json(param: &ParamSpec) -> Value {
    let default = match param.default {
        Default::Json(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        _ => Value::Null,
    };
    let mut value = json!({
        "name": param.name,
        "required": param.default == Default::Required,
        "default": default,
        "doc": param.doc,
        "words": param.ty.words(),
    });
    add_type(&mut value, &param.ty);
    value
}

fn add_type(value: &mut Value, ty: &ParamType) {
    let name = match ty {
        ParamType::Bool => "bool",
        ParamType::Int { min, max } => {
            value["min"] = json!(min);
            value["max"] = json!(max);
            "int"
        }
        ParamType::IntOrWord { min, max, word } => {
            value["min"] = json!(min);
            value["max"] = json!(max);
            value["word"] = json!(word);
            "int_or_word"
        }
        ParamType::Float { min, max } => {
            value["min"] = json!(min);
            value["max"] = json!(max);
            "float"
        }
        ParamType::Text => "text",
        ParamType::Choice(words) => {
            value["choices"] = json!(words);
            "choice"
        }
        ParamType::Duration => "duration",
        ParamType::Files => "files",
        ParamType::List(item) => {
            let mut inner = json!({ "words": item.words() });
            add_type(&mut inner, item);
            value["items"] = inner;
            "list"
        }
        ParamType::Object(params) => {
            value["params"] = params.iter().map(param_json).collect();
            "object"
        }
        ParamType::Variant(variants) => {
            let one = |v: &super::kind::VariantSpec| json!({ "kind": v.kind, "doc": v.doc, "params": v.params.iter().map(param_json).collect::<Vec<_>>() });
            value["variants"] = variants.iter().map(one).collect();
            "variant"
        }
        ParamType::Class => "class",
        ParamType::Variable => "variable",
        ParamType::Variables => "variables",
    };
    value["type"] = name.into();
}
