//! Digests of source files, remembered by what `stat` says about them, so that an unchanged file is not read again.
//!
//! **When a memory is believed.** All of device, inode, size, modification and change time must be equal, and the file
//! must not be *racy*: git's rule. A file written in the same clock tick in which it was hashed can be written again in
//! that tick and look the same; so a memory counts only if the file's times are older than the moment of hashing by
//! more than the clock's grain. Grain: 2 s where a time has no fraction of a second or the file system is remote, else
//! 20 ms. Times in the future are never believed. A disbelieved file is hashed, which makes a newer memory.
//!
//! **The file.** Text, a line an entry, appended under a lock: `<check> <digest> <device> <inode> <size> <mtime> <ctime>
//! <hashed at> <path>`, times in nanoseconds, the path escaped as in tree records, `check` the first 16 hex digits of
//! the blake3 of the rest. A line that is torn or foreign is skipped: that only costs a hash. The newest line of a path
//! wins. When more than half of the lines are outdated the file is rewritten and renamed into place.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::digest::Digest;
use super::disk::{self, Sync};
use super::error::CacheError;
use super::lock::{FileLock, Locking};
use super::tree::{escape, unescape};

const HEADER: &str = "s2pipe.sources/1";
const FINE_GRAIN: i128 = 20_000_000;
const COARSE_GRAIN: i128 = 2_000_000_000;
/// Outdated lines are tolerated up to this many more than live ones.
const SLACK: usize = 1000;

/// What `stat` says about a file, as far as it changes with the content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    mtime: i128,
    ctime: i128,
}

