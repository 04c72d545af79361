//! Several processes at once, killed processes, random histories.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine_kit::*;
use s2pipe::engine::*;
use s2pipe::spec::Stage;
use serde_json::json;

/// A pipeline with files, a directory, a join and a task that takes a while and keeps checkpoints.
fn mixed(root: &Path, ms: u64) -> Vec<Stage> {
    let files: Vec<PathBuf> = (0..3).map(|i| root.join(format!("s{i}.txt"))).collect();
    vec![
        stage("each", "each").files("in", &files).with(named("each")).done(),
        stage("dir", "tree").reads("in", "each").with(json!({"name": "dir", "files": ["x", "y"]})).done(),
        stage("slow", "sleep").reads("in", "dir").with(json!({"name": "slow", "ms": ms})).done(),
        stage("all", "concat").reads("a", "each").reads("b", "slow").with(named("all")).done(),
    ]
}

fn project() -> Project {
    let p = Project::new();
    for i in 0..3 {
        p.write(&format!("s{i}.txt"), &format!("scene {i}\n"));
    }
    settle();
    p
}

/// What a run of [`mixed`] must leave, whatever happened before.
fn expect_whole(p: &Project, reference: &str) {
    assert_eq!(p.view("all/out.txt"), reference);
    let graph = p.graph(mixed(p.root(), MS));
    assert!(plan(&graph, &p.cache(), &Selection::default()).unwrap().is_current());
    for entry in p.cache().entries(None) {
        let ContentId::File(digest) = entry.content else { continue };
        assert_eq!(Digest::of_file(&entry.path).unwrap().0, digest, "{}", entry.path.display());
    }
}

const MS: u64 = 6;
const WORKERS: usize = 6;

/// Not a test of its own: the process that other tests start, and kill.
#[test]
#[ignore = "started by other tests as a process of its own"]
fn child() {
    let root = PathBuf::from(std::env::var_os("S2PIPE_TEST_ROOT").expect("started by another test"));
    let registry = registry(&root);
    let p = |name: &str| std::env::var(name).ok();
    let ms = p("S2PIPE_TEST_MS").and_then(|t| t.parse().ok()).unwrap_or(MS);
    let pipeline = pipeline(&root, mixed(&root, ms));
    let graph = Graph::expand(&pipeline, &registry).unwrap();
    let cache = Cache::open(&root.join("cache")).unwrap();
    if p("S2PIPE_TEST_COLLECT").is_some() {
        cache.collect(&CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() }).unwrap();
        return;
    }
    let summary = run(&graph, &registry, &cache, &RunOptions::default(), &(), &Cancel::default()).unwrap();
    assert!(summary.ok, "{summary:#?}");
}

