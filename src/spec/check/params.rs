//! `with:` against the parameters of a kind: types, bounds, names; defaults filled in; one spelling for each value.

use std::path::Path;

use serde_json::{Map, Value};

use crate::raster::ClassTable;
use crate::spec::expect::{one_of, variant_names};
use crate::spec::kind::{Default, ParamSpec, ParamType, VariantSpec};
use crate::spec::model::FileMatches;
use crate::spec::node::{Entry, Node, NodeKind};
use crate::spec::problem::Problem;
use crate::spec::scalar::{Atom, Scalar, bool_advice, float_advice, int_advice};
use crate::spec::suggest::{did_you_mean, nearest};
use crate::spec::text::Place;
use crate::spec::words::{VARIABLE_RULE, is_variable};

use super::files;
use super::top::duration;

/// Checks the parameters of one stage.
pub(super) struct Params<'a> {
    pub(super) stage: &'a str,
    pub(super) root: Option<&'a Path>,
    pub(super) classes: &'a ClassTable,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) files: FileMatches,
    /// Keys from `with:` down to the value being looked at.
    path: Vec<String>,
}

impl<'a> Params<'a> {
    pub(super) fn new(
        stage: &'a str,
        root: Option<&'a Path>,
        classes: &'a ClassTable,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self { stage, root, classes, problems, files: Vec::new(), path: Vec::new() }
    }

    /// The whole of `with:`. `owner` follows "of": "of `train`". Missing parameters are reported at `place`.
    pub(super) fn check(
        &mut self,
        specs: &[ParamSpec],
        entries: &[Entry],
        place: Place,
        owner: &str,
    ) -> Map<String, Value> {
        let known: Vec<&str> = specs.iter().map(|p| p.name).collect();
        for entry in entries.iter().filter(|e| !known.contains(&e.key.as_str())) {
            let help = digits_advice(&entry.key).or_else(|| did_you_mean(&entry.key, &known, "parameters"));
            let none = known.is_empty().then(|| format!("{owner} has no parameters"));
            let problem =
                Problem::at(entry.key_place, format!("{}: {owner} has no such parameter", self.name_of(&entry.key)));
            self.problems.push(problem.label("unknown parameter").maybe_help(help.or(none)));
        }
        self.known(specs, entries, place)
    }

    /// The parameters of `specs`, in their order.
    fn known(&mut self, specs: &[ParamSpec], entries: &[Entry], place: Place) -> Map<String, Value> {
        let mut map = Map::new();
        let unknown: Vec<&Entry> = entries.iter().filter(|e| !specs.iter().any(|p| p.name == e.key)).collect();
        for spec in specs {
            // What is only misspelt has been noted as unknown.
            if spec.default == Default::Required && unknown.iter().any(|e| nearest(&e.key, [spec.name]).is_some()) {
                continue;
            }
            self.path.push(spec.name.to_owned());
            let value = match entries.iter().find(|e| e.key == spec.name) {
                Some(entry) => self.value(&spec.ty, spec.default, &entry.value),
                None => self.default(spec, place),
            };
            self.path.pop();
            map.extend(value.map(|value| (spec.name.to_owned(), value)));
        }
        map
    }

    fn default(&mut self, spec: &ParamSpec, place: Place) -> Option<Value> {
        match spec.default {
            Default::Absent => None,
            Default::Required => {
                self.problems.push(
                    Problem::at(place, format!("{} is missing: expected {}", self.name(), spec.ty.words()))
                        .label(format!("has no `{}`", spec.name))
                        .help(format!("`{}`: {}", spec.name, spec.doc)),
                );
                None
            }
            Default::Json(text) => match serde_json::from_str(text) {
                Ok(value) => self.value(&spec.ty, Default::Required, &Node::from_json(&value, place)),
                Err(error) => {
                    let message = format!("{}: its default `{text}` is not JSON: {error}", self.name());
                    self.problems.push(Problem::at(place, message).help("this is a fault of the stage kind"));
                    None
                }
            },
        }
    }

