//! The objects of a remote, by name. Blocking: the one asynchronous runtime of this room is in here.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::address::Address;
use super::backend;
use super::fault::Fault;

/// How long a question after a small object may take, all its repetitions included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long putting a small object there may take.
const PUT_PATIENCE: Duration = Duration::from_secs(60);
/// How often a read that breaks off is begun again, and the first pause before that; it doubles.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
/// Files on their way at a time. With what each of them holds, this bounds the memory.
const TRANSFERS: usize = 8;
/// Threads that drive transfers; what is heavy is done elsewhere.
const WORKERS: usize = 2;

/// The objects of a remote.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    prefix: Path,
    transfers: Semaphore,
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // A request without an answer must not hold the program up.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    /// Opens it. Sends no request yet.
    pub(super) fn open(address: &Address) -> Result<Self, Fault> {
        let (store, prefix) = backend::open(address)?;
        let start = || Builder::new_multi_thread().worker_threads(WORKERS).thread_name("remote").enable_all().build();
        let unreachable = |e: io::Error| Fault::Unreachable { said: e.to_string() };
        let runtime = start().map_err(unreachable)?;
        let handle = runtime.handle().clone();
        Ok(Self { store, prefix, transfers: Semaphore::new(TRANSFERS), handle, runtime: Some(runtime) })
    }

    /// Where an object is.
    pub(super) fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), Path::join)
    }

    /// The runtime.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until a file may be on its way.
    pub(super) fn transfer(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.handle.block_on(self.transfers.acquire()).ok()
    }

    /// Waits for an answer about an object.
    pub(super) fn within<T>(
        &self,
        patience: Duration,
        object: &str,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Fault> {
        self.handle.block_on(async {
            match tokio::time::timeout(patience, answer).await {
                Ok(answer) => answer.map_err(|e| Fault::of(object, &e)),
                Err(_) => Err(Fault::Slow { object: object.to_owned(), seconds: patience.as_secs() }),
            }
        })
    }

    /// The size of an object in bytes; `None` where there is none.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>, Fault> {
        let path = self.path(name);
        there(self.within(PATIENCE, name, async { Ok(self.store.head(&path).await?.size) }))
    }

    /// The bytes of a small object; `None` where there is none. One of more than `most` bytes gives no bytes at all.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>, Fault> {
        let path = self.path(name);
        let get = || async {
            let found = self.store.get(&path).await?;
            if found.meta.size > most { Ok(Bytes::new()) } else { found.bytes().await }
        };
        there(self.within(PATIENCE, name, again(get)))
    }

    /// Puts a small object there, in place of one that is.
    pub(super) fn write(&self, name: &str, bytes: Bytes) -> Result<(), Fault> {
        let path = self.path(name);
        let put = || async { self.store.put(&path, PutPayload::from_bytes(bytes.clone())).await.map(|_| ()) };
        self.within(PUT_PATIENCE, name, again(put))
    }

    /// How many objects there are in a folder.
    pub(super) fn count(&self, folder: &str) -> Result<usize, Fault> {
        let path = self.path(folder);
        let counting = async {
            let mut objects = self.store.list(Some(&path));
            let mut count = 0;
            while let Some(object) = objects.next().await {
                object?;
                count += 1;
            }
            Ok(count)
        };
        self.within(PUT_PATIENCE, folder, counting)
    }
}

/// No object is an answer, too.
fn there<T>(answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Fault::Missing { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Does something again when it breaks off, with pauses that double, of random length. (A request that fails before it
/// has begun to give an answer is repeated below; this is for what breaks off in the middle.)
pub(super) async fn again<T, F: Future<Output = object_store::Result<T>>>(
    mut attempt: impl FnMut() -> F,
) -> object_store::Result<T> {
    let mut number = 1;
    loop {
        match attempt().await {
            Err(object_store::Error::Generic { .. }) if number < ATTEMPTS => {
                let pause = PAUSE * 2_u32.pow(number);
                tokio::time::sleep(pause.mul_f64(0.5 + chance())).await;
                number += 1;
            }
            other => return other,
        }
    }
}

/// A number between 0 and 1 that two machines hardly share: so they do not come back at the same moment.
fn chance() -> f64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    f64::from(nanos % 1000) / 1000.0
}
