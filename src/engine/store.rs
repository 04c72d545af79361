//! The content store: bytes by digest, read-only, written once.
//!
//! A file enters by rename from a scratch directory on the same file system, after it was hashed there and sealed
//! (read-only, modification time in whole seconds). Whether a stored file is still good is then one `stat`: its size
//! must be the recorded one; if its seal is broken (somebody wrote to it through a link, or the cache was copied without
//! times) it is hashed once, and sealed again or thrown away. A missing or damaged file is never an error: what needs
//! it is a miss and is made again.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cache::{Cache, fan_out};
use super::digest::{ContentId, Digest};
use super::disk::{self, Sync};
use super::error::CacheError;
use super::task_error::TaskError;
use super::tree::{EntryKind, Tree, TreeEntry};

/// What a look at stored content finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    /// There and whole.
    Good,
    /// Not there.
    Missing,
    /// There with other bytes than its name says.
    Damaged,
}

impl Cache {
    /// Where the bytes with this digest are kept.
    pub(super) fn file_path(&self, digest: Digest) -> PathBuf {
        fan_out(&self.store_dir().join("files"), &digest.hex())
    }

    fn tree_path(&self, digest: Digest) -> PathBuf {
        fan_out(&self.store_dir().join("trees"), &digest.hex())
    }

    /// Where content is kept: the file, or the record of the directory.
    pub(super) fn content_path(&self, content: ContentId) -> PathBuf {
        match content {
            ContentId::File(digest) => self.file_path(digest),
            ContentId::Tree(digest) => self.tree_path(digest),
        }
    }

    /// Looks whether content is there and whole. `bytes`: its size as recorded (of all files, for a directory).
    pub(super) fn check(&self, content: ContentId, bytes: u64) -> Stored {
        match content {
            ContentId::File(digest) => self.check_file(digest, bytes),
            ContentId::Tree(digest) => match self.tree(digest) {
                None => Stored::Missing,
                Some(tree) => tree
                    .entries
                    .iter()
                    .filter(|e| e.kind != EntryKind::EmptyDir)
                    .map(|e| self.check_file(e.digest, e.bytes))
                    .find(|state| *state != Stored::Good)
                    .unwrap_or(Stored::Good),
            },
        }
    }

    fn check_file(&self, digest: Digest, bytes: u64) -> Stored {
        let path = self.file_path(digest);
        let Ok(meta) = fs::symlink_metadata(&path) else { return Stored::Missing };
        if !meta.is_file() || meta.len() != bytes {
            return Stored::Damaged;
        }
        if disk::is_sealed(&meta) {
            return Stored::Good;
        }
        if !matches!(Digest::of_file(&path), Ok((found, _)) if found == digest) {
            return Stored::Damaged;
        }
        // A cache on a read-only disk cannot be sealed again; then the file is hashed each time.
        let _ = disk::seal(&path, Sync::Lazy);
        Stored::Good
    }

