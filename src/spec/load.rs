//! From a file to a checked pipeline.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::check::check;
use super::kind::KindSpec;
use super::model::Pipeline;
use super::overrides::{Override, apply};
use super::problem::{Diagnostics, Problem};
use super::suggest::{did_you_mean, nearest};
use super::syntax;
use super::text::{Origin, Text};

/// Largest pipeline file: a thousand times what people write, and nothing that could fill the memory.
const MAX_BYTES: u64 = 16 << 20;

/// Reads and checks a pipeline file.
///
/// # Errors
/// Every problem found, in the file and in the overrides; or why the file could not be read.
pub fn load(file: &Path, overrides: &[Override], kinds: &[&'static KindSpec]) -> Result<Pipeline, Diagnostics> {
    match read_text(file) {
        Ok(text) => parse(&text, file, overrides, kinds),
        Err(unread) => Err(Diagnostics::new(file, vec![unread.text], vec![unread.problem])),
    }
}

/// Checks the text of a pipeline; `file` says where it would stand: globs and `root` depend on it.
///
/// # Errors
/// Every problem found, in the text and in the overrides.
pub fn parse(
    text: &str,
    file: &Path,
    overrides: &[Override],
    kinds: &[&'static KindSpec],
) -> Result<Pipeline, Diagnostics> {
    let mut texts = vec![Text::new(Origin::File, text)];
    texts.extend(overrides.iter().enumerate().map(|(index, change)| change.shown(index)));
    let (tree, mut problems) = syntax::read(&texts[0]);
    let pipeline = tree.and_then(|mut tree| {
        let changes: Vec<(&Override, &Text)> = overrides.iter().zip(&texts[1..]).collect();
        apply(&mut tree, &changes, kinds, &mut problems);
        let (file, folder) = absolute(file);
        check(&tree, &file, &folder, kinds, &mut problems)
    });
    if pipeline.is_none() && problems.is_empty() {
        problems.push(Problem::whole("this is not valid YAML"));
    }
    pipeline.ok_or_else(|| Diagnostics::new(file, texts, problems))
}

/// The pipeline that is meant when none is named: `pipelines/landcover.yaml` below `dir`, or the only `.yaml` or `.yml`
/// file in `pipelines/`.
///
/// # Errors
/// When there is none or more than one.
pub fn find_pipeline(dir: &Path) -> Result<PathBuf, FindError> {
    let folder = dir.join("pipelines");
    let default = folder.join("landcover.yaml");
    if default.is_file() {
        return Ok(default);
    }
    let mut files = match yaml_files(&folder) {
        Ok(files) => files,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Err(FindError::NoFolder { folder }),
        Err(source) => return Err(FindError::Unreadable { folder, source }),
    };
    match files.len() {
        0 => Err(FindError::Empty { folder }),
        1 => Ok(files.remove(0)),
        _ => Err(FindError::Several { folder, files }),
    }
}

/// Why no pipeline was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is no `pipelines/`.
    #[error("no pipeline was named, and there is no folder {}: name a pipeline file, or run in the folder that has `pipelines/`", folder.display())]
    NoFolder {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// `pipelines/` has no YAML file.
    #[error("no pipeline was named, and {} has no .yaml file", folder.display())]
    Empty {
        /// `pipelines/`.
        folder: PathBuf,
    },
    /// `pipelines/` has several YAML files, none of them `landcover.yaml`.
    #[error("no pipeline was named, and {} has several: name one of {}", folder.display(), file_names(files))]
    Several {
        /// `pipelines/`.
        folder: PathBuf,
        /// The files, sorted.
        files: Vec<PathBuf>,
    },
    /// `pipelines/` cannot be read.
    #[error("cannot read {}: {source}", folder.display())]
    Unreadable {
        /// `pipelines/`.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn file_names(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().filter_map(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
    names.join(", ")
}

fn yaml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
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

/// The absolute file and the folder that it stands in, links in the folder resolved where it exists.
fn absolute(file: &Path) -> (PathBuf, PathBuf) {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().unwrap_or(&file).to_owned();
    let folder = std::fs::canonicalize(&folder).unwrap_or(folder);
    let file = file.file_name().map_or_else(|| file.clone(), |name| folder.join(name));
    (file, folder)
}

/// Why a file could not be read as text, and what of it can be shown.
struct Unread {
    problem: Problem,
    text: Text,
}

fn read_text(file: &Path) -> Result<String, Box<Unread>> {
    let fail = |problem: Problem| Box::new(Unread { problem, text: Text::new(Origin::File, "") });
    if file.is_dir() {
        let names: Vec<PathBuf> = yaml_files(file).unwrap_or_default();
        let help = (!names.is_empty()).then(|| format!("name one of the files in it: {}", file_names(&names)));
        return Err(fail(Problem::whole("expected a pipeline file, found a folder").maybe_help(help)));
    }
    let mut bytes = Vec::new();
    // Not by the size that the system tells: a device has none and never ends.
    let read = File::open(file).and_then(|f| f.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| fail(unreadable(file, &error)))?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the file has more than {MAX_BYTES} bytes, too many for a pipeline");
        return Err(fail(Problem::whole(message).help("is this the right file?")));
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes(), error.utf8_error().valid_up_to()))
}

fn unreadable(file: &Path, error: &io::Error) -> Problem {
    if error.kind() != io::ErrorKind::NotFound {
        return Problem::whole(format!("cannot read the pipeline: {error}"));
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
    problem.maybe_help(near.or_else(|| did_you_mean(&wanted, &names, "pipelines there")))
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
