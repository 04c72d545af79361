//! blake3 digests: of bytes, of files, and the names by which content and tasks are known.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 256-bit blake3 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no blake3 digest: expected 64 hexadecimal digits")]
pub struct DigestError(String);

impl Digest {
    /// The digest of bytes in memory, as `b3sum` would print it.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of bytes under a context string of their own: equal bytes in two contexts have unrelated digests.
    pub fn in_context(context: &str, bytes: &[u8]) -> Self {
        Self(blake3::derive_key(context, bytes))
    }

    /// The digest of everything that a reader yields, and how many bytes that was.
    ///
    /// Large inputs use all cores: while one block is hashed in parallel, the next is read. (Not by mapping the file:
    /// a file that another program truncates meanwhile would then kill this process instead of giving an error.)
    ///
    /// # Errors
    /// When reading fails.
    pub fn of_reader(mut reader: impl Read + Send) -> io::Result<(Self, u64)> {
        const BLOCK: usize = 4 << 20;
        let mut hasher = blake3::Hasher::new();
        let mut current = Vec::new();
        let mut total = read_block(&mut reader, &mut current, BLOCK)?;
        if (total as usize) < BLOCK {
            hasher.update(&current);
            return Ok((Self(*hasher.finalize().as_bytes()), total));
        }
        let mut next = Vec::new();
        while !current.is_empty() {
            let (read, _) = rayon::join(
                || read_block(&mut reader, &mut next, BLOCK),
                || {
                    hasher.update_rayon(&current);
                },
            );
            total += read?;
            std::mem::swap(&mut current, &mut next);
        }
        Ok((Self(*hasher.finalize().as_bytes()), total))
    }

    /// The digest of a file, and its length in bytes.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn of_file(path: &Path) -> io::Result<(Self, u64)> {
        Self::of_reader(File::open(path)?)
    }

    /// A number of 62 bits that stands for the digest where few of them meet.
    pub(super) fn number(&self) -> u64 {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first) >> 2
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

/// Digests bytes that come piece by piece, as [`Digest::of`] would the whole.
#[derive(Clone, Debug, Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces so far.
    pub fn digest(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Fills `block` with up to `len` bytes; fewer only at the end.
fn read_block(reader: &mut impl Read, block: &mut Vec<u8>, len: usize) -> io::Result<u64> {
    block.clear();
    reader.take(len as u64).read_to_end(block).map(|n| n as u64)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match blake3::Hash::from_hex(text) {
            Ok(hash) if lower => Ok(Self(*hash.as_bytes())),
            _ => Err(DigestError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.hex()
    }
}

/// The key of a task: the digest of its canonical record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Digest);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an artefact is, by content: the bytes of one file, or the record of one directory. Written `file:<hex>` or
/// `tree:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ContentId {
    /// A file: the digest of its bytes.
    File(Digest),
    /// A directory: the digest of its tree record.
    Tree(Digest),
}

impl ContentId {
    /// The digest without its type.
    pub fn digest(&self) -> Digest {
        match self {
            Self::File(digest) | Self::Tree(digest) => *digest,
        }
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(digest) => write!(f, "file:{digest}"),
            Self::Tree(digest) => write!(f, "tree:{digest}"),
        }
    }
}

impl TryFrom<String> for ContentId {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("file", hex)) => hex.parse().map(Self::File),
            Some(("tree", hex)) => hex.parse().map(Self::Tree),
            _ => Err(DigestError(text)),
        }
    }
}

impl From<ContentId> for String {
    fn from(content: ContentId) -> Self {
        content.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The official test vector: input byte i is i % 251.
    fn vector(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn digests_are_plain_blake3() {
        // From the blake3 reference implementation's test_vectors.json (first 32 bytes of "hash").
        assert_eq!(Digest::of(b"").hex(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(Digest::of(&vector(1)).hex(), "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213");
    }

    #[test]
    fn a_reader_gives_the_same_digest_at_every_length() {
        for len in [0, 1, 1023, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (9 << 20) + 7] {
            let bytes = vector(len);
            assert_eq!(Digest::of_reader(&bytes[..]).unwrap(), (Digest::of(&bytes), len as u64), "{len} bytes");
        }
    }

    #[test]
    fn text_form_goes_there_and_back() {
        let digest = Digest::of(b"x");
        for content in [ContentId::File(digest), ContentId::Tree(digest)] {
            assert_eq!(ContentId::try_from(content.to_string()).unwrap(), content);
        }
        assert!("zz".parse::<Digest>().is_err());
        assert!(digest.hex().to_uppercase().parse::<Digest>().is_err(), "one spelling only");
        assert!(ContentId::try_from(digest.hex()).is_err());
    }
}
