//! Problems as text for people, drawn by miette.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents,
};

use super::problem::{Diagnostics, Problem};
use super::text::{Origin, Place};

/// Width at which messages are wrapped on a terminal.
const WIDTH: usize = 110;

impl Diagnostics {
    /// All problems as text, a blank line between them, then their count when there are several.
    ///
    /// With `color`: boxes and ANSI colours for a terminal. Without: pure ASCII drawing for logs and editors, each
    /// problem beginning with `file:line:column: error: `, nothing wrapped, so that the text is stable.
    pub fn render(&self, color: bool) -> String {
        let mut parts: Vec<String> = self.problems().iter().map(|p| self.render_one(p, color)).collect();
        if parts.len() > 1 {
            parts.push(format!("{} errors in {}\n", parts.len(), self.file().display()));
        }
        parts.join("\n")
    }

    fn render_one(&self, problem: &Problem, color: bool) -> String {
        let shown = Shown::new(self, problem, color);
        let handler = if color {
            GraphicalReportHandler::new_themed(GraphicalTheme::unicode()).with_width(WIDTH).with_context_lines(1)
        } else {
            let mut theme = GraphicalTheme::none();
            theme.characters.error = String::new();
            GraphicalReportHandler::new_themed(theme)
                .with_wrap_lines(false)
                .with_context_lines(0)
                .without_primary_span_start()
        };
        let handler = handler.without_syntax_highlighting().with_links(false).with_break_words(false);
        let mut text = String::new();
        // Only a failing `Display` of our own could stop it, and a `String` takes every write.
        if handler.render_report(&mut text, &shown).is_err() {
            text.clone_from(&shown.message);
        }
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let text = lines.join("\n");
        format!("{}\n", if color { text.trim_end() } else { text.trim() })
    }
}

/// One problem in the shape that miette draws.
#[derive(Debug)]
struct Shown {
    message: String,
    help: Option<String>,
    source: Option<Lines>,
    labels: Vec<LabeledSpan>,
}

impl Shown {
    fn new(all: &Diagnostics, problem: &Problem, color: bool) -> Self {
        let origin = problem.place.map_or(Origin::File, |p| p.origin);
        let name = all.name_of(origin);
        let message = match problem.place {
            _ if color => problem.message.clone(),
            Some(place) => format!("{name}:{}:{}: error: {}", place.line, place.column, problem.message),
            None => format!("{name}: error: {}", problem.message),
        };
        // The plain form has the name in its first line already.
        let name = color.then_some(name);
        let source = problem.place.and_then(|p| all.text(p.origin)).map(|t| Lines { name, text: t.printable() });
        let (near, far): (Vec<_>, Vec<_>) = problem.also.iter().partition(|(place, _)| place.origin == origin);
        let mut labels: Vec<LabeledSpan> = near.iter().map(|(place, label)| span(*place, label, false)).collect();
        labels.extend(problem.place.map(|place| span(place, &problem.label, true)));
        labels.sort_by_key(LabeledSpan::offset);
        let far = far.iter().map(|(p, label)| format!("{}:{}:{}: {label}", all.name_of(p.origin), p.line, p.column));
        let help: Vec<String> = problem.help.clone().into_iter().chain(far).collect();
        let help = (!help.is_empty()).then(|| help.join("\n"));
        Self { message: harmless(&message), help: help.map(|help| harmless(&help)), source, labels }
    }
}

/// A message may quote what a file says with escapes (`"\x1b[2J"`): nothing in it may steer the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// A text that is shown by whole lines only, whatever part of a line is asked for.
#[derive(Debug)]
struct Lines {
    name: Option<String>,
    text: String,
}

impl SourceCode for Lines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let start = self.text[..span.offset()].rfind('\n').map_or(0, |at| at + 1);
        let end = span.offset() + span.len();
        let end = self.text[end..].find('\n').map_or(self.text.len(), |at| end + at);
        let whole = SourceSpan::from((start, end - start));
        let lines = self.text.read_span(&whole, lines_before, lines_after)?;
        // The header of the drawing names line and column of the span itself, which it asks for without context.
        let column = if lines_before == 0 { self.text[start..span.offset()].chars().count() } else { lines.column() };
        let (data, shown, line, count) = (lines.data(), *lines.span(), lines.line(), lines.line_count());
        Ok(Box::new(match &self.name {
            Some(name) => MietteSpanContents::new_named(name.clone(), data, shown, line, column, count),
            None => MietteSpanContents::new(data, shown, line, column, count),
        }))
    }
}

fn span(place: Place, label: &str, primary: bool) -> LabeledSpan {
    let label = (!label.is_empty()).then(|| harmless(label));
    let bytes = (place.start, place.len);
    if primary { LabeledSpan::new_primary_with_span(label, bytes) } else { LabeledSpan::new_with_span(label, bytes) }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown {}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
