//! The TIFF header and its directories (TIFF 6.0 section 2; BigTIFF), read with every length checked against the file.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use tiff::tags::{Tag, Type};

use super::error::RasterError;
use super::info::ByteOrder;
use super::source::Source;

/// Longest chain of directories that is followed: a pyramid with masks has some tens.
const MAX_DIRECTORIES: usize = 1000;

/// An open TIFF: its file, byte order and flavour.
#[derive(Debug)]
pub(super) struct TiffFile {
    pub(super) source: Source,
    pub(super) order: ByteOrder,
    pub(super) big: bool,
    first: u64,
}

/// One image file directory.
#[derive(Debug)]
pub(super) struct Directory {
    entries: BTreeMap<u16, Entry>,
    next: u64,
}

/// One directory entry: where its values are.
#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u16,
    count: u64,
    /// The field that holds the values themselves where they fit, else their offset.
    field: [u8; 8],
}

impl TiffFile {
    pub(super) fn open(path: &Path) -> Result<Self, RasterError> {
        let source = Source::open(path)?;
        let mut head = Vec::new();
        source.read(0, source.len().min(16), &mut head, || "the header".to_owned())?;
        let not_tiff = || RasterError::NotTiff { path: path.to_owned(), found: printable(&head) };

        let order = match head.get(..2) {
            Some(b"II") => ByteOrder::LittleEndian,
            Some(b"MM") => ByteOrder::BigEndian,
            _ => return Err(not_tiff()),
        };
        let big = match head.get(2..4).map(|b| order.unsigned(b)) {
            Some(42) => false,
            Some(43) => true,
            Some(_) => return Err(not_tiff()),
            None => return Err(truncated_header(&source, 8)),
        };
        let (header_len, first_at) = if big { (16, 8..16) } else { (8, 4..8) };
        if head.len() < header_len {
            return Err(truncated_header(&source, header_len as u64));
        }
        if big && (order.unsigned(&head[4..6]), order.unsigned(&head[6..8])) != (8, 0) {
            return Err(not_tiff());
        }
        let first = order.unsigned(&head[first_at]);
        Ok(Self { source, order, big, first })
    }

    pub(super) fn path(&self) -> &Path {
        self.source.path()
    }

    /// The main image's directory.
    pub(super) fn first_directory(&self) -> Result<Directory, RasterError> {
        self.directory(self.first)
    }

    /// The directories after `directory`, as many as can be followed: what comes after the main image is a bonus, so a
    /// broken chain ends it without an error.
    pub(super) fn following(&self, directory: &Directory) -> Vec<Directory> {
        let mut seen = HashSet::from([self.first]);
        let mut next = directory.next;
        let mut found = Vec::new();
        while next != 0 && found.len() < MAX_DIRECTORIES && seen.insert(next) {
            let Ok(directory) = self.directory(next) else { break };
            next = directory.next;
            found.push(directory);
        }
        found
    }

    fn directory(&self, offset: u64) -> Result<Directory, RasterError> {
        let what = || "the image directory".to_owned();
        let (count_len, entry_len, field_len) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let mut bytes = Vec::new();
        self.source.read(offset, count_len, &mut bytes, what)?;
        let count = self.order.unsigned(&bytes);
        let body = count.saturating_mul(entry_len).saturating_add(field_len);
        self.source.read(offset + count_len, body, &mut bytes, what)?;

        let (entries_bytes, next) = bytes.split_at(bytes.len() - field_len as usize);
        let mut entries = BTreeMap::new();
        for entry in entries_bytes.chunks_exact(entry_len as usize) {
            let count_end = entry.len() - field_len as usize;
            let mut field = [0; 8];
            field[..field_len as usize].copy_from_slice(&entry[count_end..]);
            // A tag that occurs twice: the first one counts, as in libtiff.
            entries.entry(self.order.unsigned(&entry[..2]) as u16).or_insert(Entry {
                kind: self.order.unsigned(&entry[2..4]) as u16,
                count: self.order.unsigned(&entry[4..count_end]),
                field,
            });
        }
        Ok(Directory { entries, next: self.order.unsigned(next) })
    }

    /// The bytes of a tag's values with their type, [`None`] when the tag is absent or of an unknown type.
    fn value(&self, directory: &Directory, tag: Tag) -> Result<Option<(Type, Vec<u8>)>, RasterError> {
        let Some(&entry) = directory.entries.get(&tag.to_u16()) else { return Ok(None) };
        let Some(kind) = Type::from_u16(entry.kind) else { return Ok(None) };
        let len = entry.count.saturating_mul(size_of_type(kind));
        let field_len: usize = if self.big { 8 } else { 4 };
        if len <= field_len as u64 {
            return Ok(Some((kind, entry.field[..len as usize].to_vec())));
        }
        let mut bytes = Vec::new();
        self.source.read(self.order.unsigned(&entry.field[..field_len]), len, &mut bytes, || name(tag))?;
        Ok(Some((kind, bytes)))
    }

