//! `outputs:` of a stage that declares its own (`shell`).

use std::path::{Component, Path, PathBuf};

use crate::spec::kind::KindSpec;
use crate::spec::node::Entry;
use crate::spec::problem::Problem;
use crate::spec::words::{NAME_RULE, is_name};

use super::stage::map_under;

/// Reads the declared outputs: name -> path relative to the scratch directory, in the order of the file.
pub(super) fn outputs(stage: &Entry, kind: &KindSpec, problems: &mut Vec<Problem>) -> Vec<(String, PathBuf)> {
    let Some(entry) = stage.value.get("outputs") else { return Vec::new() };
    if !kind.free_outputs {
        let names: Vec<String> = kind.outputs.iter().map(|o| format!("`{}`", o.name)).collect();
        problems.push(
            Problem::at(entry.key_place, format!("{}: `{}` has fixed outputs", stage.key, kind.name))
                .label("not declared here")
                .help(format!("remove `outputs`; there are: {}", names.join(", "))),
        );
        return Vec::new();
    }
    let mut outputs: Vec<(String, PathBuf)> = Vec::new();
    for entry in map_under(Some(entry), stage, problems) {
        match output_path(entry) {
            Err(why) => problems.push(
                Problem::at(entry.value.place, format!("{}.outputs.{}: {why}", stage.key, entry.key))
                    .label("not an output path")
                    .help("outputs are files or folders below the stage's own empty folder, such as `result.tif`"),
            ),
            Ok(_) if !is_name(&entry.key) => problems.push(
                Problem::at(
                    entry.key_place,
                    format!("an output cannot be called `{}`: expected {NAME_RULE}", entry.key),
                )
                .label("not an output name"),
            ),
            Ok(path) => match outputs.iter().find(|(_, other)| other.starts_with(&path) || path.starts_with(other)) {
                Some((other, _)) => problems.push(
                    Problem::at(
                        entry.value.place,
                        format!(
                            "{}: the outputs `{other}` and `{}` are the same file or one inside the other",
                            stage.key, entry.key
                        ),
                    )
                    .label("taken already")
                    .help("give each output a path of its own"),
                ),
                None => outputs.push((entry.key.clone(), path)),
            },
        }
    }
    outputs
}

fn output_path(entry: &Entry) -> Result<PathBuf, String> {
    let Some(text) = entry.value.text().filter(|text| !text.trim().is_empty()) else {
        return Err(format!("expected a path, found {}", entry.value.found()));
    };
    if text.contains(['*', '?', '[']) {
        return Err(format!("expected one path, found the glob `{text}`"));
    }
    let path = Path::new(text);
    if path.is_absolute() {
        return Err(format!("expected a relative path, found the absolute path `{text}`"));
    }
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            _ => return Err(format!("`{text}` leads out of the stage's folder")),
        }
    }
    if clean.as_os_str().is_empty() { Err(format!("`{text}` is the stage's folder itself")) } else { Ok(clean) }
}
