//! `matrix:` of a stage: its axes, and the parameters of every combination of their values. A value is checked by
//! putting it where the parameter would stand in `with:`; so it passes the same checks, and problems point at it.

use serde_json::Value;

use crate::spec::kind::KindSpec;
use crate::spec::model::{Axis, AxisValue, Bound};
use crate::spec::node::{Entry, Node, NodeKind};
use crate::spec::overrides::put;
use crate::spec::problem::Problem;
use crate::spec::scalar::{Atom, int_advice};
use crate::spec::sweep::{MAX_VARIANTS, SEED_AXIS};
use crate::spec::text::Place;
use crate::spec::words::{LABEL_RULE, is_label};

use super::params::Params;
use super::stage::{Surroundings, map_under};

/// One axis as it is written.
pub(super) struct AxisDraft<'n> {
    entry: &'n Entry,
    values: Vec<(Option<&'n str>, &'n Node)>,
}

impl AxisDraft<'_> {
    fn is_seed(&self) -> bool {
        self.entry.key == SEED_AXIS
    }
}

/// The axes of a stage, those that cannot be used left out.
pub(super) fn axes<'n>(stage: &'n Entry, problems: &mut Vec<Problem>) -> Vec<AxisDraft<'n>> {
    let entries = map_under(stage.value.get("matrix"), stage, problems);
    let mut axes: Vec<AxisDraft<'n>> = Vec::new();
    for entry in entries {
        if entry.key.split('.').any(|part| part.trim().is_empty()) {
            let message = format!("{}.matrix: `{}` is not a parameter", stage.key, entry.key);
            problems.push(
                Problem::at(entry.key_place, message)
                    .label("a part of the path is empty")
                    .help("for example `model.width: [16, 32]`"),
            );
        } else if let Some(around) = axes.iter().find(|a| overlap(&a.entry.key, &entry.key)) {
            let message =
                format!("{}.matrix: one of `{}` and `{}` is part of the other", stage.key, around.entry.key, entry.key);
            problems.push(
                Problem::at(entry.key_place, message)
                    .label("overlaps")
                    .also(around.entry.key_place, "with this one")
                    .help("give each combination a name on one axis: `small: { kind: …, … }`"),
            );
        } else if let Some(values) = values(stage, entry, problems) {
            axes.push(AxisDraft { entry, values });
        }
    }
    axes
}

fn overlap(one: &str, other: &str) -> bool {
    let inside = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
    inside(one, other) || inside(other, one)
}

type Values<'n> = Vec<(Option<&'n str>, &'n Node)>;

fn values<'n>(stage: &Entry, axis: &'n Entry, problems: &mut Vec<Problem>) -> Option<Values<'n>> {
    let before = problems.len();
    let name = format!("{}.matrix.{}", stage.key, axis.key);
    let values: Values<'n> = match &axis.value.kind {
        NodeKind::List(nodes) => {
            problems.extend(nodes.iter().filter_map(|node| not_scalar(&name, &axis.key, node)));
            nodes.iter().map(|node| (None, node)).collect()
        }
        NodeKind::Map(entries) => {
            for entry in entries.iter().filter(|e| !is_label(&e.key)) {
                let message = format!("{name}: a value cannot be called `{}`: expected {LABEL_RULE}", entry.key);
                let problem = Problem::at(entry.key_place, message).label("not a name for a value");
                problems.push(problem.help("it becomes part of folders' names"));
            }
            entries.iter().map(|e| (Some(e.key.as_str()), &e.value)).collect()
        }
        NodeKind::Scalar(scalar) => {
            let message =
                format!("{name}: expected a list of values, or a map of named ones, found {}", axis.value.found());
            let help = match scalar.atom {
                Atom::Null => "for example `model.width: [16, 32]`".to_owned(),
                _ => format!(
                    "a list of one is written `[{}]`; a parameter that does not vary stands under `with:`",
                    scalar.text
                ),
            };
            problems.push(Problem::at(axis.value.place, message).label("no values").help(help));
            return None;
        }
    };
    if values.is_empty() {
        let message = format!(
            "{name}: expected at least one value, found an empty {}",
            if axis.value.entries().is_some() { "map" } else { "list" }
        );
        problems
            .push(Problem::at(axis.value.place, message).label("no values").help("remove the line, or give values"));
    }
    if axis.key == SEED_AXIS {
        problems
            .extend(values.iter().filter(|(_, node)| seed(node).is_none()).map(|(_, node)| not_a_seed(&name, node)));
    }
    (problems.len() == before).then_some(values)
}

