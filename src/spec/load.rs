//! From a file to a checked pipeline.

use std::io;
use std::path::{Path, PathBuf};

use super::check::check;
use super::kind::KindSpec;
use super::model::Pipeline;
use super::overrides::{Override, apply};
use super::problem::{Diagnostics, Problem};
use super::read::{file_names, read_text, yaml_files};
use super::syntax;
use super::text::{Origin, Text};

/// Reads and checks a pipeline file.
///
/// # Errors
/// Every problem found, in the file and in the overrides; or why the file could not be read.
pub fn load(file: &Path, overrides: &[Override], kinds: &[&'static KindSpec]) -> Result<Pipeline, Diagnostics> {
    match read_text(file, "pipeline file") {
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

/// The absolute file and the folder that it stands in, links in the folder resolved where it exists.
fn absolute(file: &Path) -> (PathBuf, PathBuf) {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().unwrap_or(&file).to_owned();
    let folder = std::fs::canonicalize(&folder).unwrap_or(folder);
    let file = file.file_name().map_or_else(|| file.clone(), |name| folder.join(name));
    (file, folder)
}
