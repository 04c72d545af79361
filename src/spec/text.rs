//! Texts that people wrote (the file, each `--set`) and places in them.

use std::ops::Range;

/// Which text a place is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// The pipeline file.
    File,
    /// The `--set` with this index (0-based, in the order of the command line).
    CommandLine(usize),
}

/// A stretch of one line of a text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The text.
    pub origin: Origin,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Byte offset in the text as [`Text`] holds it.
    pub(super) start: usize,
    /// Length in bytes; 0 where something is missing.
    pub(super) len: usize,
}

impl Place {
    /// The bytes that it covers.
    pub(super) fn bytes(self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// A text with its lines counted. Byte order mark dropped, every line break a `\n`.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) origin: Origin,
    pub(super) content: String,
    line_starts: Vec<usize>,
}

impl Text {
    pub(super) fn new(origin: Origin, content: &str) -> Self {
        let content = content.strip_prefix('\u{feff}').unwrap_or(content).replace("\r\n", "\n").replace('\r', "\n");
        let line_starts = std::iter::once(0).chain(content.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { origin, content, line_starts }
    }

    /// The line with this number (from 1), without its line break; empty past the end.
    pub(super) fn line(&self, line: usize) -> &str {
        let Some(&start) = line.checked_sub(1).and_then(|index| self.line_starts.get(index)) else { return "" };
        self.content[start..].split('\n').next().unwrap_or("")
    }

    /// Byte offset of a line (from 1) and a column in characters (from 0), kept inside the line.
    pub(super) fn offset(&self, line: usize, column: usize) -> usize {
        let Some(&start) = line.checked_sub(1).and_then(|index| self.line_starts.get(index)) else {
            return self.content.len();
        };
        start + self.line(line).char_indices().nth(column).map_or(self.line(line).len(), |(at, _)| at)
    }

    /// The place of these bytes, cut at the end of their first line, without trailing blanks.
    pub(super) fn place(&self, bytes: Range<usize>) -> Place {
        let start = bytes.start.min(self.content.len());
        let line = self.line_starts.partition_point(|&s| s <= start);
        let line_start = self.line_starts[line - 1];
        let rest = &self.content[start..bytes.end.clamp(start, self.content.len())];
        let first = rest.split('\n').next().unwrap_or("").trim_end();
        let column = self.content[line_start..start].chars().count() + 1;
        Place { origin: self.origin, line, column, start, len: first.len() }
    }

    /// The text for showing: control characters, which could steer a terminal, replaced without moving any byte.
    pub(super) fn printable(&self) -> String {
        self.content
            .chars()
            .map(|c| match (c, c.len_utf8()) {
                ('\n' | '\t', _) => c,
                (_, 1) if c.is_control() => '?',
                (_, _) if c.is_control() => '\u{bf}',
                _ => c,
            })
            .collect()
    }
}
