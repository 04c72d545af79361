//! Paths and globs: what they match, and what was probably meant when they match nothing.

use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};
use rayon::prelude::*;

use crate::spec::suggest::nearest;

/// `*` stays within a folder and leaves hidden files out, as in a shell.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A pattern that matches no file.
#[derive(Debug)]
pub(super) struct Miss {
    /// Follows the name of the parameter or input.
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Whether a text can only be a path: it has a separator or a glob character.
pub(super) fn looks_like_path(text: &str) -> bool {
    text.contains('/') || is_glob(text)
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files that a path or glob relative to `root` matches: absolute, sorted by path, at least one. Folders never
/// match; files that begin with a dot only when the pattern says so.
pub(super) fn find(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, Miss> {
    if let Some(rest) = pattern.strip_prefix("~/") {
        let message = format!("`{pattern}`: `~` is not known here");
        return Err(Miss { message, help: Some(format!("write the whole path, /home/…/{rest}")) });
    }
    let (folder, rest) = split(root, pattern);
    let literal = folder.join(&rest);
    if literal.is_file() {
        return Ok(vec![literal]);
    }
    if !is_glob(&rest) {
        return Err(literal_miss(pattern, &folder, &rest));
    }
    if !folder.is_dir() {
        return Err(folder_miss(pattern, &folder));
    }
    let full = format!("{}/{rest}", Pattern::escape(&folder.to_string_lossy()));
    let paths = glob::glob_with(&full, OPTIONS).map_err(|error| Miss {
        message: format!("`{pattern}` is not a glob: {}", error.msg),
        help: Some("`*` and `?` stand for characters, `**` for folders, `[ab]` for one of these".to_owned()),
    })?;
    let mut found = Vec::new();
    for path in paths {
        match path {
            Ok(path) => found.push(path),
            Err(error) => {
                let message = format!("`{pattern}`: cannot read {}: {}", error.path().display(), error.error());
                return Err(Miss { message, help: None });
            }
        }
    }
    let mut files: Vec<PathBuf> = found.into_par_iter().filter(|path| path.is_file()).collect();
    files.sort();
    if files.is_empty() { Err(glob_miss(pattern, &folder, &rest)) } else { Ok(files) }
}

/// Splits a pattern into the absolute folder that its leading plain parts name, and the rest. `..` is resolved the way
/// the file system does it, through links.
fn split(root: &Path, pattern: &str) -> (PathBuf, String) {
    let parts: Vec<&str> = pattern.split('/').collect();
    let plain = parts.iter().take(parts.len() - 1).take_while(|part| !is_glob(part)).count();
    let lead = if plain == 1 && parts[0].is_empty() { "/".to_owned() } else { parts[..plain].join("/") };
    let folder: PathBuf = root.join(lead).components().filter(|c| *c != Component::CurDir).collect();
    let up = folder.components().any(|c| c == Component::ParentDir);
    let folder = if up { std::fs::canonicalize(&folder).unwrap_or(folder) } else { folder };
    (folder, parts[plain..].join("/"))
}

fn literal_miss(pattern: &str, folder: &Path, name: &str) -> Miss {
    if folder.join(name).is_dir() {
        let message = format!("`{pattern}` is a folder: {}", folder.join(name).display());
        return Miss {
            message,
            help: Some(format!("for the files in it write `{}/*`", pattern.trim_end_matches('/'))),
        };
    }
    if !folder.is_dir() {
        return folder_miss(pattern, folder);
    }
    let message = format!("`{pattern}`: there is no file {}", folder.join(name).display());
    Miss { message, help: in_folder(folder, name) }
}

fn folder_miss(pattern: &str, folder: &Path) -> Miss {
    let message = format!("`{pattern}`: there is no folder {}", folder.display());
    let existing = folder.ancestors().skip(1).find(|f| f.is_dir());
    let help = existing.and_then(|existing| {
        let missing =
            folder.strip_prefix(existing).ok()?.components().next()?.as_os_str().to_string_lossy().into_owned();
        let folders = names(existing, Path::is_dir);
        match nearest(&missing, folders.iter().map(String::as_str)) {
            Some(near) => Some(format!("did you mean `{near}`? It is in {}", existing.display())),
            None if folders.is_empty() => Some(format!("there are no folders in {}", existing.display())),
            None => Some(format!("folders in {}: {}", existing.display(), list(&folders))),
        }
    });
    Miss { message, help }
}

fn glob_miss(pattern: &str, folder: &Path, rest: &str) -> Miss {
    let message = format!("`{pattern}` matches no file in {}", folder.display());
    let help = other_extension(folder, rest).or_else(|| in_folder(folder, rest));
    Miss { message, help }
}

/// The same glob with the extension that files there do have.
fn other_extension(folder: &Path, rest: &str) -> Option<String> {
    let (stem, _) = rest.rsplit_once('.').filter(|(_, extension)| !extension.contains('/'))?;
    let any = format!("{}/{stem}.*", Pattern::escape(&folder.to_string_lossy()));
    // The first few hundred tell enough; a folder may hold millions.
    let found = glob::glob_with(&any, OPTIONS).ok()?.take(500).flatten().filter(|path| path.is_file());
    let names: Vec<String> =
        found.filter_map(|f| Some(f.strip_prefix(folder).ok()?.to_string_lossy().into_owned())).collect();
    let (_, extension) = names.first()?.rsplit_once('.')?;
    Some(format!("did you mean `{stem}.{extension}`? There: {}", list(&names)))
}

/// What is in the folder instead: the same name with another extension, a near name, or what there is.
fn in_folder(folder: &Path, wanted: &str) -> Option<String> {
    let files = names(folder, Path::is_file);
    if files.is_empty() {
        let folders = names(folder, Path::is_dir);
        return Some(match folders.is_empty() {
            true => "that folder is empty".to_owned(),
            false => format!("that folder has only folders: {}; `**` searches them too", list(&folders)),
        });
    }
    if let Some((stem, _)) = wanted.rsplit_once('.')
        && let Some(file) = files.iter().find(|file| file.rsplit_once('.').is_some_and(|(other, _)| other == stem))
    {
        return Some(format!("did you mean `{file}`?"));
    }
    match nearest(wanted, files.iter().map(String::as_str)) {
        Some(near) if !is_glob(wanted) => Some(format!("did you mean `{near}`?")),
        _ => Some(format!("there: {}", list(&files))),
    }
}

/// Names in a folder, sorted, hidden ones left out; none when it cannot be read.
fn names(folder: &Path, keep: fn(&Path) -> bool) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| keep(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(6).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
