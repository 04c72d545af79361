//! A small project on disk, and the built program to use on it as a person would.
#![allow(dead_code, reason = "each test file uses a part of this")]
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

pub(crate) mod scores;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The pipeline of every project here.
pub(crate) const PIPELINE: &str = include_str!("landcover.yaml");
/// Every stage of [`PIPELINE`], in the order of a run.
pub(crate) const STAGES: [&str; 6] = ["ingest", "patches", "train", "predict", "evaluate", "figures"];
/// Where the scenes are, as in the shipped project.
pub(crate) const DATA: &str = "dset-s2-grunnkart";
/// Longest wait for something that a running program is about to do. No test is meant to come near it.
const PATIENCE: Duration = Duration::from_secs(300);

/// A project in a temporary folder.
pub(crate) struct Project {
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl Project {
    /// Two training and two validation scenes of about 96 px, and the pipeline. Nothing has run.
    pub(crate) fn fresh() -> Self {
        Self::copy_of(&prepared().join("fresh"))
    }

    /// The same after one complete run.
    pub(crate) fn finished() -> Self {
        static DONE: OnceLock<()> = OnceLock::new();
        let finished = prepared().join("finished");
        DONE.get_or_init(|| {
            copy(&prepared().join("fresh"), &finished);
            s2pipe(&finished, &["run", "-q"]).ok();
        });
        Self::copy_of(&finished)
    }

    fn copy_of(from: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("project");
        copy(from, &root);
        Self { root, _folder: folder }
    }

    /// The project's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the project.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A file of the data set: `val_scene_0` or `tra_truth_1`.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        let folder = name.rsplit_once('_').unwrap().0;
        self.root.join(DATA).join(folder).join(format!("{name}.tif"))
    }

    /// Moves the whole project, its cache with it, to another folder.
    pub(crate) fn move_to(&mut self, name: &str) {
        let there = self.root.with_file_name(name);
        fs::rename(&self.root, &there).unwrap();
        self.root = there;
    }

    /// Replaces the pipeline.
    pub(crate) fn write_pipeline(&self, text: &str) {
        fs::write(self.path("pipelines/landcover.yaml"), text).unwrap();
    }

    /// Changes one place of the pipeline.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let path = self.path("pipelines/landcover.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} must stand once in\n{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// Runs the program in the project's folder.
    pub(crate) fn s2pipe(&self, args: &[&str]) -> Ran {
        s2pipe(&self.root, args)
    }

    /// `s2pipe run -v` with further arguments.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.s2pipe(&[&["run", "-v"], args].concat())
    }

    /// `s2pipe run -v`, left running.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, |_| {})
    }

    /// The same with another environment, or another place for what it says.
    pub(crate) fn start_with(&self, args: &[&str], change: impl FnOnce(&mut Command)) -> Running {
        let mut command = command(&self.root, &[&["run", "-v"], args].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        change(&mut command);
        let child = command.spawn().unwrap();
        Running { child: Some(child), root: self.root.clone() }
    }

    /// The digest of every file that the readable view of `cache` shows, by path.
    pub(crate) fn artefacts_in(&self, cache: &str) -> BTreeMap<String, String> {
        let view = self.root.join(cache).join("landcover");
        let mut files = BTreeMap::new();
        digests(&view, &view, &mut files);
        files
    }

    /// [`Project::artefacts_in`] the default cache.
    pub(crate) fn artefacts(&self) -> BTreeMap<String, String> {
        self.artefacts_in("cache")
    }
}

/// A project with a pipeline of its own and a text file.
pub(crate) fn shell(stages: &str) -> Project {
    let project = Project::fresh();
    fs::write(project.path("words.txt"), "soil\nwater\nair\n").unwrap();
    project.write_pipeline(&format!("name: landcover\nstages:\n{stages}"));
    project
}

/// The text of an artefact in the readable view.
pub(crate) fn read(project: &Project, artefact: &str) -> String {
    fs::read_to_string(project.path(&format!("cache/landcover/{artefact}"))).unwrap()
}

/// What a finished program left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// It must have ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exit(0)
    }

    /// It must have ended with this exit code.
    #[track_caller]
    pub(crate) fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard error must hold all of these.
    #[track_caller]
    pub(crate) fn says(self, phrases: &[&str]) -> Self {
        for phrase in phrases {
            assert!(self.stderr.contains(phrase), "{phrase:?} is not in\n{}", self.stderr);
        }
        self
    }

    /// Standard output as one JSON object, with nothing around it.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in\n{}", self.stdout));
        assert!(value.is_object());
        value
    }

    /// The tasks that ran, as `stage/task`; from the lines of `-v`.
    pub(crate) fn tasks(&self) -> BTreeSet<String> {
        self.named(": ran in ")
    }

    /// The tasks that came from the cache.
    pub(crate) fn cached(&self) -> BTreeSet<String> {
        self.named(": cached")
    }

    /// The stages of which a task ran, in the order of [`STAGES`] where they are of those.
    pub(crate) fn stages(&self) -> Vec<String> {
        let names: BTreeSet<String> =
            self.tasks().iter().map(|t| t.split('/').next().unwrap_or_default().to_owned()).collect();
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by_key(|name| STAGES.iter().position(|s| s == name));
        names
    }

    fn named(&self, what: &str) -> BTreeSet<String> {
        self.stderr.lines().filter_map(|line| Some(line.split_once(what)?.0.to_owned())).collect()
    }
}

