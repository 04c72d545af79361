//! `--set a.b.c=v`: values from the command line, put into the tree before it is checked.

use std::fmt;
use std::path::Path;

use super::kind::KindSpec;
use super::node::{Entry, Node, NodeKind};
use super::problem::{Diagnostics, Problem};
use super::suggest::did_you_mean;
use super::sweep::SEED_AXIS;
use super::syntax;
use super::text::{Origin, Place, Text};
use super::words::{STAGE_KEYS, TOP_KEYS};

/// What a command line is shown with in messages.
const PREFIX: &str = "--set ";

/// One `--set PATH=VALUE`.
///
/// `PATH` is `seed`, `budget`, `name`, `root`, a class (`classes.1.color`), a parameter of a stage
/// (`train.model.width`, short for `stages.train.with.model.width`), another key of a stage (`train.inputs.patches`,
/// `train.uses`), values of a matrix (`train.matrix.model.width=[16, 32]`), or the full path. A parameter that is set no
/// longer varies: its axis is taken out of the matrix. `VALUE` is YAML: a scalar, a `[list]` or a `{ map }`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Override {
    text: String,
}

impl Override {
    /// Reads `PATH=VALUE`.
    ///
    /// # Errors
    /// When there is no `=`, a part of the path is empty, or the value is not YAML.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let this = Self { text: text.to_owned() };
        let shown = this.shown(0);
        match this.read(&shown) {
            Ok(_) => Ok(this),
            Err(problems) => Err(Diagnostics::new(Path::new("command line"), vec![shown], problems)),
        }
    }

    /// The argument as it is shown in messages.
    pub(super) fn shown(&self, index: usize) -> Text {
        Text::new(Origin::CommandLine(index), &format!("{PREFIX}{}", self.text))
    }

    fn read(&self, shown: &Text) -> Result<Setting, Vec<Problem>> {
        let whole = shown.place(PREFIX.len()..shown.content.len());
        let Some(equals) = shown.content.find('=') else {
            return Err(vec![
                Problem::at(whole, "expected `PATH=VALUE`, found no `=`").help("for example `--set train.epochs=20`"),
            ]);
        };
        let mut path = Vec::new();
        let mut start = PREFIX.len();
        for part in shown.content[PREFIX.len()..equals].split('.') {
            let place = shown.place(start..start + part.len());
            if part.trim().is_empty() {
                return Err(vec![
                    Problem::at(place, "a part of the path before `=` is empty")
                        .help("for example `--set train.epochs=20`"),
                ]);
            }
            path.push((part.trim().to_owned(), place));
            start += part.len() + 1;
        }
        let mut value = value_node(shown, equals + 1)?;
        if let Some((_, key)) = path.last().filter(|_| value.is_null()) {
            value.place = *key;
        }
        Ok(Setting { path, value })
    }
}

/// Reads what stands after `=` as YAML. Every place in it is the whole value: it is short.
fn value_node(shown: &Text, start: usize) -> Result<Node, Vec<Problem>> {
    let text = Text::new(shown.origin, &shown.content[start..]);
    let (node, mut problems) = syntax::read(&text);
    let value = shown.place(start..shown.content.len());
    for problem in &mut problems {
        problem.place = Some(value);
        if shown.content[start..].trim_start().starts_with(['*', '&', '!', '@', '%', '`']) {
            let example = format!("--set '{}\"{}\"'", &shown.content[PREFIX.len()..start], &shown.content[start..]);
            problem.help = Some(format!("such a text needs quotes of its own, inside those of the shell: {example}"));
        }
    }
    let Some(mut node) = node.filter(|_| problems.is_empty()) else { return Err(problems) };
    let flow = shown.content[start..].trim_start().starts_with(['{', '[']);
    if node.scalar().is_none() && !flow {
        return Err(vec![
            Problem::at(value, format!("expected a value, a `[list]` or a `{{ map }}`, found {}", node.found()))
                .help("a text that contains `: ` or begins with `- ` needs quotes"),
        ]);
    }
    move_places(&mut node, value);
    Ok(node)
}

fn move_places(node: &mut Node, place: Place) {
    node.place = place;
    match &mut node.kind {
        NodeKind::Scalar(_) => {}
        NodeKind::List(items) => items.iter_mut().for_each(|item| move_places(item, place)),
        NodeKind::Map(entries) => {
            for entry in entries {
                entry.key_place = place;
                move_places(&mut entry.value, place);
            }
        }
    }
}