    /// Whether content is what it was when it was put here. Files are hashed only where the seal is broken.
    pub(super) fn is_untouched(&self, content: ContentId) -> bool {
        let file = |digest| {
            let path = self.file_path(digest);
            let sealed = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && disk::is_sealed(&meta));
            sealed || matches!(Digest::of_file(&path), Ok((found, _)) if found == digest)
        };
        match content {
            ContentId::File(digest) => file(digest),
            ContentId::Tree(digest) => self.tree(digest).is_some_and(|tree| {
                tree.entries.iter().filter(|e| e.kind != EntryKind::EmptyDir).all(|e| file(e.digest))
            }),
        }
    }

    /// The tree record with this digest, if it is there and whole.
    pub(super) fn tree(&self, digest: Digest) -> Option<Tree> {
        let record = fs::read(self.tree_path(digest)).ok()?;
        (Tree::digest_of_record(&record) == digest).then(|| Tree::parse(&record)).flatten()
    }

    /// Takes an output into the store: a file, or a directory with all that is in it. Returns its identity and its
    /// bytes. Files are moved, not copied, unless something else has a link to them.
    pub(super) fn put(&self, name: &str, path: &Path, sync: Sync) -> Result<(ContentId, u64), TaskError> {
        let meta = fs::metadata(path).map_err(|e| CacheError::at("look at the output", path, e))?;
        if meta.is_dir() && !path.is_symlink() {
            let tree = self.put_tree(name, path, sync)?;
            let record = tree.record();
            let digest = Tree::digest_of_record(record.as_bytes());
            if self.tree(digest).is_none() {
                self.write(&self.tree_path(digest), record.as_bytes(), sync)?;
            }
            Ok((ContentId::Tree(digest), tree.bytes()))
        } else if meta.is_file() {
            let (digest, bytes) = self.put_file(path, sync)?;
            Ok((ContentId::File(digest), bytes))
        } else {
            let found = if meta.is_dir() { "a link to a directory" } else { "neither a file nor a directory" };
            Err(TaskError::BadOutput { name: name.to_owned(), path: path.to_path_buf(), found })
        }
    }

    fn put_tree(&self, name: &str, dir: &Path, sync: Sync) -> Result<Tree, TaskError> {
        tree_of(name, dir, |path| self.put_file(path, sync))
    }

    /// What a file or directory outside the store holds, without taking it in.
    pub(super) fn content_at(name: &str, path: &Path) -> Result<(ContentId, Tree), TaskError> {
        let digest = |path: &Path| Digest::of_file(path).map_err(|e| CacheError::at("read the output", path, e));
        if !path.is_dir() {
            return Ok((ContentId::File(digest(path)?.0), Tree::default()));
        }
        let tree = tree_of(name, path, digest)?;
        Ok((ContentId::Tree(Tree::digest_of_record(tree.record().as_bytes())), tree))
    }

    fn put_file(&self, path: &Path, sync: Sync) -> Result<(Digest, u64), CacheError> {
        let copy = self.own_copy(path)?;
        let path = copy.as_deref().unwrap_or(path);
        let (digest, bytes) = Digest::of_file(path).map_err(|e| CacheError::at("read the output", path, e))?;
        if self.check_file(digest, bytes) != Stored::Good {
            disk::seal(path, sync)?;
            disk::rename(path, &self.file_path(digest))?;
        } else if let Some(copy) = &copy {
            disk::remove(copy)?;
        }
        Ok((digest, bytes))
    }

    /// Copies a file that is a link (symbolic or hard) to something outside the task's directory: the store must own
    /// its bytes, and must not turn somebody's source file read-only.
    fn own_copy(&self, path: &Path) -> Result<Option<PathBuf>, CacheError> {
        let meta = fs::symlink_metadata(path).map_err(|e| CacheError::at("look at the output", path, e))?;
        if meta.is_file() && meta.nlink() == 1 {
            return Ok(None);
        }
        let copy = disk::fresh(self.scratch()?, "copy");
        fs::copy(path, &copy).map_err(|e| CacheError::at("copy", path, e))?;
        Ok(Some(copy))
    }

    /// Makes content appear at `path` for reading: a link to the stored file, or a directory of such links.
    /// Executable files are copied, because stored files are not executable. `false`: it is no longer there.
    /// `linked`: the link to a file stands there already.
    pub(super) fn materialise(&self, content: ContentId, path: &Path, linked: bool) -> Result<bool, CacheError> {
        match content {
            ContentId::File(digest) => {
                let stored = self.file_path(digest);
                if !linked {
                    disk::link(&stored, path)?;
                }
                Ok(stored.exists())
            }
            ContentId::Tree(digest) => match self.tree(digest) {
                None => Ok(false),
                Some(tree) => self.materialise_tree(&tree, path),
            },
        }
    }

    fn materialise_tree(&self, tree: &Tree, dir: &Path) -> Result<bool, CacheError> {
        disk::make_dir(dir)?;
        for entry in &tree.entries {
            let path = dir.join(&entry.path);
            if entry.kind == EntryKind::EmptyDir {
                disk::make_dir(&path)?;
                continue;
            }
            if let Some(parent) = path.parent().filter(|p| *p != dir && !p.exists()) {
                disk::make_dir(parent)?;
            }
            let stored = self.file_path(entry.digest);
            if !stored.exists() {
                return Ok(false);
            }
            if entry.kind == EntryKind::Executable {
                let fail = |e| CacheError::at("copy", &path, e);
                fs::copy(&stored, &path).map_err(fail)?;
                fs::set_permissions(&path, Permissions::from_mode(0o555)).map_err(fail)?;
            } else {
                disk::link(&stored, &path)?;
            }
        }
        Ok(true)
    }
}

/// The tree record of a directory outside the store; `take` gives digest and bytes of each of its files.
fn tree_of(
    name: &str,
    dir: &Path,
    take: impl Fn(&Path) -> Result<(Digest, u64), CacheError> + std::marker::Sync,
) -> Result<Tree, TaskError> {
    let mut found = Vec::new();
    collect(name, dir, Path::new(""), &mut found)?;
    let entries: Result<Vec<TreeEntry>, TaskError> = found
        .into_par_iter()
        .map(|(path, kind)| {
            let (digest, bytes) = match kind {
                EntryKind::EmptyDir => (Digest::of(b""), 0),
                _ => take(&dir.join(&path))?,
            };
            Ok(TreeEntry { kind, digest, bytes, path })
        })
        .collect();
    entries.map(Tree::new)
}

/// Lists what is below a directory, relative to it.
fn collect(name: &str, root: &Path, below: &Path, found: &mut Vec<(PathBuf, EntryKind)>) -> Result<(), TaskError> {
    let dir = root.join(below);
    let fail = |e: io::Error| CacheError::at("list the output", &dir, e);
    let before = found.len();
    for entry in fs::read_dir(&dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let relative = below.join(entry.file_name());
        let path = entry.path();
        let own = entry.file_type().map_err(fail)?;
        let meta = fs::metadata(&path).map_err(|e| CacheError::at("look at the output", &path, e))?;
        if own.is_dir() {
            collect(name, root, &relative, found)?;
        } else if meta.is_file() {
            let executable = meta.permissions().mode() & 0o100 != 0;
            found.push((relative, if executable { EntryKind::Executable } else { EntryKind::File }));
        } else {
            let found = if meta.is_dir() { "a link to a directory" } else { "neither a file nor a directory" };
            return Err(TaskError::BadOutput { name: name.to_owned(), path, found });
        }
    }
    if found.len() == before && !below.as_os_str().is_empty() {
        found.push((below.to_path_buf(), EntryKind::EmptyDir));
    }
    Ok(())
}
