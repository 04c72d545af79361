//! A file on its way to a remote: compressed as it is read; in parts, several of them at a time, where it is large. An
//! object is visible only when all of it is there.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::time::Duration;

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;

use super::bucket::Bucket;
use super::fault::Fault;
use super::pack::Packer;
use crate::engine::{Cancel, Digest};

/// Bytes of a part, all but the last: some stores want them all alike.
const PART: usize = 8 << 20;
/// Most parts that a store takes, with some to spare.
const MOST_PARTS: u64 = 9000;
/// Parts of one file on their way at a time.
const AHEAD: usize = 4;
/// How long a part, or the word that all are there, may take, all repetitions included.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long taking parts back may take.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// Why a file did not get there.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The remote.
    #[error(transparent)]
    Remote(#[from] Fault),
    /// The file here.
    #[error("cannot read a stored file: {0}")]
    Read(#[from] io::Error),
    /// The file here has not the bytes that it should have.
    #[error("the stored file {0} is damaged: `s2pipe cache verify --repair` removes it")]
    Damaged(Digest),
}

impl Bucket {
    /// Compresses a file and puts it there. Returns the bytes that it takes there. Nothing is visible of a file that
    /// has other bytes than its name says.
    pub(super) fn upload(&self, name: &str, digest: Digest, file: File, cancel: &Cancel) -> Result<u64, UploadError> {
        let part = part_size(file.metadata()?.len());
        let mut packer = Packer::new(file);
        let mut parts: Option<Parts<'_>> = None;
        let (mut buffer, mut sent) = (Vec::new(), 0);
        while let Some(piece) = packer.next()? {
            if cancel.is_cancelled() {
                return Err(Fault::Cancelled.into());
            }
            sent += piece.len() as u64;
            buffer.extend(piece);
            while buffer.len() > part {
                let rest = buffer.split_off(part);
                let full = std::mem::replace(&mut buffer, rest);
                if parts.is_none() {
                    parts = Some(Parts::begin(self, name)?);
                }
                parts.as_mut().map_or(Ok(()), |parts| parts.put(full))?;
            }
        }
        if packer.seen().0 != digest {
            return Err(UploadError::Damaged(digest));
        }
        match parts {
            None => self.write(name, buffer.into())?,
            Some(mut parts) => {
                parts.put(buffer)?;
                parts.complete()?;
            }
        }
        Ok(sent)
    }
}

/// A multiple of [`PART`] with which a file of this size has at most [`MOST_PARTS`].
fn part_size(bytes: u64) -> usize {
    let times = bytes.div_ceil(MOST_PARTS * PART as u64).max(1);
    PART * usize::try_from(times).unwrap_or(1)
}

/// An object that is put there in parts. Dropped before [`Parts::complete`], it takes them back.
struct Parts<'a> {
    bucket: &'a Bucket,
    name: &'a str,
    upload: Box<dyn MultipartUpload>,
    on_their_way: VecDeque<JoinHandle<object_store::Result<()>>>,
    complete: bool,
}

impl<'a> Parts<'a> {
    fn begin(bucket: &'a Bucket, name: &'a str) -> Result<Self, Fault> {
        let path = bucket.path(name);
        let upload = bucket.within(PATIENCE, name, bucket.store.put_multipart(&path))?;
        Ok(Self { bucket, name, upload, on_their_way: VecDeque::new(), complete: false })
    }

    fn put(&mut self, part: Vec<u8>) -> Result<(), Fault> {
        while self.on_their_way.len() >= AHEAD {
            self.wait()?;
        }
        let part = self.upload.put_part(PutPayload::from(part));
        self.on_their_way.push_back(self.bucket.handle().spawn(part));
        Ok(())
    }

    /// Waits for the oldest part.
    fn wait(&mut self) -> Result<(), Fault> {
        let Some(part) = self.on_their_way.pop_front() else { return Ok(()) };
        self.bucket.within(PATIENCE, self.name, async { part.await? })
    }

    fn complete(mut self) -> Result<(), Fault> {
        while !self.on_their_way.is_empty() {
            self.wait()?;
        }
        self.bucket.within(PATIENCE, self.name, self.upload.complete())?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        if self.complete {
            return;
        }
        self.on_their_way.iter().for_each(JoinHandle::abort);
        // Where this fails, what is left of it is invisible, and the bucket's own rules clear it away.
        let _ = self.bucket.within(ABORT_PATIENCE, self.name, self.upload.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_size_has_few_enough_parts() {
        assert_eq!(part_size(0), PART);
        assert_eq!(part_size(70 << 30), PART);
        for bytes in [1_u64 << 30, 1 << 36, 1 << 40, 1 << 42] {
            assert!(bytes.div_ceil(part_size(bytes) as u64) <= MOST_PARTS);
        }
    }
}
