//! The examples of the guide to the language are right.

use std::path::Path;

use s2pipe::spec::{Override, parse};
use s2pipe::stages::registry;

/// The blocks of Markdown that begin with this fence line.
fn blocks<'a>(guide: &'a str, fence: &'a str) -> impl Iterator<Item = String> + 'a {
    let mut lines = guide.lines();
    std::iter::from_fn(move || {
        lines.by_ref().find(|line| *line == fence)?;
        Some(lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect())
    })
}

fn check(text: &str, changes: &[Override]) {
    let file = Path::new("tests/spec/pipelines/landcover.yaml");
    if let Err(problems) = parse(text, file, changes, &registry().specs()) {
        panic!("{problems}\nin\n{text}");
    }
}

/// Blocks ```` ```yaml ```` are whole pipelines. Blocks ```` ```yaml fragment ```` are keys of a pipeline, or (indented)
/// stages that go with the whole one.
#[test]
fn the_guide_s_examples_are_good_pipelines() {
    let guide = std::fs::read_to_string("docs/pipeline-language.md").unwrap();
    let whole: Vec<String> = blocks(&guide, "```yaml").collect();
    assert_eq!(whole.len(), 1);
    check(&whole[0], &[]);
    let mut fragments = 0;
    for fragment in blocks(&guide, "```yaml fragment") {
        fragments += 1;
        if fragment.starts_with(' ') {
            check(&format!("{}{fragment}", whole[0]), &[]);
        } else {
            check(&format!("{fragment}stages:\n  a: {{ uses: shell, with: {{ run: ls }} }}\n"), &[]);
        }
    }
    assert_eq!(fragments, 24);
}

#[test]
fn the_guide_s_command_lines_are_good_overrides() {
    let guide = std::fs::read_to_string("docs/pipeline-language.md").unwrap();
    let whole = blocks(&guide, "```yaml").next().unwrap();
    let lines = guide.lines().filter(|line| line.trim_start().starts_with("s2pipe run --set"));
    let mut count = 0;
    for line in lines {
        let command = line.split(" #").next().unwrap();
        let changes: Vec<Override> = command
            .split("--set ")
            .skip(1)
            .map(|change| Override::parse(change.trim().trim_matches('\'')).unwrap())
            // There are no files in the folder of the tests for this one.
            .filter(|change| !change.to_string().contains("*.tif"))
            .collect();
        count += changes.len();
        check(&whole, &changes);
    }
    assert_eq!(count, 9);
}

/// The shipped pipelines, and those for real data that may not be here, read as pipelines; their files are looked for.
#[test]
fn the_shipped_pipelines_are_good() {
    let mut count = 0;
    for entry in std::fs::read_dir("pipelines").unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        if let Err(problems) = parse(&text, &file, &[], &registry().specs()) {
            panic!("{problems}\nin {}", file.display());
        }
        count += 1;
    }
    assert_eq!(count, 4);
}
