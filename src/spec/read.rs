//! Files that people wrote, as text; why one could not be read.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::problem::Problem;
use super::suggest::{did_you_mean, nearest};
use super::text::{Origin, Text};

/// Largest file: a thousand times what people write, and nothing that could fill the memory.
const MAX_BYTES: u64 = 16 << 20;

/// Why a file could not be read as text, and what of it can be shown.
pub(super) struct Unread {
    pub(super) problem: Problem,
    pub(super) text: Text,
}

/// The text of a file; `noun` is what was expected to be there, such as "pipeline file".
pub(super) fn read_text(file: &Path, noun: &str) -> Result<String, Box<Unread>> {
    let fail = |problem: Problem| Box::new(Unread { problem, text: Text::new(Origin::File, "") });
    if file.is_dir() {
        let names: Vec<PathBuf> = yaml_files(file).unwrap_or_default();
        let help = (!names.is_empty()).then(|| format!("name one of the files in it: {}", file_names(&names)));
        return Err(fail(Problem::whole(format!("expected a {noun}, found a folder")).maybe_help(help)));
    }
    let mut bytes = Vec::new();
    // Not by the size that the system tells: a device has none and never ends.
    let read = File::open(file).and_then(|f| f.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| fail(unreadable(file, noun, &error)))?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the file has more than {MAX_BYTES} bytes, too many for a {noun}");
        return Err(fail(Problem::whole(message).help("is this the right file?")));
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes(), error.utf8_error().valid_up_to()))
}

fn unreadable(file: &Path, noun: &str, error: &io::Error) -> Problem {
    if error.kind() != io::ErrorKind::NotFound {
        return Problem::whole(format!("cannot read the {noun}: {error}"));
    }
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let problem = Problem::whole("there is no such file");
    let Ok(files) = yaml_files(folder) else {
        return problem.help(format!("there is no folder {} either", folder.display()));
    };
    let names: Vec<String> =
        files.iter().filter_map(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let near =
        nearest(&wanted, names.iter().copied()).map(|near| format!("did you mean `{}`?", folder.join(near).display()));
    problem.maybe_help(near.or_else(|| did_you_mean(&wanted, &names, &format!("{noun}s there"))))
}

fn not_utf8(bytes: &[u8], valid: usize) -> Box<Unread> {
    let text = Text::new(Origin::File, &String::from_utf8_lossy(bytes));
    // The first replacement character may have been in the file itself: count what the valid part has of them.
    let before = bytes.get(..valid).map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default();
    let before = Text::new(Origin::File, &before).content.len();
    let wide = '\u{fffd}'.len_utf8();
    let message =
        format!("the file is not UTF-8: the byte 0x{:02x} cannot stand here", bytes.get(valid).copied().unwrap_or(0));
    let problem = Problem::at(text.place(before..before + wide), message)
        .label("not UTF-8")
        .help("save the file as UTF-8; editors offer it under \"encoding\"");
    Box::new(Unread { problem, text })
}

/// Their names, with commas between.
pub(super) fn file_names(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().filter_map(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
    names.join(", ")
}

/// The YAML files in a folder, sorted, without hidden ones.
pub(super) fn yaml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|e| e == "yaml" || e == "yml") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
