//! A file on its way into the store from elsewhere: written beside it, digested on the way, and put in place only when
//! its bytes are the ones that were promised.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::cache::Cache;
use super::digest::{ContentId, Digest, Hasher};
use super::disk::{self, Sync};
use super::error::CacheError;
use super::parcel::StoredFile;
use super::store::Stored;

/// A file whose size nobody has told, a log, may have this many bytes.
const MOST_UNTOLD: u64 = 1 << 30;

/// Why something from elsewhere was not taken into the store.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// More bytes than there should be, or fewer.
    #[error("it should have {expected} bytes and has {}{found}", if .found > .expected { "at least " } else { "" })]
    Size {
        /// As the result's records say.
        expected: u64,
        /// As they came.
        found: u64,
    },
    /// Other bytes.
    #[error("its digest should be {expected} and is {found}")]
    Digest {
        /// Its name.
        expected: Digest,
        /// Of what came.
        found: Digest,
    },
    /// Bytes with the right digest that are no record of a directory.
    #[error("it is no record of a directory that this s2pipe can read")]
    NoTree,
    /// An output of a result is not in the store.
    #[error("its output {output:?} is not there")]
    Missing {
        /// Output name.
        output: String,
    },
    /// This cache cannot take it.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A file that is being received. Dropped before [`Incoming::finish`], it leaves nothing.
pub struct Incoming<'a> {
    cache: &'a Cache,
    expected: StoredFile,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    bytes: u64,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(cache: &'a Cache, expected: StoredFile) -> Result<Self, CacheError> {
        let path = disk::fresh(cache.scratch()?, "incoming");
        let file = File::create(&path).map_err(|e| CacheError::at("write", &path, e))?;
        Ok(Self { cache, expected, path, file, hasher: Hasher::default(), bytes: 0 })
    }

    /// All bytes have been written: puts the file into the store.
    ///
    /// # Errors
    /// [`ReceiveError`] when they are not those of the file that was asked for; then nothing of them stays.
    pub fn finish(self) -> Result<(), ReceiveError> {
        if let Some(expected) = self.expected.bytes.filter(|expected| *expected != self.bytes) {
            return Err(ReceiveError::Size { expected, found: self.bytes });
        }
        let (expected, found) = (self.expected.digest, self.hasher.digest());
        if expected != found {
            return Err(ReceiveError::Digest { expected, found });
        }
        // Another process may have been faster.
        if self.cache.check(ContentId::File(found), self.bytes) != Stored::Good {
            disk::seal(&self.path, Sync::Lazy)?;
            disk::rename(&self.path, &self.cache.file_path(found))?;
        }
        Ok(())
    }

    /// An error of [`Write`] as what it is: more bytes than expected, or a cache that cannot be written.
    pub fn why(&self, error: io::Error) -> ReceiveError {
        match self.expected.bytes {
            Some(expected) if self.bytes > expected => ReceiveError::Size { expected, found: self.bytes },
            _ => CacheError::at("write", &self.path, error).into(),
        }
    }
}

impl Write for Incoming<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.expected.bytes.unwrap_or(MOST_UNTOLD) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more bytes than there should be"));
        }
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        // There is nothing where it went into the store.
        let _ = std::fs::remove_file(&self.path);
    }
}
