//! An object as a stream of bytes: large ones come in parts, several of them at a time and a few ahead of the reader.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bucket::{Bucket, again};
use super::fault::Fault;
use crate::engine::Cancel;

/// Bytes of a part.
pub(super) const PART: u64 = 8 << 20;
/// Parts of one object that come at a time.
const AHEAD: usize = 3;
/// How often a reader without bytes looks whether it is to stop.
const LOOK_UP: Duration = Duration::from_millis(200);

/// Until when a transfer is worth waiting for.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    pub(super) cancel: Cancel,
    /// The moment, and how long that was at the start.
    pub(super) until: Option<(Instant, Duration)>,
}

/// The bytes of an object, as they come.
pub(super) struct Download<'a> {
    bucket: &'a Bucket,
    name: String,
    limit: Limit,
    parts: Receiver<Result<Bytes, Fault>>,
    current: Bytes,
    /// Why reading failed.
    pub(super) fault: Option<Fault>,
    task: JoinHandle<()>,
}

impl Bucket {
    /// Begins to read an object. `whole`: it is small enough to come in one part.
    pub(super) fn download(&self, name: &str, whole: bool, limit: Limit) -> Download<'_> {
        let (sender, parts) = channel(1);
        let (store, path, object) = (Arc::clone(&self.store), self.path(name), name.to_owned());
        let task = self.handle().spawn(async move {
            let sent =
                if whole { send_whole(store, path, &sender).await } else { send_parts(store, path, &sender).await };
            if let Err(error) = sent {
                // Without a reader nobody wants to know.
                let _ = sender.send(Err(Fault::of(&object, &error))).await;
            }
        });
        Download { bucket: self, name: name.to_owned(), limit, parts, current: Bytes::new(), fault: None, task }
    }
}

type Parts = Sender<Result<Bytes, Fault>>;

async fn send_whole(store: Arc<dyn ObjectStore>, path: Path, parts: &Parts) -> object_store::Result<()> {
    let bytes = again(|| async { store.get(&path).await?.bytes().await }).await?;
    let _ = parts.send(Ok(bytes)).await;
    Ok(())
}

async fn send_parts(store: Arc<dyn ObjectStore>, path: Path, parts: &Parts) -> object_store::Result<()> {
    let size = again(|| async { Ok(store.head(&path).await?.size) }).await?;
    let (store, path) = (&store, &path);
    let ranges = (0..size.div_ceil(PART)).map(|n| n * PART..size.min((n + 1) * PART));
    let get = |range: std::ops::Range<u64>| again(move || store.get_range(path, range.clone()));
    let mut coming = stream::iter(ranges).map(get).buffered(AHEAD);
    while let Some(part) = coming.next().await {
        if parts.send(Ok(part?)).await.is_err() {
            break;
        }
    }
    Ok(())
}

impl Download<'_> {
    /// The next part; `None` after the last one.
    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if self.limit.cancel.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            if let Some((_, patience)) = self.limit.until.filter(|(until, _)| Instant::now() >= *until) {
                return Err(Fault::Slow { object: self.name.clone(), seconds: patience.as_secs() });
            }
            let part = self.bucket.handle().block_on(async { timeout(LOOK_UP, self.parts.recv()).await });
            if let Ok(part) = part {
                return part.transpose();
            }
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.next() {
                Ok(Some(part)) => self.current = part,
                Ok(None) => return Ok(0),
                Err(fault) => {
                    let error = io::Error::other(fault.to_string());
                    self.fault = Some(fault);
                    return Err(error);
                }
            }
        }
        let count = into.len().min(self.current.len());
        into[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
