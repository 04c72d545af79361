//! What a person finds in the cache folder, and what happens when somebody laid hands on it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::fs;

use engine_kit::*;
use s2pipe::engine::*;
use serde_json::json;

#[test]
fn damaged_evicted_and_edited_results_are_made_again() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    p.run(chain(&p, "> "));
    let shown = p.cache_dir().join("demo/upper/out.txt");
    let blob = fs::canonicalize(&shown).unwrap();
    let writable = |path: &std::path::Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(path, mode).unwrap();
    };
    assert!(fs::metadata(&blob).unwrap().permissions().readonly());

    // Another size.
    writable(&blob);
    fs::write(&blob, "CORRUPT").unwrap();
    let state = reason_of(&p, "> ", "upper");
    assert_eq!(state, "its output text in the cache is damaged");
    let ran = p.run(chain(&p, "> "));
    assert!(ran.contains(&"upper/out".to_owned()), "{ran:?}");
    assert_eq!(p.view("upper/out.txt"), "> ONE\n");

    // The same size, written through the link.
    writable(&blob);
    fs::write(&blob, "EVIL!!").unwrap();
    p.run(chain(&p, "> "));
    assert_eq!(p.view("upper/out.txt"), "> ONE\n");

    // Touched but not changed: sealed again, nothing runs.
    writable(&blob);
    fs::File::options().write(true).open(&blob).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert!(p.run(chain(&p, "> ")).is_empty());

    // Gone.
    fs::remove_file(&blob).unwrap();
    assert_eq!(reason_of(&p, "> ", "upper"), "its output text is no longer in the cache");
    p.run(chain(&p, "> "));
    assert_eq!(p.view("upper/out.txt"), "> ONE\n");

    // The view alone: links are put back without running anything; a person's file is kept aside.
    fs::remove_file(&shown).unwrap();
    fs::write(&shown, "mine").unwrap();
    fs::remove_dir_all(p.cache_dir().join("demo/join")).unwrap();
    assert!(p.run(chain(&p, "> ")).is_empty());
    assert_eq!(p.view("upper/out.txt"), "> ONE\n");
    assert_eq!(p.view("upper/out.txt~"), "mine");
    assert_eq!(p.view("join/out.txt"), "> ONE\nONE\n");
}

#[test]
fn directories_are_content_too() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    let stages = |files: &[&str]| {
        let a = p.root().join("a.txt");
        vec![
            stage("dir", "tree").files("in", &[a]).with(json!({"name": "dir", "files": files})).done(),
            stage("use", "concat").reads("in", "dir").with(named("use")).done(),
        ]
    };
    assert_eq!(p.run(stages(&["x", "y"])), ["dir/tree", "use/out"]);
    let expected = "ALL.TXT:ONE\nEMPTY:RUN.SH:#!/BIN/SH\nSUB:X:XY:Y";
    assert_eq!(p.view("use/out.txt"), expected);
    assert!(p.run(stages(&["x", "y"])).is_empty());
    let tree = p.cache_dir().join("demo/dir/tree");
    assert!(fs::symlink_metadata(tree.join("sub/x")).unwrap().is_symlink());
    assert!(fs::read_link(tree.join("sub/x")).unwrap().is_relative());
    // A file of the directory is gone from the store: the task runs again, what depends on it does not.
    fs::remove_file(fs::canonicalize(tree.join("sub/x")).unwrap()).unwrap();
    assert_eq!(p.run(stages(&["x", "y"])), ["dir/tree"]);
    // A link deleted from the view comes back; a file of one's own stays; what is stale goes.
    fs::remove_file(tree.join("sub/x")).unwrap();
    fs::write(tree.join("notes.txt"), "mine").unwrap();
    assert!(p.run(stages(&["x", "y"])).is_empty());
    assert!(tree.join("sub/x").exists());
    assert_eq!(p.run(stages(&["x"])), ["dir/tree", "use/out"]);
    assert!(tree.join("sub/x").exists() && !tree.join("sub/y").exists() && tree.join("notes.txt").exists());
}

#[test]
fn the_view_follows_the_pipeline() {
    let p = Project::new();
    let files: Vec<_> = ["a", "b"].map(|n| p.write(&format!("{n}.txt"), n)).into();
    let stages =
        |files: &[std::path::PathBuf]| vec![stage("each", "each").files("in", files).with(named("each")).done()];
    let summary = p.run_with(stages(&files), &RunOptions::default()).unwrap();
    let view = p.cache_dir().join("demo/each");
    assert_eq!(summary.stages[0].outputs["text/a"], view.join("a.txt"));
    let link = fs::symlink_metadata(view.join("a.txt")).unwrap().modified().unwrap();
    settle();
    p.run_with(stages(&files[..1]), &RunOptions::default()).unwrap();
    assert!(view.join("a.txt").exists() && !view.join("b.txt").exists());
    assert_eq!(fs::symlink_metadata(view.join("a.txt")).unwrap().modified().unwrap(), link, "unchanged links stay");
    p.run_with(vec![stage("other", "concat").files("in", &files).done()], &RunOptions::default()).unwrap();
    assert!(!view.exists() && p.cache_dir().join("demo/other/out.txt").exists());
    // The whole cache can be moved.
    let moved = p.root().join("moved");
    fs::rename(p.cache_dir(), &moved).unwrap();
    assert_eq!(fs::read_to_string(moved.join("demo/other/out.txt")).unwrap(), "AB");
}