    /// All values of a whole-number tag.
    pub(super) fn unsigned(&self, directory: &Directory, tag: Tag) -> Result<Option<Vec<u64>>, RasterError> {
        let Some((kind, bytes)) = self.value(directory, tag)? else { return Ok(None) };
        match kind {
            Type::BYTE | Type::SHORT | Type::LONG | Type::LONG8 | Type::IFD | Type::IFD8 => {
                Ok(Some(bytes.chunks_exact(size_of_type(kind) as usize).map(|b| self.order.unsigned(b)).collect()))
            }
            _ => Err(self.wrong_type(tag, kind, "whole numbers")),
        }
    }

    /// The first value of a whole-number tag.
    pub(super) fn first_unsigned(&self, directory: &Directory, tag: Tag) -> Result<Option<u64>, RasterError> {
        Ok(self.unsigned(directory, tag)?.and_then(|values| values.first().copied()))
    }

    /// All values of a tag of 16-bit numbers.
    pub(super) fn shorts(&self, directory: &Directory, tag: Tag) -> Result<Option<Vec<u16>>, RasterError> {
        let Some(values) = self.unsigned(directory, tag)? else { return Ok(None) };
        let shorts: Result<Vec<u16>, _> = values.into_iter().map(u16::try_from).collect();
        shorts.map(Some).map_err(|_| RasterError::malformed(self.path(), format!("{} is beyond 16 bits", name(tag))))
    }

    /// All values of a floating-point tag.
    pub(super) fn doubles(&self, directory: &Directory, tag: Tag) -> Result<Option<Vec<f64>>, RasterError> {
        let Some((kind, bytes)) = self.value(directory, tag)? else { return Ok(None) };
        match kind {
            Type::DOUBLE => Ok(Some(bytes.chunks_exact(8).map(|b| f64::from_bits(self.order.unsigned(b))).collect())),
            Type::FLOAT => {
                let single = |b| f64::from(f32::from_bits(self.order.unsigned(b) as u32));
                Ok(Some(bytes.chunks_exact(4).map(single).collect()))
            }
            _ => Err(self.wrong_type(tag, kind, "floating-point numbers")),
        }
    }

    /// A text tag up to its first NUL; bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self, directory: &Directory, tag: Tag) -> Result<Option<String>, RasterError> {
        let Some((kind, mut bytes)) = self.value(directory, tag)? else { return Ok(None) };
        if !matches!(kind, Type::ASCII | Type::BYTE | Type::UNDEFINED) {
            return Err(self.wrong_type(tag, kind, "text"));
        }
        if let Some(end) = bytes.iter().position(|&b| b == 0) {
            bytes.truncate(end);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn wrong_type(&self, tag: Tag, kind: Type, expected: &str) -> RasterError {
        RasterError::malformed(self.path(), format!("{} is of type {kind:?}, expected {expected}", name(tag)))
    }
}

/// A tag's name in messages.
fn name(tag: Tag) -> String {
    match tag {
        Tag::Unknown(code) => format!("tag {code}"),
        tag => format!("tag {tag:?} ({})", tag.to_u16()),
    }
}

fn size_of_type(kind: Type) -> u64 {
    match kind {
        Type::BYTE | Type::ASCII | Type::SBYTE | Type::UNDEFINED => 1,
        Type::SHORT | Type::SSHORT => 2,
        Type::LONG | Type::SLONG | Type::FLOAT | Type::IFD => 4,
        _ => 8,
    }
}

fn truncated_header(source: &Source, expected: u64) -> RasterError {
    let what = "the TIFF header".to_owned();
    RasterError::Truncated { path: source.path().to_owned(), what, expected, found: source.len() }
}

fn printable(head: &[u8]) -> String {
    if head.is_empty() {
        return "an empty file".to_owned();
    }
    format!("\"{}\"", head[..head.len().min(8)].escape_ascii())
}

impl ByteOrder {
    /// A number of 0 to 8 bytes.
    pub(super) fn unsigned(self, bytes: &[u8]) -> u64 {
        let push = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        match self {
            Self::LittleEndian => bytes.iter().rev().fold(0, push),
            Self::BigEndian => bytes.iter().fold(0, push),
        }
    }
}