    fn value(&mut self, ty: &ParamType, default: Default, node: &Node) -> Option<Value> {
        if node.is_null() {
            let help = match default {
                Default::Required => format!("expected {}", ty.words()),
                _ => format!("remove the line for the default, or give {}", ty.words()),
            };
            self.problems
                .push(Problem::at(node.place, format!("{} has no value", self.name())).label("empty").help(help));
            return None;
        }
        match ty {
            ParamType::Bool => self.atom(ty, node, bool_advice, |s| match s.atom {
                Atom::Bool(b) => Some(b.into()),
                _ => None,
            }),
            ParamType::Int { min, max } => self.int(ty, node, *min, *max),
            ParamType::IntOrWord { min, max, word } => match node.text() {
                Some(text) => self.word(ty, word, text, node),
                None => self.int(ty, node, *min, *max),
            },
            ParamType::Float { min, max } => self.float(ty, node, *min, *max),
            ParamType::Text => self.text(ty, node).map(Value::from),
            ParamType::Choice(words) => self.choice(ty, words, node),
            ParamType::Duration => duration(node, &self.name(), self.problems).map(Value::from),
            ParamType::Files => self.pattern(ty, node),
            ParamType::List(item) => self.list(ty, item, node),
            ParamType::Object(specs) => {
                let entries = node.entries().or_else(|| self.wrong(ty, node, None))?;
                let owner = format!("`{}`", self.name());
                Some(Value::Object(self.check(specs, entries, node.place, &owner)))
            }
            ParamType::Variant(variants) => self.variant(ty, variants, default, node),
            ParamType::Class => self.class(ty, node),
            ParamType::Variable => self.variable(ty, node),
            ParamType::Variables => self.variables(ty, node),
        }
    }

    /// `train.model.width`: also what `--set` would call it.
    fn name(&self) -> String {
        format!("{}.{}", self.stage, self.path.join("."))
    }

    fn name_of(&self, key: &str) -> String {
        let path: Vec<&str> = self.path.iter().map(String::as_str).chain([key]).collect();
        format!("{}.{}", self.stage, path.join("."))
    }

    fn wrong<T>(&mut self, ty: &ParamType, node: &Node, help: Option<String>) -> Option<T> {
        let message = format!("{}: expected {}, found {}", self.name(), ty.words(), node.found());
        self.problems.push(Problem::at(node.place, message).label("wrong type").maybe_help(help));
        None
    }

    fn out_of_range(&mut self, ty: &ParamType, node: &Node) -> Option<Value> {
        let message = format!("{}: expected {}, found {}", self.name(), ty.words(), node.found());
        self.problems.push(Problem::at(node.place, message).label("out of range"));
        None
    }

    fn atom(
        &mut self,
        ty: &ParamType,
        node: &Node,
        advice: fn(&Scalar) -> Option<String>,
        read: impl Fn(&Scalar) -> Option<Value>,
    ) -> Option<Value> {
        let value = node.scalar().and_then(read);
        if value.is_none() {
            return self.wrong(ty, node, node.scalar().and_then(advice));
        }
        value
    }

    fn int(&mut self, ty: &ParamType, node: &Node, min: i64, max: i64) -> Option<Value> {
        match node.scalar().map(|s| s.atom) {
            Some(Atom::Int(i)) => match i64::try_from(i) {
                Ok(i) if (min..=max).contains(&i) => Some(i.into()),
                _ => self.out_of_range(ty, node),
            },
            _ => self.wrong(ty, node, node.scalar().and_then(int_advice)),
        }
    }

    /// The word of an [`ParamType::IntOrWord`]; what else is text was meant to be it, or a number.
    fn word(&mut self, ty: &ParamType, word: &'static str, text: &str, node: &Node) -> Option<Value> {
        if text == word {
            return Some(word.into());
        }
        let meant = nearest(text, [word]).map(|word| format!("did you mean `{word}`?"));
        self.wrong(ty, node, meant.or_else(|| node.scalar().and_then(int_advice)))
    }

    fn float(&mut self, ty: &ParamType, node: &Node, min: f64, max: f64) -> Option<Value> {
        let number = match node.scalar().map(|s| s.atom) {
            Some(Atom::Int(i)) => i as f64,
            Some(Atom::Float(f)) if f.is_finite() => f,
            _ => return self.wrong(ty, node, node.scalar().and_then(float_advice)),
        };
        if !(min..=max).contains(&number) {
            return self.out_of_range(ty, node);
        }
        // Adding 0.0 turns -0.0 into 0.0: one spelling for each value.
        Some((number + 0.0).into())
    }

