//! A training that is given several GPUs, as a person starts it: further processes of the program, here on the CPU.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use project::{Project, Ran, Running, command, finish};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use s2pipe::engine::{Action, TaskJob};
use safetensors::SafeTensors;
use serde_json::Value;

/// What says that the CPU is to compute for so many GPUs.
const ON_THE_CPU: [&str; 6] = ["--device", "cpu", "--gpus", "4", "-j", "4"];
/// Longest time until everybody has noticed that somebody is gone.
const AT_ONCE: Duration = Duration::from_secs(15);

/// The small project, trained by `ranks` processes in steps that add up the same whatever their order, nearly.
fn project(ranks: usize) -> Project {
    let project = Project::fresh();
    project.edit("optimizer: { kind: adamw, lr: 1e-2 }", "optimizer: { kind: sgd, lr: 1e-2 }");
    project.edit("epochs: 6", "epochs: 15");
    ask_for(&project, ranks);
    project
}

fn ask_for(project: &Project, gpus: usize) {
    let file = project.path("pipelines/landcover.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| !line.contains("resources:"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    project.write_pipeline(&text);
    if gpus > 0 {
        let inputs = "    inputs: { patches: patches }\n";
        project.edit(inputs, &format!("{inputs}    resources: {{ gpus: {gpus} }}\n"));
    }
}

fn train(project: &Project, more: &[&str]) -> Ran {
    project.run(&[&ON_THE_CPU, ["--until", "train"].as_slice(), more].concat())
}

/// What a training by `ranks` processes leaves that nobody disturbs.
fn undisturbed(ranks: usize) -> &'static BTreeMap<String, String> {
    static ENDS: [OnceLock<BTreeMap<String, String>>; 5] = [const { OnceLock::new() }; 5];
    ENDS[ranks].get_or_init(|| {
        let project = project(ranks);
        train(&project, &[]).ok();
        project.artefacts()
    })
}

