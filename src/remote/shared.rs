//! A cache that several machines share, as a run and the commands see it.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::address::Address;
use super::bucket::Bucket;
use super::crew::each;
use super::fault::Fault;
use super::fetch::FetchError;
use super::health::{Health, Tell};
use super::names;
use super::push::{PushError, Pushed};
use super::queue::{Progress, Queue};
use crate::engine::{Cache, Cancel, Key, Remote};
use crate::spec::Push;

/// Results that are pushed or fetched at a time.
const PUSHERS: usize = 4;
const FETCHERS: usize = 8;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);
/// The object that tells the format has few bytes.
const MOST_FORMAT: u64 = 1 << 10;

/// A remote that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not answer as it should.
    #[error("the remote {address}: {fault}")]
    Fault {
        /// Where it is.
        address: String,
        /// What went wrong.
        fault: Fault,
    },
    /// It was made by a program that knows more than this one.
    #[error("the remote {address} has format {found}; this s2pipe reads formats up to {}", names::FORMAT)]
    Newer {
        /// Where it is.
        address: String,
        /// Its format.
        found: u32,
    },
    /// Something else stands where the format should be told.
    #[error(
        "{address} is no remote of s2pipe: its object {:?} should say \"s2pipe remote <number>\"",
        names::FORMAT_OBJECT
    )]
    NotOurs {
        /// Where it is.
        address: String,
    },
}

impl OpenError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Fault { fault, .. } => fault.help(),
            Self::Newer { .. } => "use the newer s2pipe, or another folder in the bucket",
            Self::NotOurs { .. } => "choose another folder in the bucket",
        }
    }
}

/// What a remote is like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RemoteState {
    /// Where it is.
    pub address: String,
    /// Its format; `None` while nothing has been pushed.
    pub format: Option<u32>,
    /// How many results it has.
    pub results: usize,
}

/// What came of fetching.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Fetched {
    /// Results that are in the cache now.
    pub fetched: usize,
    /// Results that the remote has not.
    pub missing: usize,
    /// Results that it has and that could not be taken.
    pub failed: usize,
}

/// A cache that several machines share. See the room.
pub struct SharedCache {
    address: String,
    pub(super) bucket: Bucket,
    health: Health,
    push: Push,
    /// Whether it has a format, once that has been asked; `None`: it cannot be used.
    contact: OnceLock<Option<bool>>,
    /// Whether its format has been written.
    formatted: Mutex<bool>,
    queue: Queue,
    /// Results of this run about whose pushing the person is asked.
    made: Mutex<Vec<Key>>,
    /// Results of which something was found damaged there.
    suspects: Mutex<HashSet<Key>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedCache {
    /// Opens it, without sending a request: what it is like is found out when it is first needed. `tell` hears of what
    /// a person should know.
    ///
    /// # Errors
    /// [`OpenError::Fault`] where settings in the environment contradict the address.
    pub fn open(address: &Address, push: Push, tell: Tell) -> Result<Self, OpenError> {
        let text = address.to_string();
        let bucket = Bucket::open(address).map_err(|fault| OpenError::Fault { address: text.clone(), fault })?;
        Ok(Self {
            health: Health::new(text.clone(), tell),
            address: text,
            bucket,
            push,
            contact: OnceLock::new(),
            formatted: Mutex::new(false),
            queue: Queue::default(),
            made: Mutex::default(),
            suspects: Mutex::default(),
        })
    }

    /// Asks it what it is like.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn state(&self) -> Result<RemoteState, OpenError> {
        let format = self.format()?;
        let fail = |fault| OpenError::Fault { address: self.address.clone(), fault };
        let results = if format.is_some() { self.bucket.count(names::ACTIONS).map_err(fail)? } else { 0 };
        Ok(RemoteState { address: self.address.clone(), format, results })
    }

    /// Its format; `None` where nothing is there yet.
    fn format(&self) -> Result<Option<u32>, OpenError> {
        let address = || self.address.clone();
        let text = self.bucket.read(names::FORMAT_OBJECT, MOST_FORMAT);
        let text = text.map_err(|fault| OpenError::Fault { address: address(), fault })?;
        let Some(text) = text else { return Ok(None) };
        match names::read_format(&text) {
            Some(found) if found > names::FORMAT => Err(OpenError::Newer { address: address(), found }),
            Some(found) => Ok(Some(found)),
            None => Err(OpenError::NotOurs { address: address() }),
        }
    }

    /// Whether it can be used, and whether anything is there. Asked once.
    fn contact(&self) -> Option<bool> {
        *self.contact.get_or_init(|| match self.format() {
            Ok(format) => Some(format.is_some()),
            Err(OpenError::Fault { fault, .. }) => {
                self.health.give_up(&format!("{fault}; {}", fault.help()));
                None
            }
            Err(error) => {
                self.health.give_up(&format!("{error}; {}", error.help()));
                None
            }
        })
    }

