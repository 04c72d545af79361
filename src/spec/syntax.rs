//! YAML text to [`Node`]s: one document of maps, lists and scalars. What would make a reader guess is refused here:
//! duplicate keys, anchors and aliases, tags, merge keys, several documents.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::node::{Entry, Node, NodeKind};
use super::problem::Problem;
use super::scalar::{Scalar, shorten};
use super::syntax_error::{alias_problem, control_character, scan_problem};
use super::text::{Place, Text};

/// Deepest nesting of maps and lists: far more than the language has, far less than a stack.
const MAX_DEPTH: usize = 32;

/// Longest key in bytes: longer than any name, short enough for a message.
const MAX_KEY: usize = 256;
/// From this many on, the keys of a map are looked up by hash.
const MANY_KEYS: usize = 32;

/// Reads one YAML document. The tree is there unless the syntax is broken; problems may come with it. An empty
/// document is a null.
pub(super) fn read(text: &Text) -> (Option<Node>, Vec<Problem>) {
    if let Some(problem) = control_character(text) {
        return (None, vec![problem]);
    }
    let mut reader = Reader { parser: Parser::new_from_str(&text.content), text, problems: Vec::new() };
    let tree = reader.document().ok();
    (tree, reader.problems)
}

/// Reading cannot go on; the problem has been noted.
struct Stop;

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t Text,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut tree = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if tree.is_some() => {
                    let place = self.place(span);
                    self.problems.push(
                        Problem::at(place, "a second YAML document begins: a pipeline is one document")
                            .label("after the `---` above this")
                            .help("remove the line `---`, or make two files"),
                    );
                    return Err(Stop);
                }
                event => tree = Some(self.node(event, span, 0)?),
            }
        }
        Ok(tree.unwrap_or_else(|| Node::null(self.text.place(0..0))))
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                self.problems.push(scan_problem(self.text, &error));
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Stop> {
        let place = self.place(span);
        if depth > MAX_DEPTH {
            self.problems.push(Problem::at(place, format!("maps and lists are nested more than {MAX_DEPTH} deep")));
            return Err(Stop);
        }
        let kind = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.as_deref());
                let plain = style == ScalarStyle::Plain;
                NodeKind::Scalar(if plain { Scalar::plain(&text) } else { Scalar::quoted(&text) })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.as_deref());
                NodeKind::List(self.list(depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.as_deref());
                NodeKind::Map(self.map(depth)?)
            }
            Event::Alias(_) => {
                self.problems.push(alias_problem(place));
                return Err(Stop);
            }
            _ => return Err(Stop),
        };
        Ok(Node { place, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        // Where each key stands, once looking through all of them would take long.
        let mut places: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                // Most maps are small, and there may be very many.
                entries.shrink_to_fit();
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let mut value = self.node(event, span, depth + 1)?;
            let Some(name) = self.key(&key) else { continue };
            let block = !self.text.content[value.place.start..].starts_with(['{', '[']);
            if value.is_null() || (value.scalar().is_none() && block) {
                value.place = key.place;
            }
            if entries.len() == MANY_KEYS {
                places = entries.iter().enumerate().map(|(at, e)| (e.key.clone(), at)).collect();
            }
            let first = match entries.len() < MANY_KEYS {
                true => entries.iter().find(|e| e.key == name),
                false => places.get(&name).map(|at| &entries[*at]),
            };
            match first {
                Some(first) => self.problems.push(
                    Problem::at(key.place, format!("the key `{}` stands twice in the same map", shorten(&name)))
                        .label("again here")
                        .also(first.key_place, "first here")
                        .help("remove one of the two: YAML readers would silently take the last one"),
                ),
                None => {
                    if entries.len() >= MANY_KEYS {
                        places.insert(name.clone(), entries.len());
                    }
                    entries.push(Entry { key: name, key_place: key.place, value });
                }
            }
        }
    }

    fn key(&mut self, key: &Node) -> Option<String> {
        let problem = match &key.kind {
            NodeKind::Scalar(scalar) if !scalar.quoted && scalar.text == "<<" => {
                Problem::at(key.place, "merge keys (`<<`) are not part of the pipeline language")
                    .label("not known here")
                    .help("write the keys out")
            }
            NodeKind::Scalar(scalar) if scalar.text.len() > MAX_KEY => {
                Problem::at(key.place, format!("a key is longer than {MAX_KEY} bytes")).label("too long")
            }
            NodeKind::Scalar(scalar) if !scalar.text.is_empty() => return Some(scalar.text.clone()),
            NodeKind::Scalar(_) => Problem::at(key.place, "a key is empty").label("expected a name before the `:`"),
            _ => Problem::at(key.place, format!("a key must be a name, found {}", key.found()))
                .label("not a name")
                .help("a text that begins with `{` or `[` needs quotes"),
        };
        self.problems.push(problem);
        None
    }

    fn refuse_decoration(&mut self, place: Place, anchor: usize, tag: Option<&Tag>) {
        if anchor != 0 {
            self.problems.push(
                Problem::at(place, "anchors (`&name`) are not part of the pipeline language")
                    .label("this value has one")
                    .help("write the value out where it is needed; a text that begins with `&` needs quotes"),
            );
        }
        if let Some(tag) = tag {
            let handle = if tag.is_yaml_core_schema() { "!!" } else { &tag.handle };
            let written = format!("{handle}{}", tag.suffix);
            self.problems.push(
                Problem::at(place, format!("tags (`{}`) are not part of the pipeline language", shorten(&written)))
                    .label("this value has one")
                    .help("remove it: the type of a value follows from where it stands"),
            );
        }
    }

    /// By line and column, not by index: the parser counts indices in characters here and in bytes there.
    fn place(&self, span: Span) -> Place {
        let start = self.text.offset(span.start.line(), span.start.col());
        let end = self.text.offset(span.end.line(), span.end.col());
        self.text.place(start..end.max(start))
    }
}