fn not_scalar(name: &str, axis: &str, node: &Node) -> Option<Problem> {
    let help = match node.scalar() {
        Some(scalar) if scalar.atom != Atom::Null => return None,
        Some(_) => "remove the empty place".to_owned(),
        None => format!("give such values names: `{axis}: {{ first: …, second: … }}`"),
    };
    let message = format!("{name}: expected a text, a number or a truth value, found {}", node.found());
    Some(Problem::at(node.place, message).label("no plain value").help(help))
}

fn seed(node: &Node) -> Option<u64> {
    node.scalar().and_then(|s| if let Atom::Int(i) = s.atom { u64::try_from(i).ok() } else { None })
}

fn not_a_seed(name: &str, node: &Node) -> Problem {
    Problem::at(node.place, format!("{name}: expected whole numbers from 0 to 2^64 - 1, found {}", node.found()))
        .label("not a seed")
        .maybe_help(node.scalar().and_then(int_advice))
}

/// The parameters of a stage.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) matrix: Vec<Axis>,
    /// One for every combination of values, the last axis changing fastest; one alone where no parameter varies.
    pub(super) bound: Vec<Bound>,
}

/// Checks `with:` and `matrix:`.
pub(super) fn parameters(
    stage: &Entry,
    kind: &KindSpec,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Checked {
    let before = problems.len();
    let axes = axes(stage, problems);
    // Noted here once, not with every combination.
    map_under(stage.value.get("with"), stage, problems);
    let varying: Vec<&AxisDraft<'_>> = axes.iter().filter(|a| !a.is_seed()).collect();
    let count = |axes: &mut dyn Iterator<Item = usize>| axes.fold(1_usize, usize::saturating_mul);
    let all = count(&mut axes.iter().map(|a| a.values.len()));
    if all > MAX_VARIANTS {
        problems.push(too_many(stage, all));
        return Checked::default();
    }
    let mut bound = Vec::new();
    for index in 0..count(&mut varying.iter().map(|a| a.values.len())) {
        let mut found = Vec::new();
        match bind(stage, &varying, index) {
            Ok(stage) => bound.push(check_with(&stage, kind, around, &mut found)),
            Err(problem) => found.push(*problem),
        }
        // Most problems come back with every combination.
        for problem in found {
            if !problems.iter().any(|p| p.place == problem.place && p.message == problem.message) {
                problems.push(problem);
            }
        }
    }
    let matrix = axes.iter().map(|axis| checked_axis(stage, axis, &varying, &bound, problems)).collect();
    if problems.len() > before && !axes.is_empty() {
        bound.truncate(1);
    }
    Checked { matrix, bound }
}

fn check_with(stage: &Entry, kind: &KindSpec, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Bound {
    let with = stage.value.get("with");
    let entries = with.and_then(|e| e.value.entries()).unwrap_or_default();
    let place = with.map_or(stage.key_place, |e| e.key_place);
    let mut params = Params::new(&stage.key, around.root, around.classes, problems);
    let with = params.check(kind.params, entries, place, &format!("`{}`", kind.name));
    Bound { with, files: params.files }
}

/// A problem with more variants than can be meant. `stage` is where they become too many.
pub(super) fn too_many(stage: &Entry, count: usize) -> Problem {
    let place = stage.value.get("matrix").map_or(stage.key_place, |e| e.key_place);
    Problem::at(
        place,
        format!("{}: {count} variants are more than the {MAX_VARIANTS} that a stage may have", stage.key),
    )
    .label("too many")
    .help("every value of an axis is combined with every value of the others: take some values away")
}

/// The stage with the values of a combination in its `with:`, the axis `seed` left out.
pub(super) fn bind(stage: &Entry, varying: &[&AxisDraft<'_>], index: usize) -> Result<Entry, Box<Problem>> {
    let mut bound = stage.clone();
    let mut rest = index;
    let NodeKind::Map(keys) = &mut bound.value.kind else { return Ok(bound) };
    for axis in varying.iter().rev() {
        let (_, value) = axis.values[rest % axis.values.len()];
        rest /= axis.values.len();
        let place = axis.entry.key_place;
        if !keys.iter().any(|e| e.key == "with") {
            keys.push(Entry { key: "with".to_owned(), key_place: stage.key_place, value: Node::null(place) });
        }
        let path: Vec<(String, Place)> = axis.entry.key.split('.').map(|part| (part.to_owned(), place)).collect();
        let with =
            keys.iter_mut().find(|e| e.key == "with").filter(|e| e.value.is_null() || e.value.entries().is_some());
        with.map_or(Ok(()), |with| put(&mut with.value, &path, value.clone()))?;
    }
    Ok(bound)
}

/// The same for the combination that a stage's own variant with this index has.
pub(super) fn bind_again(stage: &Entry, index: usize) -> Entry {
    let axes = axes(stage, &mut Vec::new());
    let varying: Vec<&AxisDraft<'_>> = axes.iter().filter(|a| !a.is_seed()).collect();
    bind(stage, &varying, index).unwrap_or_else(|_| stage.clone())
}

fn checked_axis(
    stage: &Entry,
    axis: &AxisDraft<'_>,
    varying: &[&AxisDraft<'_>],
    bound: &[Bound],
    problems: &mut Vec<Problem>,
) -> Axis {
    // How far the combinations with two neighbouring values of this axis lie apart.
    let inner =
        varying.iter().rev().take_while(|a| !std::ptr::eq(**a, axis)).map(|a| a.values.len()).product::<usize>();
    let mut values: Vec<AxisValue> = Vec::new();
    for (index, (name, node)) in axis.values.iter().enumerate() {
        let value = match axis.is_seed() {
            true => seed(node).map(Value::from),
            false => bound.get(index * inner).and_then(|b| value_at(b, &axis.entry.key)).cloned(),
        };
        // Where it is missing, what is wrong with it has been noted.
        let Some(value) = value else { continue };
        if let Some(first) = values.iter().position(|v| v.value == value) {
            let message = format!("{}.matrix.{}: the same value is given twice", stage.key, axis.entry.key);
            let problem =
                Problem::at(node.place, message).label("again here").also(axis.values[first].1.place, "first here");
            problems.push(problem.help("each value makes a variant of its own: remove one"));
        }
        let mut label = name.map_or_else(|| label(node, &value), str::to_owned);
        while values.iter().any(|v| v.label == label) {
            label.push('+');
        }
        values.push(AxisValue { label, value, named: name.is_some() });
    }
    Axis { path: axis.entry.key.clone(), values }
}

fn value_at<'b>(bound: &'b Bound, path: &str) -> Option<&'b Value> {
    let mut parts = path.split('.');
    let first = bound.with.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// Longest part of a name that one value may be.
const LONGEST_LABEL: usize = 40;

/// A value as part of a folder's name: a number in its one spelling, so that `1e-3` and `0.001` are the same variant;
/// a text as it is written, if it can stand there, else what is left of it and some digits that tell it from others.
fn label(node: &Node, value: &Value) -> String {
    let text = match (value, node.scalar()) {
        (Value::Number(n), Some(s)) if s.atom != Atom::Text => {
            let text = n.to_string();
            text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
        }
        (Value::Bool(b), _) => b.to_string(),
        (_, scalar) => scalar.map_or_else(String::new, |s| s.text.clone()),
    };
    if is_label(&text) && text.len() <= LONGEST_LABEL {
        return text;
    }
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    let head: String = text.chars().map(safe).take(LONGEST_LABEL - 9).collect();
    format!("{head}~{}", &blake3::hash(text.as_bytes()).to_hex()[..8])
}
