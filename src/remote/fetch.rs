//! Bringing a result into the cache: its action, its directory records, its files; each is checked before it enters,
//! and the task counts as done only when all of it is there.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::crew::each;
use super::download::{Download, Limit, PART};
use super::fault::Fault;
use super::names;
use super::shared::SharedCache;
use crate::engine::{Cache, Cancel, Digest, Incoming, Key, Parcel, ReceiveError, StoredFile};

/// Largest action and largest directory record that are read: a task with a million files has less.
const MOST_ACTION: u64 = 256 << 20;
/// Files of one result that come at a time.
const SIDE_BY_SIDE: usize = 8;
/// A fetch may take this long, and this many times what running the task took: after that, running it is quicker.
const GRACE: Duration = Duration::from_secs(30);
const TIMES: f64 = 4.0;
/// zstd windows up to 2^25 bytes are unpacked; our own have at most 2^22.
const MOST_WINDOW: u32 = 25;
/// Bytes that are unpacked at a time.
const PIECE: usize = 256 << 10;

/// Why a result was not fetched although the remote has it.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The remote.
    #[error(transparent)]
    Remote(#[from] Fault),
    /// An object is not what it should be.
    #[error("{object} is damaged: {why}")]
    Damaged { object: String, why: String },
    /// This cache.
    #[error(transparent)]
    Cache(ReceiveError),
}

impl FetchError {
    fn damaged(object: &str, why: impl ToString) -> Self {
        Self::Damaged { object: object.to_owned(), why: why.to_string() }
    }

    /// What was wrong with what an object held; a cache that cannot be written is not the object's fault.
    fn received(object: &str, error: ReceiveError) -> Self {
        match error {
            ReceiveError::Cache(_) => Self::Cache(error),
            other => Self::damaged(object, other),
        }
    }
}

impl SharedCache {
    /// Brings a result into the cache, where the remote has it. `patient`: however long it takes.
    pub(super) fn bring(&self, key: Key, cache: &Cache, cancel: &Cancel, patient: bool) -> Result<bool, FetchError> {
        let Some(parcel) = self.look_for(key)? else { return Ok(false) };
        let patience = GRACE + Duration::from_secs_f64(TIMES * parcel.seconds().clamp(0.0, 1e6));
        let until = (!patient).then(|| (Instant::now() + patience, patience));
        let limit = Limit { cancel: cancel.clone(), until };
        for digest in parcel.trees() {
            self.bring_tree(digest, cache)?;
        }
        let files = parcel.files(cache).unwrap_or_default();
        let missing = files.into_iter().filter(|file| !cache.has_file(*file));
        each(missing, SIDE_BY_SIDE, |file| self.bring_file(file, cache, &limit))?;
        cache.take_parcel(&parcel).map_err(FetchError::Cache)?;
        Ok(true)
    }

    /// The result of a task as the remote has it; `None` where it has none.
    pub(super) fn look_for(&self, key: Key) -> Result<Option<Parcel>, FetchError> {
        let name = names::action(key);
        let Some(bytes) = self.bucket.read(&name, MOST_ACTION)? else { return Ok(None) };
        Parcel::from_json(key, &bytes).map(Some).map_err(|e| FetchError::damaged(&name, e))
    }

    fn bring_tree(&self, digest: Digest, cache: &Cache) -> Result<(), FetchError> {
        if cache.tree_record(digest).is_some() {
            return Ok(());
        }
        let name = names::tree(digest);
        let record = self.bucket.read(&name, MOST_ACTION)?;
        let record = record.ok_or_else(|| FetchError::damaged(&name, GONE))?;
        cache.take_tree(digest, &record).map_err(|e| FetchError::received(&name, e))
    }

    fn bring_file(&self, file: StoredFile, cache: &Cache, limit: &Limit) -> Result<(), FetchError> {
        let name = names::file(file.digest);
        let _transfer = self.bucket.transfer();
        let mut incoming = cache.receive(file).map_err(|e| FetchError::Cache(e.into()))?;
        // Compressed it is not larger than the file, but for some bytes a frame.
        let whole = file.bytes.is_some_and(|bytes| bytes <= PART);
        let mut download = self.bucket.download(&name, whole, limit.clone());
        unpack(&name, &mut download, &mut incoming)?;
        incoming.finish().map_err(|e| FetchError::received(&name, e))
    }
}

const GONE: &str = "it is not there, although a result refers to it";

/// Unpacks what comes.
fn unpack(name: &str, download: &mut Download<'_>, into: &mut Incoming<'_>) -> Result<(), FetchError> {
    let mut piece = vec![0; PIECE];
    let mut unpacker = zstd::stream::read::Decoder::new(&mut *download).map_err(|e| FetchError::damaged(name, e))?;
    unpacker.window_log_max(MOST_WINDOW).map_err(|e| FetchError::damaged(name, e))?;
    let failed = loop {
        match unpacker.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => into.write_all(&piece[..count]).map_err(|e| FetchError::received(name, into.why(e)))?,
            Err(error) => break error,
        }
    };
    drop(unpacker);
    Err(match download.fault.take() {
        Some(Fault::Missing { .. }) => FetchError::damaged(name, GONE),
        Some(fault) => fault.into(),
        None => FetchError::damaged(name, failed),
    })
}
