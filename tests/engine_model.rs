//! Random pipelines with random histories (edits, deletions, damage, kills, collections, runs at the same time) against an
//! oracle that does everything from scratch each time.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine_kit::*;
use s2pipe::engine::*;

/// Not a test of its own: runs the model that lies in the project.
#[test]
#[ignore = "started by other tests as a process of its own"]
fn child() {
    let root = PathBuf::from(std::env::var_os("S2PIPE_TEST_ROOT").expect("started by another test"));
    let model: Model = serde_json::from_slice(&fs::read(root.join("model.json")).unwrap()).unwrap();
    let registry = registry(&root);
    let graph = Graph::expand(&pipeline(&root, model.stages(&root)), &registry).unwrap();
    let cache = Cache::open(&root.join("cache")).unwrap();
    let summary = run(&graph, &registry, &cache, &RunOptions::default(), &(), &Cancel::default()).unwrap();
    assert!(summary.ok, "{summary:#?}");
}

fn start(root: &Path, die_at: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--test-threads=1"]).env("S2PIPE_TEST_ROOT", root);
    if let Some(n) = die_at {
        command.env("S2PIPE_DIE_AT", n.to_string());
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// What happens to a project between two looks at it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Happening {
    /// One run.
    Run,
    /// A run is killed before one of its operations, then another one runs.
    Killed,
    /// Three runs begin at once.
    Together,
    /// Two runs begin at once and one of them is killed.
    OneOfTwoKilled,
    /// Everything that no view shows is collected, then a run.
    Collected,
    /// A file of the cache is removed or overwritten, then a run.
    Harmed,
    /// A file of the cache is overwritten, `cache verify --repair`, then a run.
    Repaired,
}

const HAPPENINGS: [Happening; 7] = [
    Happening::Run,
    Happening::Killed,
    Happening::Together,
    Happening::OneOfTwoKilled,
    Happening::Collected,
    Happening::Harmed,
    Happening::Repaired,
];

/// Runs the model in whatever way it happens. Returns whether each task must have run exactly once if it was new.
fn happen(what: Happening, p: &Project, model: &Model, random: &mut Random) -> bool {
    let at_once = CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() };
    let all_well = |children: Vec<Child>| {
        children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success(), "{what:?}"));
    };
    match what {
        Happening::Run => {}
        Happening::Killed => count_kill(start(p.root(), Some(1 + random.below(30)))),
        Happening::Together => {
            all_well((0..3).map(|_| start(p.root(), None)).collect());
            return true;
        }
        Happening::OneOfTwoKilled => {
            let victim = start(p.root(), Some(1 + random.below(30)));
            all_well(vec![start(p.root(), None)]);
            count_kill(victim);
        }
        Happening::Collected => drop(p.cache().collect(&at_once).unwrap()),
        Happening::Harmed => harm(p, random),
        Happening::Repaired => {
            harm(p, random);
            p.cache().verify(true).unwrap();
            assert!(p.cache().verify(false).unwrap().is_sound());
        }
    }
    let options = RunOptions { jobs: 1 + random.below(4) as usize, ..RunOptions::default() };
    let summary = p.run_with(model.stages(p.root()), &options).unwrap();
    assert!(summary.ok, "{what:?}: {summary:#?}");
    what == Happening::Run
}

/// Processes that were really killed before they were done.
static KILLED: AtomicU64 = AtomicU64::new(0);

fn count_kill(mut child: Child) {
    if child.wait().unwrap().signal() == Some(9) {
        KILLED.fetch_add(1, Ordering::Relaxed);
    }
}

/// `happenings` that may occur; `exact`: none of them loses results, so only what is new may run.
fn histories(seeds: std::ops::Range<u64>, rounds: usize, happenings: &[Happening], exact: bool) {
    for seed in seeds {
        let mut random = Random(seed);
        let p = Project::new();
        let mut model = Model::random(&mut random);
        // What has been done already, by everything that goes into it: the oracle of what must not run.
        let mut known: HashSet<String> = HashSet::new();
        for round in 0..rounds {
            let what = happenings[random.below(happenings.len() as u64) as usize];
            let here = format!("seed {seed} round {round} {what:?}");
            for (i, text) in model.files.iter().enumerate() {
                if fs::read_to_string(p.root().join(format!("f{i}.txt"))).ok().as_ref() != Some(text) {
                    p.write(&format!("f{i}.txt"), text);
                }
            }
            p.write("model.json", &serde_json::to_string(&model).unwrap());
            let answer = model.answer();
            let new: HashSet<&String> = answer.iter().map(|(key, _)| key).filter(|key| !known.contains(*key)).collect();
            let once = happen(what, &p, &model, &mut random);
            for (i, (_, text)) in answer.iter().enumerate() {
                assert_eq!(&p.view(&format!("t{i}/out.txt")), text, "{here} stage {i}");
            }
            let shown = fs::read_dir(p.cache_dir().join("demo")).unwrap().count();
            assert_eq!(shown, model.stages.len(), "{here}: stale folders in the view");
            let ran = p.ran().len();
            if once && exact {
                assert_eq!(ran, new.len(), "{here}");
            }
            known.extend(answer.into_iter().map(|(key, _)| key));
            assert!(p.run(model.stages(p.root())).is_empty(), "{here}: a second run did something");
            for _ in 0..=random.below(2) {
                model.edit(&mut random);
            }
        }
    }
}

#[test]
fn undisturbed_histories_do_each_thing_once() {
    histories(0..8, 12, &[Happening::Run], true);
}

#[test]
fn histories_with_kills_and_runs_at_once_lose_nothing() {
    let what = [Happening::Run, Happening::Killed, Happening::Together, Happening::OneOfTwoKilled];
    histories(100..106, 8, &what, true);
    let killed = KILLED.load(Ordering::Relaxed);
    assert!(killed >= 5, "only {killed} processes died");
}

#[test]
fn histories_with_everything_end_as_if_everything_had_run_again() {
    histories(200..208, 10, &HAPPENINGS, false);
}
