//! What is wrong with a pipeline, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::secrets::masked;
use super::text::{Origin, Place, Text};

/// One error in a pipeline.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What is wrong: what was expected and what was found.
    pub message: String,
    /// A few words for under the caret; may be empty.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
    /// Where; `None` when it is about the file as a whole.
    pub place: Option<Place>,
    /// Other places that belong to it (the first of two equal keys, the other edges of a cycle), with a few words each.
    pub also: Vec<(Place, String)>,
}

impl Problem {
    pub(super) fn at(place: Place, message: impl Into<String>) -> Self {
        Self { place: Some(place), ..Self::whole(message) }
    }

    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: String::new(), help: None, place: None, also: Vec::new() }
    }

    pub(super) fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(super) fn maybe_help(self, help: Option<String>) -> Self {
        Self { help: help.or(self.help), ..self }
    }

    pub(super) fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.also.push((place, label.into()));
        self
    }
}

/// Every problem that was found in a pipeline, with the texts they are in. Never empty.
///
/// [`Diagnostics::render`] is the form for people, [`Diagnostics::to_json`] the one for machines; `Display` is the
/// plain form of `render`.
#[derive(Debug)]
pub struct Diagnostics {
    file: PathBuf,
    texts: Vec<Text>,
    problems: Vec<Problem>,
}

impl Diagnostics {
    /// Sorts the problems by where they are, those about the whole file first. Secrets are taken out of all that is shown.
    pub(super) fn new(file: &Path, mut texts: Vec<Text>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| p.place);
        texts.iter_mut().for_each(|text| text.content = masked(&text.content));
        for problem in &mut problems {
            problem.message = masked(&problem.message);
            problem.help = problem.help.as_deref().map(masked);
        }
        Self { file: file.to_owned(), texts, problems }
    }

    /// The problems, in the order of the file, then of the command line.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The file, as it was named by the caller.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn text(&self, origin: Origin) -> Option<&Text> {
        self.texts.iter().find(|t| t.origin == origin)
    }

    /// What stands before the line number: the file, or `command line`.
    pub(super) fn name_of(&self, origin: Origin) -> String {
        match origin {
            Origin::File => self.file.display().to_string(),
            Origin::CommandLine(_) => "command line".to_owned(),
        }
    }

    /// A JSON list with one object a problem:
    /// `{"severity","message","label","help","file","source","line","column","end_column","text","also":[{"file","line","column","label"}]}`.
    ///
    /// `source` is `"file"` or `"command line"`; lines and columns count from 1, columns in characters; `line`,
    /// `column`, `end_column` and `text` (the line itself) are `null` when the problem is about the file as a whole.
    pub fn to_json(&self) -> Value {
        self.problems.iter().map(|p| self.problem_json(p)).collect()
    }

    fn problem_json(&self, problem: &Problem) -> Value {
        let origin = problem.place.map_or(Origin::File, |p| p.origin);
        let covered = |p: Place| self.text(p.origin).map_or(0, |t| t.content[p.bytes()].chars().count());
        json!({
            "severity": "error",
            "message": problem.message,
            "label": problem.label,
            "help": problem.help,
            "file": self.name_of(origin),
            "source": if origin == Origin::File { "file" } else { "command line" },
            "line": problem.place.map(|p| p.line),
            "column": problem.place.map(|p| p.column),
            "end_column": problem.place.map(|p| p.column + covered(p)),
            "text": problem.place.and_then(|p| Some(self.text(p.origin)?.line(p.line).to_owned())),
            "also": problem.also.iter().map(|(place, label)| json!({
                "file": self.name_of(place.origin), "line": place.line, "column": place.column, "label": label,
            })).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
