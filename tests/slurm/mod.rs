//! A cluster of one node, which `tests/slurm/cluster.sh start` brings up, and projects whose tasks run there.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::project::{self, Project, Ran, Running};

/// A command that waits for [`Afar::let_go`].
pub(crate) const GATE: &str = "until test -e ROOT/go; do sleep 0.05; done";
/// Longest wait for what the cluster is about to do. No test is meant to come near it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether there is a cluster to test on. Where there must be one, its absence is a failure.
pub(crate) fn is_here() -> bool {
    let asked = std::env::var_os("SLURM_CONF").is_some();
    if asked && Command::new("sinfo").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let required = std::env::var("S2PIPE_SLURM_TESTS").is_ok_and(|value| value == "required");
    assert!(!required, "no Slurm answers: eval \"$(tests/slurm/cluster.sh start)\"");
    println!("not tested, since there is no Slurm here: eval \"$(tests/slurm/cluster.sh start)\"");
    false
}

/// A project on the cluster. What it leaves in the queue is cancelled at its end.
pub(crate) struct Afar(pub(crate) Project);

impl Deref for Afar {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.0
    }
}

impl Drop for Afar {
    fn drop(&mut self) {
        let left: BTreeSet<String> = self.listed(&[]).into_iter().map(|line| line.job).collect();
        if !left.is_empty() {
            let _ = Command::new("scancel").args(left).status();
        }
    }
}

/// A project with these stages and `words.txt`; `ROOT` in them stands for its folder.
pub(crate) fn shell(stages: &str) -> Afar {
    let project = Afar(project::shell(""));
    project.stages(stages);
    project
}

/// An element of a job array, as the queue lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    /// Number of the array.
    pub(crate) job: String,
    /// `7_0`.
    pub(crate) element: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    /// `landcover.train`.
    pub(crate) name: String,
}

impl Afar {
    /// Replaces the stages; `ROOT` stands for the project's folder.
    pub(crate) fn stages(&self, stages: &str) {
        let text = format!("name: landcover\nstages:\n{stages}");
        self.write_pipeline(&text.replace("ROOT", self.root().to_str().unwrap()));
    }

    /// `s2pipe run -v --executor slurm` with further arguments.
    pub(crate) fn run_afar(&self, args: &[&str]) -> Ran {
        self.run(&[&["--executor", "slurm"], args].concat())
    }

    /// The same, left running.
    pub(crate) fn start_afar(&self, args: &[&str]) -> Running {
        let said = fs::File::create(self.path("said.txt")).unwrap();
        self.start_with(&[&["--executor", "slurm"], args].concat(), |command| {
            command.stderr(said);
        })
    }

    /// What the run that was started last has said so far must have all of these in it.
    #[track_caller]
    pub(crate) fn said(&self, phrases: &[&str]) {
        let said = fs::read_to_string(self.path("said.txt")).unwrap();
        for phrase in phrases {
            assert!(said.contains(phrase), "{phrase:?} is not in\n{said}");
        }
    }

    /// Waits for the end of the run that was started last.
    #[track_caller]
    pub(crate) fn ends(&self, run: Running, code: i32) {
        let ended = run.wait();
        assert_eq!(ended, Some(code), "{}", fs::read_to_string(self.path("said.txt")).unwrap_or_default());
    }

    /// What `squeue` lists of this project, which its jobs have as their working folder.
    fn listed(&self, options: &[&str]) -> Vec<Listed> {
        let format = ["--noheader", "--array", "--format", "%F|%K|%T|%r|%j|%Z"];
        let begun = Instant::now();
        let output = loop {
            let output = Command::new("squeue").args(format).args(options).output().unwrap();
            if output.status.success() {
                break output;
            }
            // Another test may have killed the controller.
            assert!(begun.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(Duration::from_millis(100));
        };
        let root = self.root().to_str().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| line.split('|').collect::<Vec<_>>());
        lines
            .filter(|fields| fields[5] == root)
            .map(|fields| Listed {
                job: fields[0].to_owned(),
                element: format!("{}_{}", fields[0], fields[1]),
                state: fields[2].to_owned(),
                reason: fields[3].to_owned(),
                name: fields[4].to_owned(),
            })
            .collect()
    }

    /// What is queued or running of this project.
    pub(crate) fn queue(&self) -> Vec<Listed> {
        self.listed(&[])
    }

    /// All elements that were ever submitted, whatever became of them.
    pub(crate) fn submitted(&self) -> Vec<Listed> {
        self.listed(&["--states", "all"])
    }

    /// The numbers of all jobs that were ever submitted, with their names.
    pub(crate) fn jobs(&self) -> BTreeSet<(u32, String)> {
        self.submitted().into_iter().map(|line| (line.job.parse().unwrap(), line.name)).collect()
    }

    /// The stages of these jobs, in the order in which they were submitted.
    pub(crate) fn stages_submitted(&self) -> Vec<String> {
        self.jobs().into_iter().map(|(_, name)| name.trim_start_matches("landcover.").to_owned()).collect()
    }

    /// Waits until the queue is empty of this project.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        until("the queue is empty", || self.queue().is_empty());
    }

    /// The element of a stage that runs; waits for it.
    #[track_caller]
    pub(crate) fn running(&self, stage: &str) -> String {
        let mut found = None;
        until(&format!("{stage} runs"), || {
            let name = format!("landcover.{stage}");
            found = self.queue().into_iter().find(|line| line.name == name && line.state == "RUNNING");
            found.is_some()
        });
        found.unwrap().element
    }

    /// The folders of batches.
    pub(crate) fn batches(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.path("cache/.s2pipe/batches")).into_iter().flatten().flatten();
        folders.map(|entry| entry.path()).collect()
    }

    /// What elements have told so far, all of it.
    pub(crate) fn told(&self) -> String {
        let reports = self.batches().into_iter().flat_map(|batch| fs::read_dir(batch.join("reports"))).flatten();
        reports.flatten().filter_map(|report| fs::read_to_string(report.path()).ok()).collect()
    }

    /// The processes of this project's jobs on the node.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let ours = format!("task\0run\0{}", self.root().display());
        let process = |entry: fs::DirEntry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let id = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
            String::from_utf8_lossy(&line).contains(&ours).then_some(id)
        };
        fs::read_dir("/proc").unwrap().flatten().filter_map(process).collect()
    }

    /// Sends a signal to all of them; there must be some.
    #[track_caller]
    pub(crate) fn signal_processes(&self, signal: Signal) {
        let processes = self.processes();
        assert!(!processes.is_empty(), "no job of this project runs");
        processes.into_iter().for_each(|id| kill_process(id, signal).unwrap());
    }

    /// The elements that wait for others.
    pub(crate) fn waiting(&self) -> Vec<Listed> {
        self.queue().into_iter().filter(|line| line.state == "PENDING" && line.reason == "Dependency").collect()
    }

    /// Lets stages go on that wait for `ROOT/go`.
    pub(crate) fn let_go(&self) {
        fs::write(self.path("go"), "").unwrap();
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}: this did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command of Slurm, which must end well.
#[track_caller]
pub(crate) fn slurm(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The cluster's own script.
#[track_caller]
pub(crate) fn cluster(action: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/cluster.sh");
    slurm(script.to_str().unwrap(), &[action]);
}
