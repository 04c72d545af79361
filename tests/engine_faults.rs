//! Several processes at once, killed processes, random histories.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::collections::{BTreeMap, HashMap, HashSet};
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
    let pipeline = s2pipe::spec::Pipeline {
        name: "demo".into(),
        seed: 7,
        budget: None,
        allow_overlap: false,
        root: root.clone(),
        file: root.join("demo.yaml"),
        classes: s2pipe::raster::ClassTable::default(),
        stages: mixed(&root, ms),
    };
    let graph = Graph::expand(&pipeline, &registry).unwrap();
    let cache = Cache::open(&root.join("cache")).unwrap();
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

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A pipeline of `concat` stages as the oracle sees it.
#[derive(Clone)]
struct Model {
    files: Vec<String>,
    stages: Vec<ModelStage>,
}

#[derive(Clone)]
struct ModelStage {
    prefix: String,
    drop: bool,
    /// Files by number, and earlier stages by number.
    files: Vec<usize>,
    reads: Vec<usize>,
}

impl Model {
    fn random(random: &mut Random) -> Self {
        let files = (0..3).map(|i| format!("file {i}\n")).collect();
        let count = 3 + random.below(5) as usize;
        let stages = (0..count).map(|i| ModelStage::random(random, i)).collect();
        Self { files, stages }
    }

    fn params(&self, i: usize) -> serde_json::Value {
        let stage = &self.stages[i];
        json!({"prefix": stage.prefix, "drop": if stage.drop { "#" } else { "" }})
    }

    fn stages(&self, p: &Project) -> Vec<Stage> {
        let build = |(i, model): (usize, &ModelStage)| {
            let mut built = stage(&format!("t{i}"), "concat").with(self.params(i));
            let files: Vec<PathBuf> = model.files.iter().map(|f| p.root().join(format!("f{f}.txt"))).collect();
            if !files.is_empty() {
                built = built.files("a", &files);
            }
            for up in &model.reads {
                built = built.reads(&format!("b{up}"), &format!("t{up}"));
            }
            built.done()
        };
        self.stages.iter().enumerate().map(build).collect()
    }

    /// The oracle: everything from scratch, in order. Returns each stage's input and output.
    fn answer(&self) -> Vec<(String, String)> {
        let mut done: Vec<(String, String)> = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let mut slots = BTreeMap::new();
            slots.extend(stage.files.iter().map(|f| (format!("a/f{f}"), self.files[*f].clone())));
            slots.extend(stage.reads.iter().map(|up| (format!("b{up}"), done[*up].1.clone())));
            let input: String = slots.values().cloned().collect();
            let text = concat_text(&self.params(i), &input);
            done.push((format!("{} {slots:?}", self.params(i)), text));
        }
        done
    }

    fn edit(&mut self, random: &mut Random) {
        let at = random.below(self.stages.len() as u64) as usize;
        match random.below(6) {
            0 | 1 => {
                let file = random.below(3) as usize;
                self.files[file] = format!("{}text {}\n", ["", "#"][random.below(2) as usize], random.below(3));
            }
            2 => self.stages[at].prefix = format!("p{}", random.below(3)),
            3 => self.stages[at].drop = !self.stages[at].drop,
            4 => self.stages[at] = ModelStage::random(random, at),
            _ if self.stages.len() > 2 => {
                self.stages.pop();
            }
            _ => self.stages.push(ModelStage::random(random, self.stages.len())),
        }
    }
}

impl ModelStage {
    fn random(random: &mut Random, at: usize) -> Self {
        let pick = |random: &mut Random, n: usize| (0..n).filter(|_| random.below(3) == 0).collect();
        Self {
            prefix: format!("p{}", random.below(2)),
            drop: random.below(2) == 0,
            files: pick(random, 3),
            reads: pick(random, at),
        }
    }
}

/// Removes or damages a random file of the store, the actions, the index or the view.
fn harm(p: &Project, random: &mut Random) {
    let folders = [".s2pipe/store", ".s2pipe/actions", ".s2pipe/newest", "demo"];
    let mut files = Vec::new();
    list(&p.cache_dir().join(folders[random.below(4) as usize]), &mut files);
    files.sort();
    let Some(file) = files.get(random.below(files.len().max(1) as u64) as usize) else { return };
    if random.below(2) == 0 || file.is_symlink() {
        fs::remove_file(file).unwrap();
    } else {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(file, "garbage").unwrap();
    }
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() { list(&entry.path(), files) } else { files.push(entry.path()) }
    }
}

#[test]
fn random_histories_end_as_if_everything_had_run_again() {
    for seed in 0..12 {
        let with_harm = seed % 2 == 1;
        let mut random = Random(seed);
        let p = Project::new();
        let mut model = Model::random(&mut random);
        // What has been done already, by everything that goes into it: the oracle of what must not run.
        let mut known: HashSet<String> = HashSet::new();
        for round in 0..12 {
            for (i, text) in model.files.iter().enumerate() {
                if fs::read_to_string(p.root().join(format!("f{i}.txt"))).ok().as_ref() != Some(text) {
                    p.write(&format!("f{i}.txt"), text);
                }
            }
            let answer = model.answer();
            let expected: HashMap<&String, ()> =
                answer.iter().filter(|(k, _)| !known.contains(k)).map(|(k, _)| (k, ())).collect();
            let options = RunOptions { jobs: 1 + random.below(4) as usize, ..RunOptions::default() };
            let summary = p.run_with(model.stages(&p), &options).unwrap();
            assert!(summary.ok, "seed {seed} round {round}: {summary:#?}");
            for (i, (_, text)) in answer.iter().enumerate() {
                assert_eq!(&p.view(&format!("t{i}/out.txt")), text, "seed {seed} round {round} stage {i}");
            }
            let shown = fs::read_dir(p.cache_dir().join("demo")).unwrap().count();
            assert_eq!(shown, model.stages.len(), "seed {seed} round {round}: stale folders in the view");
            let ran = p.ran().len();
            if !with_harm {
                assert_eq!(ran, expected.len(), "seed {seed} round {round}");
            }
            known.extend(answer.into_iter().map(|(key, _)| key));
            assert!(p.run(model.stages(&p)).is_empty(), "seed {seed} round {round}: a second run did something");
            for _ in 0..=random.below(2) {
                model.edit(&mut random);
            }
            if with_harm {
                harm(&p, &mut random);
            }
        }
    }
}
