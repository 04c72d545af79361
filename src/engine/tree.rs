//! A directory as content: one record that lists its files.
//!
//! The record is text, a line a file, sorted by path bytes:
//!
//! ```text
//! s2pipe.tree/1
//! f <digest> <bytes> tile.safetensors
//! x <digest> <bytes> bin/run.sh          (executable)
//! d <digest of nothing> 0 empty          (a directory with nothing in it)
//! ```
//!
//! Paths are relative with `/`; bytes outside printable ASCII, and `%`, are written `%XX`. Times, owners and other
//! permission bits are not part of it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::digest::Digest;

const HEADER: &str = "s2pipe.tree/1";
const CONTEXT: &str = "s2pipe 2025 tree record 1: digest";

/// The files of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Tree {
    /// Sorted by path bytes.
    pub(super) entries: Vec<TreeEntry>,
}

/// One line of a tree record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TreeEntry {
    pub(super) kind: EntryKind,
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    pub(super) path: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EntryKind {
    File,
    Executable,
    EmptyDir,
}

impl EntryKind {
    fn letter(self) -> char {
        match self {
            Self::File => 'f',
            Self::Executable => 'x',
            Self::EmptyDir => 'd',
        }
    }
}

impl Tree {
    /// Brings entries into order.
    pub(super) fn new(mut entries: Vec<TreeEntry>) -> Self {
        entries.sort_by(|a, b| a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes()));
        Self { entries }
    }

    /// The entry at a path.
    pub(super) fn find(&self, path: &Path) -> Option<&TreeEntry> {
        let bytes = path.as_os_str().as_bytes();
        let at = self.entries.binary_search_by(|e| e.path.as_os_str().as_bytes().cmp(bytes)).ok()?;
        Some(&self.entries[at])
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().map(|e| e.bytes).sum()
    }

    /// The record.
    pub(super) fn record(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for entry in &self.entries {
            let path = escape(entry.path.as_os_str().as_bytes());
            text.push_str(&format!("{} {} {} {path}\n", entry.kind.letter(), entry.digest, entry.bytes));
        }
        text
    }

    /// The digest of a record.
    pub(super) fn digest_of_record(record: &[u8]) -> Digest {
        Digest::in_context(CONTEXT, record)
    }

    /// Reads a record; `None` when it is none, or holds a path that would leave the directory.
    pub(super) fn parse(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        let mut lines = text.lines();
        (lines.next()? == HEADER).then_some(())?;
        lines.map(parse_line).collect::<Option<Vec<_>>>().map(|entries| Self { entries })
    }
}

fn parse_line(line: &str) -> Option<TreeEntry> {
    let mut fields = line.splitn(4, ' ');
    let kind = match fields.next()? {
        "f" => EntryKind::File,
        "x" => EntryKind::Executable,
        "d" => EntryKind::EmptyDir,
        _ => return None,
    };
    let digest = fields.next()?.parse().ok()?;
    let bytes = fields.next()?.parse().ok()?;
    let path = PathBuf::from(OsString::from_vec(unescape(fields.next()?)?));
    is_inside(&path).then_some(TreeEntry { kind, digest, bytes, path })
}

/// Whether a relative path stays inside its folder and names something there.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components().count() > 0 && path.components().all(|c| matches!(c, Component::Normal(_)))
}

/// Printable ASCII stays, everything else becomes `%XX`.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &b in bytes {
        match b {
            b'%' | 0..=b' ' | 0x7f.. => text.push_str(&format!("%{b:02X}")),
            _ => text.push(char::from(b)),
        }
    }
    text
}

/// The inverse of [`escape`].
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &[u8], kind: EntryKind) -> TreeEntry {
        let path = PathBuf::from(OsString::from_vec(path.to_vec()));
        TreeEntry { kind, digest: Digest::of(b"x"), bytes: 1, path }
    }

    #[test]
    fn records_go_there_and_back_whatever_the_names() {
        let names: [&[u8]; 7] = [b"z", b"a b", b"new\nline", b"100%", b"sub/\xc3\xa6", b"\xff\xfe", b"a"];
        let tree = Tree::new(names.iter().map(|n| entry(n, EntryKind::File)).collect());
        let record = tree.record();
        assert_eq!(Tree::parse(record.as_bytes()).unwrap(), tree);
        assert_eq!(record.lines().count(), 8);
        assert!(record.is_ascii());
    }

    #[test]
    fn order_of_collection_does_not_matter_and_the_executable_bit_does() {
        let a = Tree::new(vec![entry(b"a", EntryKind::File), entry(b"b", EntryKind::File)]);
        let b = Tree::new(vec![entry(b"b", EntryKind::File), entry(b"a", EntryKind::File)]);
        let c = Tree::new(vec![entry(b"b", EntryKind::Executable), entry(b"a", EntryKind::File)]);
        assert_eq!(a.record(), b.record());
        assert_ne!(a.record(), c.record());
    }

    #[test]
    fn records_that_reach_outside_are_refused() {
        for path in ["../x", "/etc/passwd", "a/../../x", ""] {
            let record = format!("{HEADER}\nf {} 1 {}\n", Digest::of(b"x"), escape(path.as_bytes()));
            assert!(Tree::parse(record.as_bytes()).is_none(), "{path:?}");
        }
        assert!(Tree::parse(b"s2pipe.tree/2\n").is_none());
    }
}
