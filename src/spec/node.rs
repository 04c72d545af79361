//! YAML as a tree in which every key and value knows its place.

use serde_json::Value;

use super::scalar::{Atom, Scalar};
use super::text::Place;

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where to point when the value is wrong: the text of a scalar, the bracket of a flow collection, the key of
    /// anything else.
    pub(super) place: Place,
    pub(super) kind: NodeKind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn null(place: Place) -> Self {
        Self { place, kind: NodeKind::Scalar(Scalar { text: String::new(), atom: Atom::Null, quoted: false }) }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar(Scalar { atom: Atom::Null, .. }))
    }

    pub(super) fn entries(&self) -> Option<&[Entry]> {
        if let NodeKind::Map(entries) = &self.kind { Some(entries) } else { None }
    }

    pub(super) fn scalar(&self) -> Option<&Scalar> {
        if let NodeKind::Scalar(scalar) = &self.kind { Some(scalar) } else { None }
    }

    /// The text of a scalar that YAML takes for text.
    pub(super) fn text(&self) -> Option<&str> {
        self.scalar().filter(|s| s.atom == Atom::Text).map(|s| s.text.as_str())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|e| e.key == key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let NodeKind::Map(entries) = &mut self.kind else { return None };
        entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.value)
    }

    /// "a list", "the text `abc`", "the number 3": for "expected …, found …".
    pub(super) fn found(&self) -> String {
        match &self.kind {
            NodeKind::List(_) => "a list".to_owned(),
            NodeKind::Map(_) => "a map".to_owned(),
            NodeKind::Scalar(scalar) => scalar.found(),
        }
    }

    /// A JSON value at a place: defaults take the same way through the checks as what people write.
    pub(super) fn from_json(value: &Value, place: Place) -> Self {
        let scalar = |text: String, atom| NodeKind::Scalar(Scalar { text, atom, quoted: false });
        let kind = match value {
            Value::Null => scalar(String::new(), Atom::Null),
            Value::Bool(b) => scalar(b.to_string(), Atom::Bool(*b)),
            Value::Number(n) => scalar(
                n.to_string(),
                n.as_i128().map_or_else(|| Atom::Float(n.as_f64().unwrap_or(f64::NAN)), Atom::Int),
            ),
            Value::String(s) => scalar(s.clone(), Atom::Text),
            Value::Array(items) => NodeKind::List(items.iter().map(|v| Self::from_json(v, place)).collect()),
            Value::Object(map) => NodeKind::Map(
                map.iter()
                    .map(|(key, v)| Entry { key: key.clone(), key_place: place, value: Self::from_json(v, place) })
                    .collect(),
            ),
        };
        Self { place, kind }
    }
}