/// A run in progress; killed when it is dropped.
pub(crate) struct Running {
    child: Option<Child>,
    root: PathBuf,
}

impl Running {
    /// A program that was started in `root`.
    pub(crate) fn of(child: Child, root: &Path) -> Self {
        Self { child: Some(child), root: root.to_path_buf() }
    }

    /// Waits until the condition holds. The program must be running all the while.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Path) -> bool) {
        let started = Instant::now();
        while !condition(&self.root) {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().unwrap());
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}");
            assert!(started.elapsed() < PATIENCE, "{what} did not come");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a task of this stage has begun, by the journal of the newest run.
    #[track_caller]
    pub(crate) fn wait_for_stage(&mut self, stage: &str) {
        let begun = format!("\"event\":\"task_started\",\"name\":{{\"stage\":\"{stage}\"");
        self.wait_until(&format!("{stage} began"), |root| journals(root).iter().any(|j| j.contains(&begun)));
    }

    /// Waits until training has left a checkpoint.
    #[track_caller]
    pub(crate) fn wait_for_checkpoint(&mut self) {
        self.wait_until("a checkpoint was there", |root| !checkpoints(root).is_empty());
    }

    /// Sends a signal; returns the exit code, or `None` where the signal killed it.
    pub(crate) fn signal(self, signal: Signal) -> Option<i32> {
        self.send(signal);
        self.wait()
    }

    /// Its child processes, with their arguments.
    pub(crate) fn children(&self) -> Vec<(Pid, String)> {
        let parent = self.child.as_ref().unwrap().id().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            let of = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
            let id = process.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
            let line = String::from_utf8_lossy(&fs::read(process.path().join("cmdline")).ok()?).into_owned();
            (of == parent).then_some((id, line))
        });
        processes.collect()
    }

    /// Sends a signal.
    pub(crate) fn send(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        // It may have ended in this very moment; then its exit code says so.
        let _ = kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal);
    }

    /// Waits for its end; returns the exit code, or `None` where a signal killed it.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.take().unwrap().wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program, about to run in `root`, with nothing of the caller's settings.
pub(crate) fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s2pipe"));
    command.current_dir(root).args(args).stdin(Stdio::null()).env("S2PIPE_CONFIG", "");
    command.env_remove("S2PIPE_LOG").env_remove("S2PIPE_REMOTE").env_remove("RAYON_NUM_THREADS");
    command
}

/// Runs the program in `root`.
pub(crate) fn s2pipe(root: &Path, args: &[&str]) -> Ran {
    finish(command(root, args))
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Ran {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Checkpoints that were written to their end.
pub(crate) fn checkpoints(root: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(root.join("cache/.s2pipe/checkpoints")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect()
}

/// The events of all runs, one text a run.
fn journals(root: &Path) -> Vec<String> {
    let runs = fs::read_dir(root.join("cache/.s2pipe/runs")).into_iter().flatten().flatten();
    runs.filter_map(|run| fs::read_to_string(run.path().join("events.jsonl")).ok()).collect()
}

/// A folder for this process, with the fresh project in it. Folders of processes that are gone are removed.
fn prepared() -> &'static Path {
    static PREPARED: OnceLock<PathBuf> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
        for old in fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let mine = all.join(std::process::id().to_string());
        let fresh = mine.join("fresh");
        fs::create_dir_all(fresh.join("pipelines")).unwrap();
        fs::write(fresh.join("pipelines/landcover.yaml"), PIPELINE).unwrap();
        synth(&fresh.join(DATA), 42);
        mine
    })
}

/// Makes the scenes of a project; another seed makes others of the same sizes.
pub(crate) fn synth(folder: &Path, seed: u64) {
    let (folder, seed) = (folder.to_str().unwrap(), seed.to_string());
    let args = ["synth", folder, "--size", "96", "--train", "2", "--val", "2", "--seed", &seed];
    s2pipe(Path::new("."), &args).ok();
}

/// Copies a folder; links stay links.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        let kind = entry.unwrap().file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), to).unwrap();
        } else if kind.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

fn digests(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            digests(root, &path, files);
        } else {
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, blake3::hash(&bytes).to_hex().to_string());
        }
    }
}