    fn text<'n>(&mut self, ty: &ParamType, node: &'n Node) -> Option<&'n str> {
        let quotes = node.scalar().map(|s| format!("quotes make it text: \"{}\"", s.text));
        node.text().or_else(|| self.wrong(ty, node, quotes))
    }

    fn choice(&mut self, ty: &ParamType, words: &[&'static str], node: &Node) -> Option<Value> {
        let text = self.text(ty, node)?;
        if words.contains(&text) {
            return Some(text.into());
        }
        let message = format!("{}: expected {}, found {}", self.name(), one_of(words.iter().copied()), node.found());
        self.problems.push(
            Problem::at(node.place, message).label("not one of these").maybe_help(did_you_mean(text, words, "choices")),
        );
        None
    }

    fn pattern(&mut self, ty: &ParamType, node: &Node) -> Option<Value> {
        let text = self.text(ty, node)?;
        let Some(root) = self.root else { return Some(text.into()) };
        match files::find(root, text) {
            Ok(mut found) => {
                found.sort_by(|a, b| a.file_name().cmp(&b.file_name()).then_with(|| a.cmp(b)));
                self.files.push((self.path.clone(), found));
                Some(text.into())
            }
            Err(miss) => {
                let message = format!("{}: {}", self.name(), miss.message);
                self.problems.push(Problem::at(node.place, message).label("no such file").maybe_help(miss.help));
                None
            }
        }
    }

    fn list(&mut self, ty: &ParamType, item: &ParamType, node: &Node) -> Option<Value> {
        let NodeKind::List(nodes) = &node.kind else {
            let help = node.scalar().map(|s| format!("a list of one is written `[{}]`", s.text));
            return self.wrong(ty, node, help);
        };
        let mut values = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            self.path.push(index.to_string());
            values.extend(self.value(item, Default::Required, node));
            self.path.pop();
        }
        (values.len() == nodes.len()).then_some(Value::Array(values))
    }

    fn variant(&mut self, ty: &ParamType, variants: &[VariantSpec], default: Default, node: &Node) -> Option<Value> {
        let Some(entries) = node.entries() else {
            let named = node.text().filter(|text| variant_names(variants).any(|name| name == *text));
            return self.wrong(ty, node, named.map(|name| format!("write `{{ kind: {name} }}`")));
        };
        let variant = self.variant_of(variants, default, node, entries)?;
        let known: Vec<&str> = ["kind"].into_iter().chain(variant.params.iter().map(|p| p.name)).collect();
        for entry in entries.iter().filter(|e| !known.contains(&e.key.as_str())) {
            let other = variants.iter().find(|v| v.params.iter().any(|p| p.name == entry.key));
            let help = digits_advice(&entry.key)
                .or_else(|| other.map(|v| format!("`{}` belongs to `kind: {}`", entry.key, v.kind)))
                .or_else(|| did_you_mean(&entry.key, &known, "parameters"));
            let message = format!("{}: `{}` has no such parameter", self.name_of(&entry.key), variant.kind);
            self.problems.push(Problem::at(entry.key_place, message).label("unknown parameter").maybe_help(help));
        }
        let mut map = Map::from_iter([("kind".to_owned(), Value::from(variant.kind))]);
        map.extend(self.known(variant.params, entries, node.place));
        Some(Value::Object(map))
    }

    /// The variant that `kind` names; without `kind`, that of the default.
    fn variant_of<'v>(
        &mut self,
        variants: &'v [VariantSpec],
        default: Default,
        node: &Node,
        entries: &[Entry],
    ) -> Option<&'v VariantSpec> {
        let find = |name: &str| variants.iter().find(|v| v.kind == name);
        let names: Vec<&str> = variant_names(variants).collect();
        let expected = one_of(names.iter().copied());
        let problem = match entries.iter().find(|e| e.key == "kind") {
            Some(entry) => {
                let text = entry.value.scalar().map_or("", |s| s.text.as_str());
                if let Some(variant) = find(text) {
                    return Some(variant);
                }
                let message = format!("{}: expected {expected}, found {}", self.name_of("kind"), entry.value.found());
                Problem::at(entry.value.place, message)
                    .label("unknown kind")
                    .maybe_help(did_you_mean(text, &names, "kinds"))
            }
            None => match default_kind(default).as_deref().and_then(find) {
                Some(variant) => return Some(variant),
                None => Problem::at(node.place, format!("{} is missing: expected {expected}", self.name_of("kind")))
                    .label("has no `kind`")
                    .help(format!("for example `kind: {}`", names.first().unwrap_or(&""))),
            },
        };
        self.problems.push(problem);
        None
    }

    fn class(&mut self, ty: &ParamType, node: &Node) -> Option<Value> {
        let Some(scalar) = node.scalar().filter(|s| !matches!(s.atom, Atom::Float(_) | Atom::Null)) else {
            return self.wrong(ty, node, None);
        };
        let found = match scalar.atom {
            Atom::Int(code) => u8::try_from(code).ok().and_then(|code| self.classes.by_code(code)),
            _ => self.classes.iter().find(|c| c.name == scalar.text),
        };
        if let Some(class) = found {
            return Some(class.code.into());
        }
        let names: Vec<&str> = self.classes.iter().map(|c| c.name.as_str()).collect();
        let help = match scalar.atom {
            Atom::Int(0) => Some("0 means \"no label\": it is not a class and is never scored".to_owned()),
            _ if names.is_empty() => Some("the pipeline has no `classes:`".to_owned()),
            Atom::Int(_) => {
                let codes: Vec<String> = self.classes.iter().map(|c| format!("{} `{}`", c.code, c.name)).collect();
                Some(format!("the classes are {}", codes.join(", ")))
            }
            _ => did_you_mean(&scalar.text, &names, "classes"),
        };
        let message = format!("{}: `{}` is not a class of this pipeline", self.name(), scalar.text);
        self.problems.push(Problem::at(node.place, message).label("unknown class").maybe_help(help));
        None
    }

    fn variable(&mut self, ty: &ParamType, node: &Node) -> Option<Value> {
        let text = self.text(ty, node)?;
        if is_variable(text) {
            return Some(text.into());
        }
        let message = format!("{}: `{text}` cannot name a variable: expected {VARIABLE_RULE}", self.name());
        self.problems.push(Problem::at(node.place, message).label("not a variable's name"));
        None
    }

    fn variables(&mut self, ty: &ParamType, node: &Node) -> Option<Value> {
        let example = || Some("for example `{ GDAL_CACHEMAX: 512 }`".to_owned());
        let entries = node.entries().or_else(|| self.wrong(ty, node, example()))?;
        let mut map = Map::new();
        for Entry { key, key_place, value } in entries {
            if !is_variable(key) {
                let message = format!("{}: `{key}` cannot name a variable: expected {VARIABLE_RULE}", self.name());
                self.problems.push(Problem::at(*key_place, message).label("not a variable's name"));
                continue;
            }
            match value.scalar().filter(|s| !matches!(s.atom, Atom::Null | Atom::Bool(_))) {
                // A command gets text; which text is as it stands in the file.
                Some(scalar) => drop(map.insert(key.clone(), scalar.text.as_str().into())),
                None => {
                    let quotes = value.scalar().map(|s| format!("quotes make it text: \"{}\"", s.text));
                    let message =
                        format!("{}: expected a text or a number, found {}", self.name_of(key), value.found());
                    self.problems
                        .push(Problem::at(value.place, message).label("not a variable's value").maybe_help(quotes));
                }
            }
        }
        (map.len() == entries.len()).then_some(Value::Object(map))
    }
}

/// The `kind` of a variant's default.
pub(in crate::spec) fn default_kind(default: Default) -> Option<String> {
    let Default::Json(text) = default else { return None };
    serde_json::from_str::<Value>(text).ok()?.get("kind")?.as_str().map(str::to_owned)
}

/// `{ holdout: 0,15 }` is two keys: `holdout` and `15`.
fn digits_advice(key: &str) -> Option<String> {
    key.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| "inside `{ }` a comma begins the next key: a decimal number has a point, such as `0.15`".to_owned())
}