fn weights(project: &Project, cache: &str) -> Vec<f32> {
    let bytes = fs::read(project.path(&format!("{cache}/landcover/train/model/model.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<_> = tensors.names().into_iter().map(ToOwned::to_owned).collect();
    names.sort();
    let values = names.iter().flat_map(|name| tensors.tensor(name).unwrap().data().to_vec());
    values.collect::<Vec<u8>>().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn losses(project: &Project, cache: &str) -> Vec<f64> {
    let text = fs::read_to_string(project.path(&format!("{cache}/landcover/train/history.json"))).unwrap();
    let history: Value = serde_json::from_str(&text).unwrap();
    history["epochs"].as_array().unwrap().iter().map(|epoch| epoch["train_loss"].as_f64().unwrap()).collect()
}

/// A few steps in f32, which were added up in another order; see `net_ranks.rs`. It is no more than what another instruction
/// set makes. Over many steps such differences grow without bound, as rectifiers open or close.
const TOLERANCE: f64 = 1e-4;

#[test]
fn two_and_four_processes_train_what_one_does_and_the_key_is_the_same() {
    let project = project(0);
    project.edit("epochs: 15", "epochs: 3");
    train(&project, &[]).ok();
    let alone = (weights(&project, "cache"), losses(&project, "cache"));
    for ranks in [2, 4] {
        ask_for(&project, ranks);
        let ran = train(&project, &[]).ok();
        assert!(ran.tasks().is_empty(), "the number of GPUs is no part of a result");
        let cache = format!("cache-{ranks}");
        train(&project, &["--cache", &cache]).ok().says(&[&format!("{ranks} ranks compute together")]);
        let again = format!("cache-{ranks}-again");
        train(&project, &["--cache", &again]).ok();
        let same = project.artefacts_in(&cache) == project.artefacts_in(&again);
        assert!(same, "the same ranks leave the same bytes");
        let typical = (alone.0.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / alone.0.len() as f64).sqrt();
        let pairs = alone.0.iter().zip(weights(&project, &cache));
        let of_weights = pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max) / typical;
        let pairs = alone.1.iter().zip(losses(&project, &cache));
        let of_losses = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{ranks} ranks: weights differ by {of_weights:.1e} of a typical one, losses by {of_losses:.1e}");
        assert!(of_weights < TOLERANCE && of_losses < TOLERANCE, "{ranks} ranks: {of_weights:e}, {of_losses:e}");
        assert!(of_weights > 0.0, "it was one process that trained");
    }
}

// Deaths.

/// A training under way, with what it says in a file.
fn start(project: &Project, words: &Path) -> Running {
    let mut command = command(project.root(), &[&["run", "-v"], &ON_THE_CPU[..], &["--until", "train"]].concat());
    command.stdout(Stdio::null()).stderr(File::create(words).unwrap());
    let mut run = Running::of(command.spawn().unwrap(), project.root());
    run.wait_for_checkpoint();
    run
}

/// The further ranks of a training, by their number.
fn ranks(run: &Running) -> BTreeMap<String, Pid> {
    let all = run.children().into_iter();
    all.filter_map(|(pid, line)| {
        let words: Vec<&str> = line.split('\0').collect();
        (words[1..3] == ["task", "rank"]).then(|| (words[3].to_owned(), pid))
    })
    .collect()
}

#[track_caller]
fn all_gone(ranks: &BTreeMap<String, Pid>) {
    let waiting = Instant::now();
    for (rank, pid) in ranks {
        while test_kill_process(*pid).is_ok() && !is_zombie(*pid) {
            assert!(waiting.elapsed() < AT_ONCE, "rank {rank} still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[test]
fn a_rank_that_is_killed_fails_the_task_at_once_by_name_and_the_next_run_goes_on() {
    let project = project(3);
    project.edit("epochs: 15", "epochs: 400");
    let words = project.path("words");
    let run = start(&project, &words);
    let others = ranks(&run);
    assert_eq!(others.keys().collect::<Vec<_>>(), ["1", "2"]);
    let killed = Instant::now();
    kill_process(others["2"], Signal::KILL).unwrap();
    assert_eq!(run.wait(), Some(1));
    assert!(killed.elapsed() < AT_ONCE);
    let words = fs::read_to_string(words).unwrap();
    for phrase in ["rank 2 was lost", "signal: 9 (SIGKILL)", "training goes on from its checkpoint"] {
        assert!(words.contains(phrase), "{phrase:?} is not in\n{words}");
    }
    all_gone(&others);
    // With another number of ranks.
    ask_for(&project, 2);
    train(&project, &[]).ok().says(&["training goes on after", "2 ranks compute together"]);
    assert_eq!(losses(&project, "cache").len(), 400);
}

#[test]
fn ranks_end_with_their_leader_and_an_interrupted_training_ends_in_the_same_bytes() {
    for signal in [Signal::KILL, Signal::INT] {
        let project = project(2);
        let run = start(&project, &project.path("words"));
        let others = ranks(&run);
        let code = run.signal(signal);
        assert_eq!(code, if signal == Signal::KILL { None } else { Some(130) });
        all_gone(&others);
        train(&project, &[]).ok();
        assert_eq!(project.artefacts(), *undisturbed(2), "after {signal:?}");
    }
}

// `srun`.

/// The job of the task of a stage that has run, and its result taken away.
fn job_of(project: &Project, stage: &str, file: &str) -> PathBuf {
    let actions = files(&project.path("cache/.s2pipe/actions"));
    let read = |path: &PathBuf| Some((path.clone(), serde_json::from_slice::<Action>(&fs::read(path).ok()?).ok()?));
    let (path, action) = actions.iter().filter_map(read).find(|(_, action)| action.ran_as.stage == stage).unwrap();
    let mut job = TaskJob::new(action.ran_as, action.record, action.made_from);
    job.device = s2pipe::engine::DeviceChoice::Cpu;
    let record = project.path(file);
    fs::write(&record, serde_json::to_string(&job).unwrap()).unwrap();
    fs::remove_file(path).unwrap();
    record
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// `s2pipe task run`, as `srun` starts it.
fn task_run(project: &Project, record: &Path, rank: usize, ranks: usize) -> Command {
    let cache = project.path("cache");
    let args = ["task", "run", record.to_str().unwrap(), "--cache", cache.to_str().unwrap()];
    let mut command = command(project.root(), &args);
    command.env("SLURM_STEP_NUM_TASKS", ranks.to_string()).env("SLURM_PROCID", rank.to_string());
    command.env("SLURM_LOCALID", rank.to_string()).env("SLURMD_NODENAME", "localhost");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_task_that_srun_starts_several_times_is_one_training() {
    let project = project(3);
    train(&project, &[]).ok();
    let record = job_of(&project, "train", "train.json");
    // What an earlier rank 0 left that was killed leads nowhere.
    let key = serde_json::from_slice::<TaskJob>(&fs::read(&record).unwrap()).unwrap().record.key().unwrap();
    let folder = project.path("cache/.s2pipe/checkpoints").join(key.to_string());
    fs::create_dir_all(&folder).unwrap();
    let others: Vec<Child> = [1, 2].map(|rank| task_run(&project, &record, rank, 3).spawn().unwrap()).into();
    let lead = finish(task_run(&project, &record, 0, 3)).ok();
    assert!(lead.stdout.starts_with("ran "), "{}", lead.stdout);
    for (other, rank) in others.into_iter().zip(1..) {
        let ended = other.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(said, format!("rank {rank} took part\n"));
    }
    // The same bytes as with processes of its own.
    project.run(&[&ON_THE_CPU[..], &["--until", "train"]].concat()).ok();
    assert_eq!(project.artefacts(), *undisturbed(3));
    // Now there is nothing to do, for nobody.
    for rank in 0..3 {
        finish(task_run(&project, &record, rank, 3)).ok();
    }
    assert!(!folder.exists(), "the meeting's file is gone");
}

#[test]
fn of_other_tasks_the_first_rank_does_all() {
    let project = project(0);
    project.run(&["--until", "patches"]).ok();
    let record = job_of(&project, "patches", "patches.json");
    let other = finish(task_run(&project, &record, 1, 2)).ok();
    assert_eq!(other.stdout, "rank 1 has nothing to do for a task of kind patches\n");
    let lead = finish(task_run(&project, &record, 0, 2)).ok();
    assert!(lead.stdout.starts_with("ran "), "{}", lead.stdout);
    let mut wrong = task_run(&project, &record, 7, 2);
    wrong.env("SLURM_PROCID", "7");
    finish(wrong).exit(2).says(&["SLURM_PROCID must be below SLURM_STEP_NUM_TASKS (2), found 7"]);
}
