//! Every error of the pipeline language, as people see it: one file in `tests/spec/pipelines/` for each, and its plain
//! rendering in `tests/spec/snapshots/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};

use s2pipe::spec::{Diagnostics, Override, Pipeline, load};

#[path = "spec/kinds.rs"]
mod kinds;
use kinds::KINDS;

/// Reads a pipeline; its comment lines `#! --set a.b=c` are the command line.
fn check(file: &Path) -> Result<Pipeline, Diagnostics> {
    let text = std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let settings = text.lines().filter_map(|line| line.strip_prefix("#! --set "));
    let overrides = settings.map(Override::parse).collect::<Result<Vec<_>, _>>()?;
    load(file, &overrides, KINDS)
}

fn fixtures() -> Vec<PathBuf> {
    let folder = std::fs::read_dir("tests/spec/pipelines").unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.file_stem().unwrap().to_string_lossy().starts_with("landcover"));
    files.sort();
    files
}

/// Absolute paths differ from machine to machine.
fn portable(text: &str) -> String {
    let here = std::fs::canonicalize(env!("CARGO_MANIFEST_DIR")).unwrap();
    text.replace(&*here.to_string_lossy(), "[project]")
}

#[test]
fn every_error_reads_as_in_its_snapshot() {
    for file in fixtures() {
        let name = file.file_stem().unwrap().to_string_lossy().replace(' ', "_");
        let text = match check(&file) {
            Ok(_) => panic!("{} was taken for a good pipeline", file.display()),
            Err(diagnostics) => portable(&diagnostics.render(false)),
        };
        insta::with_settings!({
            snapshot_path => "spec/snapshots",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!(name, text) });
    }
}

#[test]
fn every_place_is_inside_its_text() {
    for file in fixtures() {
        let Err(diagnostics) = check(&file) else { continue };
        for (problem, json) in diagnostics.problems().iter().zip(diagnostics.to_json().as_array().unwrap()) {
            let Some(place) = problem.place else { continue };
            let line = json["text"].as_str().unwrap();
            assert!(place.line >= 1 && place.column >= 1 && place.column <= line.chars().count() + 1, "{json}");
            assert!(json["end_column"].as_u64().unwrap() <= line.chars().count() as u64 + 1, "{json}");
        }
    }
}
