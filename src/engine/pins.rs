//! Pins: runs and results that `cache gc` must leave. One small file each in `pins/`, named by the run or the key.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::digest::Key;
use super::disk::{self, Sync};
use super::error::{CacheError, QueryError};

const PIN: &str = "s2pipe.pin/1";

/// One pin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pin {
    /// `s2pipe.pin/1`.
    pub pin: String,
    /// What a person called it when pinning it.
    pub name: String,
    /// The run whose results are kept, or
    pub run: Option<String>,
    /// the key of the one result that is kept.
    pub key: Option<Key>,
    /// When it was pinned, UTC, RFC 3339.
    pub since: String,
}

impl Cache {
    /// Protects a run (by id, its beginning or end, `latest`) or a result (any name that `cache show` knows).
    ///
    /// # Errors
    /// [`QueryError`] when nothing has the name, several things have it, or the pin cannot be written.
    pub fn pin(&self, name: &str) -> Result<Pin, QueryError> {
        let mut pin = self.meant(name)?;
        pin.since = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let path = self.pins_dir().join(pin.file_name());
        let text = serde_json::to_vec(&pin).map_err(|e| CacheError::at("write", &path, io::Error::other(e)))?;
        self.write(&path, &text, Sync::Lazy)?;
        Ok(pin)
    }

    /// Takes a pin away; `None`: there was none.
    ///
    /// # Errors
    /// As [`Cache::pin`].
    pub fn unpin(&self, name: &str) -> Result<Option<Pin>, QueryError> {
        let same_name = self.pins().into_iter().find(|pin| pin.name == name);
        let meant = same_name.map_or_else(|| self.meant(name), Ok)?;
        let path = self.pins_dir().join(meant.file_name());
        if !path.exists() {
            return Ok(None);
        }
        disk::remove(&path)?;
        Ok(Some(meant))
    }

    /// All pins, oldest first.
    pub fn pins(&self) -> Vec<Pin> {
        let files = fs::read_dir(self.pins_dir()).into_iter().flatten().flatten();
        let mut pins: Vec<Pin> = files.filter_map(|f| serde_json::from_slice(&fs::read(f.path()).ok()?).ok()).collect();
        pins.retain(|pin| pin.pin == PIN);
        pins.sort_by(|a, b| (&a.since, &a.name).cmp(&(&b.since, &b.name)));
        pins
    }

    pub(super) fn is_pinned(&self, run: &str) -> bool {
        self.pins_dir().join(run).exists()
    }

    /// A run of this name, or else a result.
    fn meant(&self, name: &str) -> Result<Pin, QueryError> {
        let (run, key) = match self.run_id(name) {
            Ok(run) => (Some(run), None),
            Err(QueryError::NoRun { .. }) => (None, Some(self.key_of(name)?)),
            Err(other) => return Err(other),
        };
        Ok(Pin { pin: PIN.to_owned(), name: name.to_owned(), run, key, since: String::new() })
    }
}

impl Pin {
    fn file_name(&self) -> String {
        let key = self.key.map(|key| key.to_string());
        self.run.clone().or(key).unwrap_or_default()
    }
}
