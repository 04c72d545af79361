//! Words for people: a task sees its inputs under names that mean nothing outside it and are gone when it ends.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::action::MadeFrom;
use super::graph::label;

/// Puts, for the paths of a task's inputs, what a person knows them by: the path of a source file, or which task made it.
pub(super) fn with_known_names(
    text: &str,
    inputs: &BTreeMap<String, PathBuf>,
    made_from: &BTreeMap<String, MadeFrom>,
) -> String {
    // From the end, so that `in/map-2` is not taken for `in/map` with something behind it.
    inputs.iter().rev().fold(text.to_owned(), |text, (slot, path)| match made_from.get(slot) {
        Some(from) => text.replace(&*path.to_string_lossy(), &known_name(from)),
        None => text,
    })
}

/// What a person knows an input by.
pub(super) fn known_name(from: &MadeFrom) -> String {
    match from {
        MadeFrom::File { path } => path.display().to_string(),
        MadeFrom::Task { stage, task, output, .. } => format!("<{output} of {}>", label(stage, task)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::digest::{Digest, Key};

    #[test]
    fn inputs_are_called_what_people_call_them() {
        let paths = ["map", "map-2", "scene.tif"].map(|n| (n.to_owned(), PathBuf::from(format!("/tmp/x/in/{n}"))));
        let task = |task: &str| MadeFrom::Task {
            stage: "predict".into(),
            task: task.into(),
            output: "map".into(),
            key: Key(Digest::of(b"")),
        };
        let made_from = [
            ("map".to_owned(), task("a")),
            ("map-2".to_owned(), task("")),
            ("scene.tif".to_owned(), MadeFrom::File { path: "/data/s.tif".into() }),
        ];
        let text = "/tmp/x/in/scene.tif is not /tmp/x/in/map-2/b.tif nor /tmp/x/in/map";
        assert_eq!(
            with_known_names(text, &paths.into(), &made_from.into()),
            "/data/s.tif is not <map of predict>/b.tif nor <map of predict/a>"
        );
    }
}