impl fmt::Display for Override {
    /// `PATH=VALUE`, as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A read [`Override`].
struct Setting {
    path: Vec<(String, Place)>,
    value: Node,
}

/// Puts the overrides into the tree, in order: the last one wins.
pub(super) fn apply(
    tree: &mut Node,
    overrides: &[(&Override, &Text)],
    kinds: &[&'static KindSpec],
    problems: &mut Vec<Problem>,
) {
    for (change, shown) in overrides {
        let done = change.read(shown).and_then(|setting| {
            let path = full_path(tree, setting.path, kinds).map_err(|p| vec![*p])?;
            let path = whole_axis(path);
            fix_axes(tree, &path).map_err(|p| vec![*p])?;
            put(tree, &path, setting.value).map_err(|p| vec![*p])
        });
        problems.extend(done.err().unwrap_or_default());
    }
}

type Parts = Vec<(String, Place)>;

/// `train.model.width` -> `stages.train.with.model.width`; paths that are full already stay as they are.
fn full_path(tree: &Node, path: Parts, kinds: &[&'static KindSpec]) -> Result<Parts, Box<Problem>> {
    let (first, place) = path[0].clone();
    let stages = tree.get("stages").and_then(|e| e.value.entries()).unwrap_or_default();
    let names: Vec<&str> = stages.iter().map(|e| e.key.as_str()).collect();
    if first == "stages" {
        return match path.get(1) {
            Some((name, place)) if !names.contains(&name.as_str()) => {
                let problem = Problem::at(*place, format!("there is no stage `{name}` to set anything of"));
                Err(Box::new(problem.label("not a stage").maybe_help(did_you_mean(name, &names, "stages"))))
            }
            Some(_) if path.len() > 2 => Ok(path),
            _ => Err(incomplete(place, "stages.train.with.epochs")),
        };
    }
    if TOP_KEYS.contains(&first.as_str()) {
        return Ok(path);
    }
    let Some(stage) = stages.iter().find(|e| e.key == first) else {
        let candidates: Vec<&str> = names.iter().copied().chain(TOP_KEYS).collect();
        let problem = Problem::at(place, format!("`{first}` is neither a stage nor a key of a pipeline"));
        let help = did_you_mean(&first, &candidates, "stages and keys");
        return Err(Box::new(problem.label("not known").maybe_help(help)));
    };
    let Some((second, _)) = path.get(1) else { return Err(incomplete(place, &format!("{first}.epochs"))) };
    let kind =
        stage.value.get("uses").and_then(|e| e.value.text()).and_then(|uses| kinds.iter().find(|k| k.name == uses));
    let is_param = kind.is_some_and(|kind| kind.params.iter().any(|p| p.name == second));
    let of_stage = !is_param && STAGE_KEYS.contains(&second.as_str());
    let mut rest = path.into_iter();
    let mut full: Parts = vec![("stages".to_owned(), place)];
    full.extend(rest.next());
    full.extend((!of_stage).then(|| ("with".to_owned(), place)));
    full.extend(rest);
    Ok(full)
}

/// `stages.train.matrix.model.width`: the path of a parameter is one key of a matrix.
fn whole_axis(mut path: Parts) -> Parts {
    if path.len() > 4 && path[0].0 == "stages" && path[2].0 == "matrix" {
        let axis = path.split_off(3);
        let (first, last) = (axis[0].1, axis[axis.len() - 1].1);
        let place = Place { len: last.start + last.len - first.start, ..first };
        let parts: Vec<String> = axis.into_iter().map(|(part, _)| part).collect();
        path.push((parts.join("."), place));
    }
    path
}

/// A parameter that is set no longer varies: takes its axis, and those of its parts, out of the matrix.
fn fix_axes(tree: &mut Node, path: &[(String, Place)]) -> Result<(), Box<Problem>> {
    let [(stages, _), (stage, _), (with, _), param @ ..] = path else { return Ok(()) };
    if stages != "stages" || with != "with" {
        return Ok(());
    }
    let Some(matrix) = tree.get_mut("stages").and_then(|n| n.get_mut(stage)).and_then(|n| n.get_mut("matrix")) else {
        return Ok(());
    };
    let NodeKind::Map(axes) = &mut matrix.kind else { return Ok(()) };
    let parts: Vec<&str> = param.iter().map(|(part, _)| part.as_str()).collect();
    let name = parts.join(".");
    let is_inside = |one: &str, other: &str| {
        other.is_empty() || one == other || one.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'))
    };
    if let Some(around) = axes.iter().find(|a| a.key != name && is_inside(&name, &a.key))
        && let Some((_, place)) = param.first()
    {
        let message =
            format!("`{name}` cannot be set alone: the matrix of `{stage}` varies `{}` as a whole", around.key);
        let help = format!("set `{stage}.{0}`, which ends its variants, or `{stage}.matrix.{0}`", around.key);
        return Err(Box::new(Problem::at(*place, message).label("varies").also(around.key_place, "here").help(help)));
    }
    axes.retain(|axis| axis.key == SEED_AXIS || !is_inside(&axis.key, &name));
    Ok(())
}

fn incomplete(place: Place, example: &str) -> Box<Problem> {
    let problem = Problem::at(place, "this sets a whole stage; name the key to set").label("more must follow");
    Box::new(problem.help(format!("for example `--set {example}=20`")))
}

/// Puts a value at a path below a node, making the maps on the way.
pub(super) fn put(node: &mut Node, path: &[(String, Place)], value: Node) -> Result<(), Box<Problem>> {
    let Some(((key, place), rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.is_null() {
        node.kind = NodeKind::Map(Vec::new());
    }
    let found = node.found();
    let NodeKind::Map(entries) = &mut node.kind else {
        let message = format!("`{key}` cannot be set: what is before it is {found}, not a map");
        let help = "set the whole value instead; a list is given whole, as `[a, b]`";
        return Err(Box::new(Problem::at(*place, message).label("has nothing below it").help(help)));
    };
    if let Some(entry) = entries.iter_mut().find(|e| e.key == *key) {
        return put(&mut entry.value, rest, value);
    }
    let mut entry = Entry { key: key.clone(), key_place: *place, value: Node::null(*place) };
    put(&mut entry.value, rest, value)?;
    entries.push(entry);
    Ok(())
}
