//! Keeping the cache: collecting, measuring, verifying, pins; and the memory of runs.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use engine_kit::*;
use s2pipe::engine::*;
use serde_json::json;

/// Everything that is not needed, at once.
fn at_once() -> CollectOptions {
    CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() }
}

fn names(collected: &Collected) -> Vec<String> {
    collected.results.iter().map(|r| format!("{} ({})", r.name, r.differs.join("; "))).collect()
}

fn project() -> Project {
    let p = Project::new();
    p.write("a.txt", "one\n#\n");
    p
}

/// The clock of run ids has whole seconds: results of different runs must not share one.
fn next_second() {
    std::thread::sleep(Duration::from_millis(1050));
}

#[test]
fn collecting_takes_what_no_view_shows_and_names_it() {
    let p = project();
    p.run(chain(&p, "x"));
    p.run(chain(&p, "y"));
    assert!(p.cache().collect(&CollectOptions::default()).unwrap().results.is_empty(), "an hour of grace");
    let looked = p.cache().collect(&CollectOptions { dry_run: true, ..at_once() }).unwrap();
    assert_eq!(names(&looked).len(), 2);
    assert!(names(&looked).contains(&"demo/upper (prefix \"y\" -> \"x\")".to_owned()), "{looked:?}");
    assert!(looked.dry_run && looked.bytes > 0);
    let collected = p.cache().collect(&at_once()).unwrap();
    assert_eq!(Collected { dry_run: true, ..collected.clone() }, looked, "a dry run says what will happen");
    assert_eq!(p.cache().usage().older.count, 0);
    assert!(p.run(chain(&p, "y")).is_empty(), "the newest results are all there");
    assert_eq!(p.run(chain(&p, "x")), ["join/out", "upper/out"], "the others are made again");
    assert!(p.cache().collect(&at_once()).unwrap().results.iter().any(|r| r.differs == ["prefix \"x\" -> \"y\""]));
}

#[test]
fn size_and_age_decide_and_the_least_recently_used_goes_first() {
    let p = project();
    for prefix in ["x", "y", "z"] {
        p.run(chain(&p, prefix));
        next_second();
    }
    p.run(chain(&p, "x"));
    let by_age = CollectOptions { older_than: Some(Duration::from_secs(3600)), ..at_once() };
    assert!(p.cache().collect(&by_age).unwrap().results.is_empty());
    // "x" is shown; "y" was used before "z".
    let all = p.cache().collect(&CollectOptions { dry_run: true, ..at_once() }).unwrap();
    assert_eq!(all.results.len(), 4);
    let most = all.bytes_left + all.bytes - 1;
    let one = p.cache().collect(&CollectOptions { max_bytes: Some(most), ..at_once() }).unwrap();
    assert_eq!(names(&one).len(), 1);
    assert!(names(&one)[0].contains("\"x\" -> \"y\""), "{one:?}");
    assert!(one.bytes_left <= most);
}

#[test]
fn pinned_runs_and_results_stay() {
    let p = project();
    p.run(chain(&p, "x"));
    let cache = p.cache();
    let run = cache.runs(None, 1)[0].run.clone();
    p.run(chain(&p, "y"));
    let upper = cache.show("upper").unwrap().action.key;
    p.run(chain(&p, "z"));
    cache.pin(&run).unwrap();
    cache.pin(&upper.to_string()).unwrap();
    assert_eq!(cache.pins().len(), 2);
    assert!(cache.run_record(&run).unwrap().info.pinned);
    let gone = cache.collect(&at_once()).unwrap();
    assert_eq!(gone.results.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["demo/join"], "y's join alone");
    assert!(cache.unpin(&run).unwrap().is_some());
    assert!(cache.unpin(&run).unwrap().is_none());
    assert_eq!(cache.collect(&at_once()).unwrap().results.len(), 2);
    assert!(matches!(cache.pin("nosuch"), Err(QueryError::NotFound { .. })));
}

/// Files of the store, of all kinds.
fn stored_files(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() { stored_files(&entry.path(), files) } else { files.push(entry.path()) }
    }
}