fn start_child(root: &Path, envs: &[(&str, String)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--test-threads=1"])
        .env("S2PIPE_TEST_ROOT", root)
        .envs(envs.iter().map(|(name, value)| (*name, value.as_str())))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn reference() -> String {
    let p = project();
    p.run(mixed(p.root(), MS));
    p.view("all/out.txt")
}

#[test]
fn killed_before_any_operation_the_next_run_ends_right() {
    let reference = reference();
    let killed = AtomicU64::new(0);
    let worker = &|first: usize| {
        for n in (first..).step_by(WORKERS) {
            let p = project();
            let status = start_child(p.root(), &[("S2PIPE_DIE_AT", n.to_string())]).wait().unwrap();
            if status.success() {
                return;
            }
            assert_eq!(status.signal(), Some(9), "operation {n}");
            killed.fetch_add(1, Ordering::Relaxed);
            p.run(mixed(p.root(), MS));
            expect_whole(&p, &reference);
            let leftovers: Vec<_> = fs::read_dir(p.cache_dir().join(".s2pipe/tmp")).unwrap().collect();
            assert!(leftovers.is_empty(), "operation {n}: {leftovers:?}");
        }
    };
    std::thread::scope(|scope| (1..=WORKERS).for_each(|first| drop(scope.spawn(move || worker(first)))));
    let killed = killed.into_inner();
    assert!(killed > 100, "only {killed} operations were interrupted");
}

#[test]
fn a_collector_killed_before_any_operation_leaves_misses_at_worst() {
    let reference = reference();
    for n in 1.. {
        let p = project();
        p.run(mixed(p.root(), MS));
        p.write("s0.txt", "another scene\n");
        p.run(mixed(p.root(), MS));
        let envs = [("S2PIPE_TEST_COLLECT", String::new()), ("S2PIPE_DIE_AT", n.to_string())];
        let status = start_child(p.root(), &envs).wait().unwrap();
        assert!(p.run(mixed(p.root(), MS)).is_empty(), "operation {n}: the newest results are all there");
        p.write("s0.txt", "scene 0\n");
        p.run(mixed(p.root(), MS));
        expect_whole(&p, &reference);
        if status.success() {
            assert!(n > 8, "only {n} operations");
            return;
        }
        assert_eq!(status.signal(), Some(9), "operation {n}");
    }
}

#[test]
fn a_clock_that_was_ahead_and_went_back_hides_no_change() {
    let p = project();
    let a_day_ahead = std::time::SystemTime::now() + Duration::from_secs(86_400);
    let set = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(a_day_ahead)).unwrap();
    };
    (0..3).for_each(|i| set(&p.root().join(format!("s{i}.txt"))));
    p.run(mixed(p.root(), MS));
    assert!(p.run(mixed(p.root(), MS)).is_empty(), "times in the future are no reason to run");
    // The same size, and the same time as before the clock went back.
    p.write("s1.txt", "scene X\n");
    set(&p.root().join("s1.txt"));
    assert!(p.run(mixed(p.root(), MS)).contains(&"each/s1".to_owned()));
    assert!(p.view("all/out.txt").contains("SCENE X"));
    // Everything in the cache seems to come from tomorrow: nothing of it is old enough to go, and all of it counts.
    let mut files = Vec::new();
    list(&p.cache_dir().join(".s2pipe/store/files"), &mut files);
    for file in &files {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        set(file);
    }
    let grace = CollectOptions::default();
    assert_eq!(p.cache().collect(&grace).unwrap().bytes, 0);
    assert!(p.run(mixed(p.root(), MS)).is_empty());
}

#[test]
fn killed_at_random_moments_the_result_is_the_same() {
    let reference = reference();
    let mut random = Random(17);
    for _ in 0..6 {
        let p = project();
        // Again and again on the same cache, until one run gets through.
        for _ in 0..4 {
            let mut child = start_child(p.root(), &[]);
            std::thread::sleep(Duration::from_millis(random.below(60)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        p.ran();
        p.run(mixed(p.root(), MS));
        expect_whole(&p, &reference);
    }
}

#[test]
fn three_runs_at_once_do_each_task_once() {
    let p = project();
    let ms = ("S2PIPE_TEST_MS", "150".to_owned());
    let mut children: Vec<Child> = (0..3).map(|_| start_child(p.root(), std::slice::from_ref(&ms))).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(p.ran(), ["all/out", "dir/tree", "each/s0", "each/s1", "each/s2", "slow/out"]);
}

/// Kills another run as soon as this one waits for it, and ends this one as soon as it has taken the task over.
struct Assassin {
    victim: Mutex<Child>,
    cancel: Cancel,
    heard: Heard,
}

impl Observer for Assassin {
    fn event(&self, event: &Event<'_>) {
        self.heard.event(event);
        match event {
            Event::TaskWaiting { .. } => {
                let mut victim = self.victim.lock().unwrap();
                victim.kill().unwrap();
                victim.wait().unwrap();
            }
            Event::TaskProgress { name, news: Progress::Message(_) } if name.stage == "slow" => self.cancel.cancel(),
            _ => {}
        }
    }
}

#[test]
fn a_waiting_run_says_so_and_goes_on_when_the_other_is_killed() {
    let p = project();
    let victim = Mutex::new(start_child(p.root(), &[("S2PIPE_TEST_MS", "100000".to_owned())]));
    while !fs::read_to_string(p.root().join("ran.log")).unwrap_or_default().contains("slow") {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    let watch = Assassin { victim, cancel: Cancel::default(), heard: Heard::default() };
    let registry = registry(p.root());
    let graph = p.graph(mixed(p.root(), 100_000));
    let summary = run(&graph, &registry, &p.cache(), &RunOptions::default(), &watch, &watch.cancel).unwrap();
    assert!(summary.interrupted);
    assert_eq!(watch.heard.about("task_waiting").len(), 1);
    let from = watch.heard.about("\"message\":\"from ");
    assert_eq!(from.len(), 1, "it took the task over");
    assert!(!from[0].contains("\"from 0\""), "and went on from the dead run's checkpoint: {from:?}");
}
