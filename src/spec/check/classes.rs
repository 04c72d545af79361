//! `classes:`, label code -> name and colour.

use crate::raster::{Class, ClassTable, Rgb};
use crate::spec::node::{Entry, Node};
use crate::spec::problem::Problem;
use crate::spec::suggest::{did_you_mean, nearest};
use crate::spec::words::CLASS_KEYS;

use super::colors::COLOR_NAMES;
use super::top::{text, unknown_keys};

/// Reads the class table. Codes are unique because keys are; names are compared without case.
pub(super) fn classes(entry: Option<&Entry>, problems: &mut Vec<Problem>) -> ClassTable {
    let Some(entry) = entry.filter(|e| !e.value.is_null()) else { return ClassTable::default() };
    let Some(entries) = entry.value.entries() else {
        problems.push(
            Problem::at(entry.value.place, format!("classes: expected a map, found {}", entry.value.found()))
                .label("not a map")
                .help("one line a class, such as `1: { name: urban, color: red }`"),
        );
        return ClassTable::default();
    };
    let mut seen: Vec<(String, &Entry)> = Vec::new();
    let mut classes = Vec::new();
    for entry in entries {
        let code = code(entry, problems);
        let Some((name, node, color)) = class(entry, problems) else { continue };
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name.to_lowercase()) {
            problems.push(
                Problem::at(node.place, format!("two classes have the name `{name}`"))
                    .label("again here")
                    .also(first.value.place, "first here")
                    .help("names may not differ by case alone"),
            );
        } else if let Some(name_entry) = entry.value.get("name") {
            seen.push((name.to_lowercase(), name_entry));
        }
        classes.extend(code.zip(color).map(|(code, color)| Class { code, name, color }));
    }
    ClassTable::new(classes)
}

fn code(entry: &Entry, problems: &mut Vec<Problem>) -> Option<u8> {
    let digits = entry.key.bytes().all(|b| b.is_ascii_digit()) && (entry.key == "0" || !entry.key.starts_with('0'));
    let code = if digits { entry.key.parse::<u8>().ok() } else { None };
    let problem = match code {
        Some(0) => Problem::at(entry.key_place, "0 cannot be a class: it means \"no label\" and is never scored")
            .label("reserved")
            .help("give the class a code from 1 to 255, in the truth rasters too"),
        Some(code) => return Some(code),
        None => Problem::at(
            entry.key_place,
            format!("`{}` is not a label code: expected a whole number from 1 to 255", entry.key),
        )
        .label("not a label code")
        .help("the key is the value in the truth raster, such as `1: { name: urban, color: red }`"),
    };
    problems.push(problem);
    None
}

type NameAndColor<'n> = (String, &'n Node, Option<Rgb>);

fn class<'n>(entry: &'n Entry, problems: &mut Vec<Problem>) -> Option<NameAndColor<'n>> {
    let Some(keys) = entry.value.entries() else {
        problems.push(
            Problem::at(
                entry.value.place,
                format!("class {}: expected a map with `name` and `color`, found {}", entry.key, entry.value.found()),
            )
            .label("not a map")
            .help(format!("for example `{}: {{ name: urban, color: red }}`", entry.key)),
        );
        return None;
    };
    unknown_keys(keys, &CLASS_KEYS, "a class", problems);
    let misspelt =
        |key: &str| keys.iter().any(|e| !CLASS_KEYS.contains(&e.key.as_str()) && nearest(&e.key, [key]).is_some());
    for key in CLASS_KEYS.iter().filter(|key| entry.value.get(key).is_none() && !misspelt(key)) {
        problems.push(
            Problem::at(entry.key_place, format!("class {}: `{key}` is missing", entry.key))
                .label(format!("has no `{key}`"))
                .help(format!("for example `{}: {{ name: urban, color: red }}`", entry.key)),
        );
    }
    let color = entry.value.get("color").and_then(|color| color_of(color, problems));
    let name_entry = entry.value.get("name")?;
    let name = text(name_entry, problems)?.trim();
    (!name.is_empty()).then(|| (name.to_owned(), &name_entry.value, color))
}

fn color_of(entry: &Entry, problems: &mut Vec<Problem>) -> Option<Rgb> {
    let expected = "expected `#rrggbb` or a CSS colour name such as `red`";
    let problem = match entry.value.text() {
        Some(text) => match Rgb::parse(text) {
            Ok(rgb) if is_opaque(text) => return Some(rgb),
            _ => Problem::at(entry.value.place, format!("color: {expected}, found {}", entry.value.found()))
                .label("not a colour")
                .maybe_help(did_you_mean(text, &COLOR_NAMES, "colours")),
        },
        None => Problem::at(entry.value.place, format!("color: {expected}, found {}", entry.value.found()))
            .label("not a colour")
            .help("a colour code needs quotes, '#ff0000': without them `#` begins a comment"),
    };
    problems.push(problem);
    None
}

/// Whether a colour is a name or `#rgb` or `#rrggbb`: the reader takes more, and drops the opacity of `#rrggbbaa`.
fn is_opaque(text: &str) -> bool {
    match text.strip_prefix('#') {
        Some(digits) => digits.len() == 3 || digits.len() == 6,
        None => text.bytes().all(|b| b.is_ascii_alphabetic()),
    }
}