#[test]
fn orphans_and_old_checkpoints_go_after_the_grace() {
    let p = project();
    p.run(chain(&p, "x"));
    let cache = p.cache();
    let store = p.cache_dir().join(".s2pipe/store/files/aa");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join("b".repeat(62)), "left by a killed run").unwrap();
    let checkpoint = p.cache_dir().join(".s2pipe/checkpoints").join("c".repeat(64));
    fs::create_dir_all(&checkpoint).unwrap();
    fs::write(checkpoint.join("state"), "half").unwrap();
    assert_eq!(cache.usage().orphans.count, 1);
    assert_eq!(cache.collect(&CollectOptions::default()).unwrap().orphans, 0);
    let gone = cache.collect(&at_once()).unwrap();
    assert_eq!((gone.orphans, gone.checkpoints), (1, 0), "checkpoints stay for a week");
    let gone = cache.collect(&CollectOptions { older_than: Some(Duration::ZERO), ..at_once() }).unwrap();
    assert_eq!((gone.orphans, gone.checkpoints), (0, 1));
    assert!(!checkpoint.exists());
    assert_eq!(cache.usage().orphans.count, 0);
}

#[test]
fn a_result_that_vanishes_under_a_run_is_made_again() {
    let p = project();
    p.run(chain(&p, "x"));
    // `join` runs again; its inputs are looked up, and gone when it wants them.
    struct Thief<'a>(&'a Project, std::sync::Once);
    impl Observer for Thief<'_> {
        fn event(&self, event: &Event<'_>) {
            if matches!(event, Event::TaskQueued { .. }) {
                self.1.call_once(|| {
                    let mut files = Vec::new();
                    stored_files(&self.0.cache_dir().join(".s2pipe/store/files"), &mut files);
                    files.iter().for_each(|f| fs::remove_file(f).unwrap());
                });
            }
        }
    }
    p.ran();
    let thief = Thief(&p, std::sync::Once::new());
    let from = options(Some("join"), None, false);
    let (graph, registry) = (p.graph(chain(&p, "x")), registry(p.root()));
    let summary = run(&graph, &registry, &p.cache(), &from, &thief, &Cancel::default()).unwrap();
    assert!(summary.ok, "{summary:#?}");
    assert_eq!(p.ran(), ["join/out", "read/out", "upper/out"]);
    let stages: Vec<_> = summary.stages.iter().map(|s| (s.name.as_str(), s.tasks.ran, s.tasks.cached)).collect();
    assert_eq!(stages, [("read", 1, 0), ("upper", 1, 0), ("join", 1, 0)]);
    assert!(p.run(chain(&p, "x")).is_empty());
}

#[test]
fn verifying_finds_what_a_lookup_cannot_see() {
    let p = project();
    p.run(chain(&p, "x"));
    let cache = p.cache();
    let sound = cache.verify(false).unwrap();
    assert!(sound.is_sound() && sound.files >= 3, "{sound:?}");
    // A bit flips below the file system: size, times and permissions stay.
    let file = fs::canonicalize(p.cache_dir().join("demo/upper/out.txt")).unwrap();
    let meta = fs::metadata(&file).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] ^= 1;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, &bytes).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(meta.modified().unwrap()).unwrap();
    fs::set_permissions(&file, meta.permissions()).unwrap();
    assert!(p.run(chain(&p, "x")).is_empty(), "no lookup reads the bytes");
    let found = cache.verify(false).unwrap();
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(found.damaged[0].used_by, ["demo/upper.text"]);
    assert_ne!(found.damaged[0].found, Some(found.damaged[0].expected.digest()));
    assert!(cache.verify(true).unwrap().repaired);
    assert!(cache.verify(false).unwrap().is_sound());
    assert_eq!(reason_of(&p, "x", "upper"), "its output text is no longer in the cache");
    assert_eq!(p.run(chain(&p, "x")), ["upper/out"], "made again, and what follows is the same");
    assert_eq!(p.view("upper/out.txt"), "xONE\n");
}

#[test]
fn torn_results_are_strange_and_go_with_a_repair() {
    let p = project();
    p.run(chain(&p, "x"));
    let cache = p.cache();
    let mut actions = Vec::new();
    stored_files(&p.cache_dir().join(".s2pipe/actions"), &mut actions);
    fs::write(&actions[0], "{\"action\":").unwrap();
    assert_eq!(cache.verify(false).unwrap().strange, [actions[0].clone()]);
    cache.verify(true).unwrap();
    assert!(!actions[0].exists());
    assert_eq!(p.run(chain(&p, "x")).len(), 1);
}

