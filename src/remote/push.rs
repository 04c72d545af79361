//! Putting a result into the remote: its files, its directory records, and at last its action, so that nothing half
//! is ever visible.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::crew::each;
use super::fault::Fault;
use super::fetch::FetchError;
use super::names;
use super::shared::SharedCache;
use super::upload::UploadError;
use crate::engine::{Cache, CacheError, Cancel, Digest, Key, Parcel, StoredFile};

/// Files up to this size are put there without asking whether they are: the answer takes as long as the file.
const SMALL: u64 = 64 << 10;
/// Files of one result on their way at a time.
const SIDE_BY_SIDE: usize = 8;

/// What has been put into a remote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Sent {
    /// Results whose content and action were put there.
    pub results: usize,
    /// Results that were there.
    pub already: usize,
    /// Bytes of their objects.
    pub bytes: u64,
}

/// Why a result was not pushed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    /// The remote.
    #[error(transparent)]
    Remote(#[from] Fault),
    /// What lies in this cache.
    #[error("{0}")]
    Local(String),
}

impl From<UploadError> for PushError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Remote(fault) => Self::Remote(fault),
            other => Self::Local(other.to_string()),
        }
    }
}

impl From<CacheError> for PushError {
    fn from(error: CacheError) -> Self {
        Self::Local(error.to_string())
    }
}

/// How a push of a result ended.
pub(super) enum Pushed {
    /// It was put there, in so many bytes.
    Now(u64),
    /// It was there.
    Before,
    /// This cache does not have it in full.
    Nothing,
}

impl SharedCache {
    /// Puts a result into the remote, unless it is there. What was found damaged there, or everything with `anew`, is
    /// put there again.
    pub(super) fn send(&self, key: Key, cache: &Cache, cancel: &Cancel, anew: bool) -> Result<Pushed, PushError> {
        let Some(parcel) = cache.parcel(key)? else { return Ok(Pushed::Nothing) };
        let anew = anew || self.is_suspect(key);
        if !anew && self.has_action(key)? {
            return Ok(Pushed::Before);
        }
        let bytes = AtomicU64::new(0);
        let files = parcel.files(cache).unwrap_or_default();
        each(files, SIDE_BY_SIDE, |file| self.send_file(file, cache, cancel, anew, &bytes))?;
        for digest in parcel.trees() {
            self.send_tree(digest, cache, anew, &bytes)?;
        }
        self.send_action(&parcel, &bytes)?;
        self.clear_suspicion(key);
        Ok(Pushed::Now(bytes.into_inner()))
    }

    /// Whether the remote has a readable action of the task. Which outputs it names does not matter: a task that does
    /// not always leave the same bytes keeps those that were there first.
    fn has_action(&self, key: Key) -> Result<bool, Fault> {
        match self.look_for(key) {
            Ok(parcel) => Ok(parcel.is_some()),
            Err(FetchError::Remote(fault)) => Err(fault),
            Err(_) => Ok(false),
        }
    }

    /// Puts a file there where it is not.
    fn send_file(
        &self,
        file: StoredFile,
        cache: &Cache,
        cancel: &Cancel,
        anew: bool,
        sent: &AtomicU64,
    ) -> Result<(), PushError> {
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled.into());
        }
        let (name, digest) = (names::file(file.digest), file.digest);
        let large = file.bytes.is_none_or(|bytes| bytes > SMALL);
        // The smallest frame there is has more bytes than none.
        if large && !anew && self.bucket.size(&name)?.is_some_and(|size| size > 0) {
            return Ok(());
        }
        let _transfer = self.bucket.transfer();
        let file = cache.open_file(digest).map_err(UploadError::Read)?;
        sent.fetch_add(self.bucket.upload(&name, digest, file, cancel)?, Ordering::Relaxed);
        Ok(())
    }

    fn send_tree(&self, digest: Digest, cache: &Cache, anew: bool, sent: &AtomicU64) -> Result<(), PushError> {
        let name = names::tree(digest);
        let gone = || PushError::Local(format!("the record of the directory {digest} is gone"));
        let record = cache.tree_record(digest).ok_or_else(gone)?;
        let size = record.len() as u64;
        if !anew && self.bucket.size(&name)? == Some(size) {
            return Ok(());
        }
        self.bucket.write(&name, record.into())?;
        sent.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }

    fn send_action(&self, parcel: &Parcel, sent: &AtomicU64) -> Result<(), PushError> {
        let text = parcel.to_json().map_err(|e| PushError::Local(e.to_string()))?;
        sent.fetch_add(text.len() as u64, Ordering::Relaxed);
        Ok(self.bucket.write(&names::action(parcel.key()), text.into())?)
    }
}