impl Signature {
    fn of(meta: &fs::Metadata) -> Self {
        let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            mtime: nanos(meta.mtime(), meta.mtime_nsec()),
            ctime: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether a write after `hashed_at` could leave this very signature.
    fn is_racy(&self, hashed_at: i128, grain: i128) -> bool {
        let whole_seconds = self.mtime % 1_000_000_000 == 0 && self.ctime % 1_000_000_000 == 0;
        let grain = if whole_seconds { COARSE_GRAIN } else { grain };
        self.ctime.max(self.mtime) + grain >= hashed_at
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Memory {
    signature: Signature,
    hashed_at: i128,
    digest: Digest,
}

/// The digests remembered in a cache, shared by all threads of this process.
#[derive(Debug)]
pub(super) struct StatCache {
    file: PathBuf,
    locking: Locking,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the path's text, which is hashed and compared faster than its components.
    known: HashMap<OsString, Memory>,
    /// Lines in the file, live or not.
    lines: usize,
    /// Paths with news that are not in the file yet.
    fresh: Vec<OsString>,
    /// Clock grain by device.
    grains: HashMap<u64, i128>,
}

impl StatCache {
    /// Reads the file; a missing or unreadable one is an empty memory.
    pub(super) fn load(file: &Path, locking: Locking) -> Self {
        let mut state = State::default();
        if let Ok(text) = fs::read(file) {
            (state.known, state.lines) = parse(&text);
        }
        Self { file: file.to_path_buf(), locking, state: Mutex::new(state) }
    }

    /// The digest of a source file, from memory where `stat` allows it, else by hashing.
    ///
    /// # Errors
    /// When the file cannot be read, is not a file, or kept changing while it was hashed.
    pub(super) fn digest(&self, path: &Path) -> io::Result<Digest> {
        let meta = fs::metadata(path)?;
        let signature = Signature::of(&meta);
        let grain = self.grain(path, signature.device);
        if let Some(memory) = self.lock().known.get(path.as_os_str())
            && memory.signature == signature
            && !signature.is_racy(memory.hashed_at, grain)
        {
            return Ok(memory.digest);
        }
        let memory = hash(path)?;
        let mut state = self.lock();
        state.known.insert(path.as_os_str().to_owned(), memory);
        state.fresh.push(path.as_os_str().to_owned());
        Ok(memory.digest)
    }

    /// Adds what was learnt to the file. Without news this touches nothing.
    ///
    /// # Errors
    /// [`CacheError`] when the file cannot be written.
    pub(super) fn save(&self) -> Result<(), CacheError> {
        let mut state = self.lock();
        if state.fresh.is_empty() {
            return Ok(());
        }
        // Without a lock, a line that two processes wrote at once is torn, which costs a hash.
        let lock = match self.locking {
            Locking::Off => FileLock::none(),
            Locking::Relied => FileLock::take_short(&self.file.with_extension("lock"))?,
        };
        let saved = self.append(&mut state);
        lock.remove();
        saved
    }

    /// Writes the news down. The lock is held.
    fn append(&self, state: &mut State) -> Result<(), CacheError> {
        let fresh = std::mem::take(&mut state.fresh);
        let mut text: String = fresh.iter().filter_map(|p| Some(line(p, state.known.get(p)?))).collect();
        let mut file = disk::open_append(&self.file)?;
        let fail = |e| CacheError::at("append to", &self.file, e);
        if file.metadata().map_err(fail)?.len() == 0 {
            text.insert_str(0, &format!("{HEADER}\n"));
        } else {
            // Ends a line that a killed process may have left half written.
            text.insert(0, '\n');
        }
        file.write_all(text.as_bytes()).map_err(fail)?;
        state.lines += fresh.len();
        if state.lines > 2 * state.known.len() + SLACK { self.compact(state) } else { Ok(()) }
    }

    /// Rewrites the file with the newest entry of every path that still exists. The lock is held.
    fn compact(&self, state: &mut State) -> Result<(), CacheError> {
        let text = fs::read(&self.file).map_err(|e| CacheError::at("read", &self.file, e))?;
        // What other processes have learnt is kept.
        let (mut known, _) = parse(&text);
        known.retain(|path, _| Path::new(path).exists());
        let mut text = format!("{HEADER}\n");
        text.extend(known.iter().map(|(path, memory)| line(path, memory)));
        state.lines = known.len();
        let temporary = self.file.with_extension("new");
        disk::write_atomic(&temporary, &self.file, text.as_bytes(), Sync::Lazy)
    }

    fn grain(&self, path: &Path, device: u64) -> i128 {
        let mut state = self.lock();
        *state.grains.entry(device).or_insert_with(|| if is_local(path) { FINE_GRAIN } else { COARSE_GRAIN })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves at worst an entry less.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes a file and makes sure that it stood still meanwhile; tries three times.
fn hash(path: &Path) -> io::Result<Memory> {
    for _ in 0..3 {
        let file = File::open(path)?;
        let hashed_at = now();
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("expected a file, found something else"));
        }
        let before = Signature::of(&meta);
        let (digest, _) = Digest::of_reader(&file)?;
        if Signature::of(&fs::metadata(path)?) == before {
            return Ok(Memory { signature: before, hashed_at, digest });
        }
    }
    Err(io::Error::other("it keeps changing while it is read"))
}

fn now() -> i128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_nanos() as i128)
}

/// Whether a path lies on a file system of this machine: its clock is this machine's, with a grain of a kernel tick at
/// most, and locks on it hold. All that is not known to be local is taken as remote.
#[cfg(target_os = "linux")]
pub fn is_local(path: &Path) -> bool {
    const LOCAL: [i64; 8] = [
        0xEF53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683E, // btrfs
        0x0102_1994, // tmpfs
        0x794C_7630, // overlayfs
        0xF2F5_2010, // f2fs
        0x2FC1_2FC1, // zfs
        0xCA45_1A4E, // bcachefs
    ];
    rustix::fs::statfs(path).is_ok_and(|s| LOCAL.contains(&s.f_type))
}

/// Nothing is known of file systems here.
#[cfg(not(target_os = "linux"))]
pub fn is_local(_path: &Path) -> bool {
    false
}

fn line(path: &OsStr, memory: &Memory) -> String {
    let Memory { signature: s, hashed_at, digest } = memory;
    let path = escape(path.as_bytes());
    let rest = format!("{digest} {} {} {} {} {} {hashed_at} {path}", s.device, s.inode, s.size, s.mtime, s.ctime);
    format!("{} {rest}\n", check(&rest))
}

fn check(rest: &str) -> String {
    Digest::of(rest.as_bytes()).hex()[..16].to_owned()
}

/// The entries of a file and how many lines it has.
fn parse(text: &[u8]) -> (HashMap<OsString, Memory>, usize) {
    let mut known = HashMap::new();
    let mut lines = text.split(|b| *b == b'\n');
    if lines.next() != Some(HEADER.as_bytes()) {
        return (known, 0);
    }
    let mut count = 0;
    for text in lines.filter(|l| !l.is_empty()) {
        count += 1;
        if let Some((path, memory)) = std::str::from_utf8(text).ok().and_then(parse_line) {
            known.insert(path, memory);
        }
    }
    (known, count)
}

fn parse_line(text: &str) -> Option<(OsString, Memory)> {
    let (sum, rest) = text.split_once(' ')?;
    (check(rest) == sum).then_some(())?;
    let mut fields = rest.splitn(8, ' ');
    let digest = fields.next()?.parse().ok()?;
    let signature = Signature {
        device: fields.next()?.parse().ok()?,
        inode: fields.next()?.parse().ok()?,
        size: fields.next()?.parse().ok()?,
        mtime: fields.next()?.parse().ok()?,
        ctime: fields.next()?.parse().ok()?,
    };
    let hashed_at = fields.next()?.parse().ok()?;
    let path = OsString::from_vec(unescape(fields.next()?)?);
    Some((path, Memory { signature, hashed_at, digest }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::FileTimes;
    use std::time::Duration;

    fn settle() {
        std::thread::sleep(Duration::from_millis(45));
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b.tif");
        fs::write(&path, "one").unwrap();
        settle();
        let store = dir.path().join("sources");
        let cache = StatCache::load(&store, Locking::Relied);
        assert_eq!(cache.digest(&path).unwrap(), Digest::of(b"one"));
        cache.save().unwrap();
        let again = StatCache::load(&store, Locking::Relied);
        assert_eq!(again.digest(&path).unwrap(), Digest::of(b"one"));
        assert!(again.lock().fresh.is_empty(), "it was hashed again");
    }

    #[test]
    fn same_size_and_same_mtime_do_not_hide_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let cache = StatCache::load(&dir.path().join("sources"), Locking::Relied);
        fs::write(&path, "one").unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        settle();
        assert_eq!(cache.digest(&path).unwrap(), Digest::of(b"one"));
        fs::write(&path, "two").unwrap();
        File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(before)).unwrap();
        assert_eq!(cache.digest(&path).unwrap(), Digest::of(b"two"));
    }

    #[test]
    fn a_write_in_the_tick_of_hashing_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let cache = StatCache::load(&dir.path().join("sources"), Locking::Relied);
        for round in 0..200_u32 {
            let text = format!("{round:06}");
            fs::write(&path, &text).unwrap();
            assert_eq!(cache.digest(&path).unwrap(), Digest::of(text.as_bytes()), "round {round}");
        }
    }