#[test]
fn runs_are_remembered_when_their_results_are_gone() {
    let p = project();
    p.run(chain(&p, "x"));
    next_second();
    p.write("a.txt", "two\n");
    p.run(chain(&p, "y"));
    let cache = p.cache();
    cache.collect(&at_once()).unwrap();
    let runs = cache.runs(Some("demo"), 10);
    assert_eq!(runs.iter().map(|r| r.end).collect::<Vec<_>>(), [RunEnd::Ok, RunEnd::Ok]);
    assert!(cache.runs(Some("other"), 10).is_empty());
    let old = cache.run_record("latest~1").unwrap();
    assert_eq!(old.info.run, runs[1].run);
    assert_eq!(old.tasks.as_ref().unwrap().made.len(), 3);
    assert!(cache.action(old.tasks.as_ref().unwrap().made[2].key).unwrap().is_none(), "collected");
    let end = &runs[1].run[runs[1].run.len() - 4..];
    assert_eq!(cache.run_record(end).unwrap(), old);
    let diff = RunDiff::of(&old, &cache.run_record("latest").unwrap());
    assert!(diff.complete);
    let changed: Vec<_> = diff.parameters.iter().map(|p| (p.name.as_str(), p.a.clone(), p.b.clone())).collect();
    assert_eq!(changed, [("upper.prefix", Some(json!("x")), Some(json!("y")))]);
    assert_eq!(diff.data.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["a.txt"]);
    assert_eq!(diff.results.len(), 3);
    assert_eq!(diff.seconds.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["read", "upper", "join"]);
    assert!(matches!(cache.run_record("latest~2"), Err(QueryError::NoRun { .. })));
    assert!(matches!(cache.run_record("2"), Err(QueryError::Ambiguous { .. })));
}

#[test]
fn runs_that_change_nothing_share_their_records() {
    use std::os::unix::fs::MetadataExt;
    let p = project();
    for _ in 0..3 {
        p.run(chain(&p, "x"));
    }
    let inode = |n: usize, file: &str| {
        fs::metadata(p.cache().run_record(&format!("latest~{n}")).unwrap().folder.join(file)).unwrap().ino()
    };
    for file in ["pipeline.json", "tasks.json"] {
        assert_eq!(inode(0, file), inode(1, file), "{file}");
        assert_eq!(inode(1, file), inode(2, file), "{file}");
    }
}

#[test]
fn lineage_names_what_used_a_result() {
    let p = project();
    p.run(chain(&p, "x"));
    let users = p.cache().show("read").unwrap().used_by;
    let said: Vec<_> = users.iter().map(|u| format!("{} as {}", u.name, u.slots.join(", "))).collect();
    assert_eq!(said, ["demo/join as more", "demo/upper as in"]);
    assert!(p.cache().show("join").unwrap().used_by.is_empty());
}

#[test]
fn running_again_apart_finds_what_is_not_deterministic() {
    let p = project();
    let stages = || {
        vec![
            stage("same", "concat").files("in", &[p.root().join("a.txt")]).with(named("same")).done(),
            stage("dice", "random").reads("in", "same").with(named("dice")).done(),
        ]
    };
    p.run(stages());
    let before = p.cache().show("dice").unwrap().action;
    let again = |stage: &str| {
        let (graph, registry) = (p.graph(stages()), registry(p.root()));
        let around = (&() as &dyn Observer, &Cancel::default());
        let explain =
            |old: &Path, new: &Path| format!("{} bytes", fs::read(old).unwrap().len() + fs::read(new).unwrap().len());
        rerun((&graph, &registry), &p.cache(), stage, &RunOptions::default(), around, &explain).unwrap()
    };
    assert!(again("same").tasks[0].is_same());
    let dice = &again("dice").tasks[0];
    assert_eq!(dice.differing.len(), 1, "{dice:?}");
    assert_eq!(dice.differing[0].output, "text");
    assert!(dice.differing[0].what.ends_with("bytes"));
    assert_eq!(p.cache().show("dice").unwrap().action, before, "the cache stays as it is");
    p.ran();
    assert!(p.run(stages()).is_empty());
    fs::remove_dir_all(p.cache_dir().join(".s2pipe/actions")).unwrap();
    assert!(again("same").tasks[0].seconds.is_none(), "nothing to compare with");
}