    /// Does something while results are pushed beside it. What waits at its end is pushed before this returns.
    pub fn beside<T>(&self, cache: &Cache, cancel: &Cancel, body: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            // Also when the body panics, or its threads would be waited for forever.
            let _close = Closing(&self.queue);
            if self.push != Push::Never {
                (0..PUSHERS).for_each(|_| _ = scope.spawn(|| self.push_what_comes(cache, cancel, false)));
            }
            body()
        })
    }

    /// Pushes results, those that are there once more with `anew`. `tick` hears how far it is.
    pub fn push_all(
        &self,
        keys: &[Key],
        cache: &Cache,
        cancel: &Cancel,
        anew: bool,
        tick: impl FnMut(&Progress),
    ) -> Progress {
        std::thread::scope(|scope| {
            let _close = Closing(&self.queue);
            (0..PUSHERS).for_each(|_| _ = scope.spawn(|| self.push_what_comes(cache, cancel, anew)));
            keys.iter().for_each(|key| self.queue.add(*key));
            self.wait(cancel, tick)
        })
    }

    /// Waits until everything has been pushed, or the run is cancelled. `tick` hears how far it is.
    pub fn wait(&self, cancel: &Cancel, mut tick: impl FnMut(&Progress)) -> Progress {
        loop {
            if cancel.is_cancelled() || !self.health.may_push() {
                self.queue.clear();
            }
            let progress = self.queue.look(TICK);
            tick(&progress);
            if progress.is_over() {
                return progress;
            }
        }
    }

    /// Results of this run about whose pushing the person is to be asked: how many, and the bytes of their outputs.
    pub fn to_ask(&self, cache: &Cache) -> (usize, u64) {
        let made = lock(&self.made);
        let bytes = |key: &Key| cache.parcel(*key).ok().flatten().map_or(0, |parcel| parcel.bytes());
        (made.len(), made.iter().map(bytes).sum())
    }

    /// The person has said yes.
    pub fn push_made(&self) {
        lock(&self.made).drain(..).for_each(|key| self.queue.add(key));
    }

    /// Brings results into the cache, however long it takes. `tick` hears how many are over.
    pub fn fetch_all(&self, keys: &[Key], cache: &Cache, cancel: &Cancel, tick: impl Fn(usize) + Sync) -> Fetched {
        let fetched = Mutex::new(Fetched::default());
        let over = AtomicUsize::new(0);
        let fetch = |key: Key| {
            let answer = self.try_fetch(key, cache, cancel, true);
            let mut count = lock(&fetched);
            match answer {
                Some(true) => count.fetched += 1,
                Some(false) => count.missing += 1,
                None => count.failed += 1,
            }
            tick(over.fetch_add(1, Ordering::Relaxed) + 1);
            Ok::<(), ()>(())
        };
        // It always goes on to the end.
        let _ = each(keys.iter().copied(), FETCHERS, fetch);
        fetched.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a result into the cache; `None`: that went wrong, and has been told as far as it has to be.
    fn try_fetch(&self, key: Key, cache: &Cache, cancel: &Cancel, patient: bool) -> Option<bool> {
        if self.health.is_gone() {
            return None;
        }
        if !self.contact()? {
            return Some(false);
        }
        let answer = catch_unwind(AssertUnwindSafe(|| self.bring(key, cache, cancel, patient)));
        match answer {
            Ok(Ok(found)) => {
                self.health.answered();
                return Some(found);
            }
            Ok(Err(FetchError::Remote(fault))) => self.health.read_failed(&fault),
            Ok(Err(error @ FetchError::Damaged { .. })) => {
                lock(&self.suspects).insert(key);
                self.health.tell(&format!("not taken from the remote {}: {error}", self.address));
            }
            Ok(Err(FetchError::Cache(error))) => self.health.tell(&format!("not fetched: {error}")),
            // The panic has been printed.
            Err(_) => self.health.give_up("fetching broke"),
        }
        None
    }

    fn push_what_comes(&self, cache: &Cache, cancel: &Cancel, anew: bool) {
        while let Some(key) = self.queue.next() {
            let pushed = catch_unwind(AssertUnwindSafe(|| self.try_push(key, cache, cancel, anew)));
            self.queue.over(pushed.unwrap_or_else(|_| {
                self.health.give_up("pushing broke");
                None
            }));
        }
    }

    /// Pushes a result; `None`: that went wrong, and has been told as far as it has to be.
    fn try_push(&self, key: Key, cache: &Cache, cancel: &Cancel, anew: bool) -> Option<Pushed> {
        if cancel.is_cancelled() || !self.health.may_push() {
            return None;
        }
        let has_format = self.contact()?;
        let push = || {
            self.write_format(has_format)?;
            self.send(key, cache, cancel, anew)
        };
        match push() {
            Ok(pushed) => {
                self.health.answered();
                Some(pushed)
            }
            Err(PushError::Remote(fault)) => {
                self.health.write_failed(&fault);
                None
            }
            Err(PushError::Local(why)) => {
                self.health.tell(&format!("a result was not pushed: {why}"));
                None
            }
        }
    }

    /// Writes the format where there is none.
    fn write_format(&self, has_format: bool) -> Result<(), Fault> {
        let mut formatted = lock(&self.formatted);
        if !*formatted && !has_format {
            self.bucket.write(names::FORMAT_OBJECT, names::format_text().into())?;
        }
        *formatted = true;
        Ok(())
    }

    pub(super) fn is_suspect(&self, key: Key) -> bool {
        lock(&self.suspects).contains(&key)
    }

    pub(super) fn clear_suspicion(&self, key: Key) {
        lock(&self.suspects).remove(&key);
    }
}

/// Closes a queue at the end of its life.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Remote for SharedCache {
    fn fetch(&self, key: Key, cache: &Cache, cancel: &Cancel) -> bool {
        self.try_fetch(key, cache, cancel, false).unwrap_or(false)
    }

    fn made(&self, key: Key, _cache: &Cache) {
        match self.push {
            Push::Always if self.health.may_push() => self.queue.add(key),
            Push::Ask => lock(&self.made).push(key),
            Push::Always | Push::Never => {}
        }
    }
}
