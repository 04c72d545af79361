//! The order of the house: a room uses rooms below it, never above, never sideways.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use std::fs;
use std::path::{Path, PathBuf};

/// Top to bottom, as in `src/lib.rs`.
const ROOMS: [&str; 10] = ["cli", "stages", "slurm", "remote", "engine", "spec", "net", "figure", "metrics", "raster"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Rooms named as `crate::room` in this text.
fn rooms_used(text: &str) -> Vec<&'static str> {
    let mut used = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for name in names {
            let word: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            used.extend(ROOMS.iter().find(|room| **room == word));
        }
    }
    used
}

fn climbs(room: &str, text: &str) -> Option<&'static str> {
    let floor = |name: &str| ROOMS.iter().position(|r| *r == name).unwrap();
    rooms_used(text).into_iter().find(|used| floor(used) < floor(room))
}

#[test]
fn no_room_uses_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in ROOMS {
        let mut files = Vec::new();
        sources(&root.join(room), &mut files);
        assert!(!files.is_empty(), "room {room} is empty");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            if let Some(above) = climbs(room, &text) {
                panic!("{}: room `{room}` uses `{above}`, which is above it", file.display());
            }
        }
    }
}

#[test]
fn an_arrow_that_runs_up_is_seen() {
    assert_eq!(climbs("raster", "use crate::engine::Graph;"), Some("engine"));
    assert_eq!(climbs("net", "fn f() { crate::stages::x() }"), Some("stages"));
    assert_eq!(climbs("spec", "use crate::{raster::Rgb, cli};"), Some("cli"));
    assert_eq!(climbs("stages", "use crate::{raster::Rgb, net};"), None);
}
