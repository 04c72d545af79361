//! Words for YAML that cannot be read: what people do most is named, for the rest the scanner's own words.

use saphyr_parser::ScanError;

use super::problem::Problem;
use super::text::{Place, Text};

/// A character that no text editor shows, if there is one.
pub(super) fn control_character(text: &Text) -> Option<Problem> {
    let (at, c) = text.content.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\t'))?;
    let message = format!("the control character U+{:04X} cannot stand in a pipeline", c as u32);
    let place = text.place(at..at + c.len_utf8());
    Some(Problem::at(place, message).label("here").help("remove it; is this a text file?"))
}

pub(super) fn alias_problem(place: Place) -> Problem {
    Problem::at(place, "aliases (`*name`) are not part of the pipeline language")
        .label("YAML takes `*` at the start of a value for an alias")
        .help("a pattern that begins with `*` needs quotes: '*.tif'")
}

/// What the scanner met, in words for people.
pub(super) fn scan_problem(text: &Text, error: &ScanError) -> Problem {
    let (number, info) = (error.marker().line(), error.info());
    let start = text.offset(number, error.marker().col());
    let next = text.content[start..].chars().next().filter(|c| *c != '\n');
    let place = text.place(start..start + next.map_or(0, char::len_utf8));
    let line = text.line(number);
    if info.contains("unknown anchor") {
        return alias_problem(place);
    }
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') || info.contains("tab") {
        return tab_problem(text, place, line);
    }
    if info.contains("quoted scalar") {
        return Problem::at(place, "a quote is not closed, or what follows it is not indented")
            .label("begins here")
            .help("close it; a text with an apostrophe goes into double quotes: \"l'eau\"");
    }
    if let Some((bracket, comment)) = open_bracket(text, start) {
        return bracket_problem(text, bracket, comment);
    }
    let problem = Problem::at(place, format!("this is not valid YAML: {info}"));
    let before = (1..number).rev().map(|n| text.line(n)).find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    match next {
        Some(c @ ('@' | '`' | '%')) => {
            problem.label("YAML reserves this character").help(format!("a text that begins with `{c}` needs quotes"))
        }
        Some(':') if lacks_blank(before) => problem.help(format!("a blank is missing after `:` in `{before}`")),
        Some(':') if line.matches(": ").count() > 1 => problem.help("a text that contains `: ` needs quotes"),
        _ if info.contains("expected key") => Problem::at(place, "the indentation of this line fits none above it")
            .help("keys of the same map begin in the same column"),
        _ => problem
            .help("look for a missing quote, comma or blank after `:`, or a wrong indentation, here or just above"),
    }
}

fn tab_problem(text: &Text, place: Place, line: &str) -> Problem {
    let tab = line.find('\t').map_or(place, |at| {
        let start = text.offset(place.line, 0) + at;
        text.place(start..start)
    });
    Problem::at(tab, "a tab stands where YAML wants spaces")
        .label("the tab is here")
        .help("indent with spaces; most editors can do that for `.yaml` files")
}

/// `seed:4`
fn lacks_blank(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, value)| {
        !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !value.starts_with(' ')
            && !value.is_empty()
    })
}

fn bracket_problem(text: &Text, bracket: usize, comment: Option<usize>) -> Problem {
    let place = text.place(bracket..bracket + 1);
    let open = &text.content[bracket..=bracket];
    let close = if open == "{" { "}" } else { "]" };
    let problem = Problem::at(place, format!("this `{open}` has no matching `{close}`")).label("opened here");
    match comment {
        Some(at) => problem
            .also(text.place(at..at + 1), "`#` after a blank begins a comment")
            .help("a colour code needs quotes: '#ff0000'"),
        None => problem.help(format!("close it with `{close}`")),
    }
}

/// The innermost bracket of a flow collection that is still open at `end`, and the first comment after it.
/// A rough reading, good enough to say more about a text that is known to be wrong.
fn open_bracket(text: &Text, end: usize) -> Option<(usize, Option<usize>)> {
    let mut open: Vec<usize> = Vec::new();
    let (mut comment, mut quote, mut last) = (None, None, '\n');
    let mut chars = text.content[..end].char_indices();
    while let Some((at, c)) = chars.next() {
        let begins = matches!(last, ':' | ',' | '[' | '{' | '-' | '\n');
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if begins => quote = Some(c),
            (None, '#') if text.content[..at].ends_with(char::is_whitespace) => {
                if !open.is_empty() {
                    comment = comment.or(Some(at));
                }
                chars.by_ref().find(|(_, c)| *c == '\n');
            }
            (None, '{' | '[') if begins => open.push(at),
            (None, '}' | ']') => {
                let matching = if c == '}' { "{" } else { "[" };
                if open.last().is_some_and(|o| text.content[*o..].starts_with(matching)) {
                    open.pop();
                }
            }
            _ => {}
        }
        if c == '\n' || !c.is_whitespace() {
            last = c;
        }
    }
    open.pop().map(|bracket| (bracket, comment))
}