    #[test]
    fn the_racy_rule() {
        let s = |ctime: i128| Signature { device: 1, inode: 1, size: 1, mtime: 5, ctime };
        let hashed = 10_000_000_001;
        assert!(!s(hashed - FINE_GRAIN - 1).is_racy(hashed, FINE_GRAIN));
        assert!(s(hashed - FINE_GRAIN).is_racy(hashed, FINE_GRAIN));
        assert!(s(hashed + 1).is_racy(hashed, FINE_GRAIN), "times in the future");
        let whole = Signature { mtime: 9_000_000_000, ctime: 9_000_000_000, ..s(0) };
        assert!(whole.is_racy(10_000_000_001, FINE_GRAIN), "a clock of whole seconds has a coarse grain");
    }

    #[test]
    fn torn_and_foreign_lines_cost_nothing_but_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "one").unwrap();
        fs::write(&b, "two").unwrap();
        settle();
        let store = dir.path().join("sources");
        let cache = StatCache::load(&store, Locking::Relied);
        cache.digest(&a).unwrap();
        cache.save().unwrap();
        let mut torn = fs::read(&store).unwrap();
        let half = torn[torn.len() / 2..torn.len() - 20].to_vec();
        torn.extend(half);
        fs::write(&store, torn).unwrap();
        let cache = StatCache::load(&store, Locking::Relied);
        cache.digest(&b).unwrap();
        cache.save().unwrap();
        let again = StatCache::load(&store, Locking::Relied);
        again.digest(&a).unwrap();
        again.digest(&b).unwrap();
        assert!(again.lock().fresh.is_empty());
    }

    #[test]
    fn the_file_is_compacted_and_keeps_what_others_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "one").unwrap();
        fs::write(&b, "two").unwrap();
        settle();
        let store = dir.path().join("sources");
        let mine = StatCache::load(&store, Locking::Relied);
        mine.digest(&a).unwrap();
        let other = StatCache::load(&store, Locking::Relied);
        other.digest(&b).unwrap();
        other.save().unwrap();
        mine.lock().lines = 10 * SLACK;
        mine.save().unwrap();
        assert_eq!(fs::read_to_string(&store).unwrap().lines().count(), 3);
        let again = StatCache::load(&store, Locking::Relied);
        again.digest(&a).unwrap();
        again.digest(&b).unwrap();
        assert!(again.lock().fresh.is_empty());
    }
}
