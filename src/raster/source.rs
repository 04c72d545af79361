//! A file that is read at positions, from several threads, never beyond its end.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::error::RasterError;

/// An open file with its length. All reads are checked against the length before anything is allocated.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, RasterError> {
        let fail = |source| RasterError::io("open", path, source);
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(fail(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")));
        }
        Ok(Self { file, path: path.to_owned(), len: metadata.len() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fails unless `len` bytes at `offset` lie inside the file. `what` names them in the message.
    pub(super) fn check(&self, offset: u64, len: u64, what: impl FnOnce() -> String) -> Result<(), RasterError> {
        let end = offset.saturating_add(len);
        if end <= self.len {
            return Ok(());
        }
        Err(RasterError::Truncated { path: self.path.clone(), what: what(), expected: end, found: self.len })
    }

    /// Reads `len` bytes at `offset` into `buffer`, replacing what it held.
    pub(super) fn read(
        &self,
        offset: u64,
        len: u64,
        buffer: &mut Vec<u8>,
        what: impl FnOnce() -> String,
    ) -> Result<(), RasterError> {
        self.check(offset, len, what)?;
        // The length is at most that of the file, so it is no wild allocation; it fits usize wherever the file can be read whole.
        buffer.resize(len as usize, 0);
        read_exact_at(&self.file, buffer, offset).map_err(|source| RasterError::io("read", &self.path, source))
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[n..];
        offset += n as u64;
    }
    Ok(())
}
