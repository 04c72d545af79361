//! The controller of a cluster dies during a run. By itself, since no other test may lose its jobs.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;
mod slurm;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use project::read;
use rustix::process::Signal;
use slurm::{Afar, GATE, shell, until};

/// One test at a time has the controller.
static CONTROLLER: Mutex<()> = Mutex::new(());

/// A stage `wait` that waits for the test, and `after` that reads it.
fn gated() -> Afar {
    shell(&format!(
        "  wait: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{GATE}; echo done > o' }} }}
  after: {{ uses: shell, inputs: {{ i: wait }}, outputs: {{ o: o }}, with: {{ run: 'cat \"$i\" > o' }} }}
"
    ))
}

/// Waits until the controller has written down all that it knows; it does so every few seconds, where there is something new.
fn state_is_saved(job: &str) {
    let state = Path::new(&std::env::var_os("SLURM_CONF").unwrap()).with_file_name("state/job_state");
    let asked = SystemTime::now();
    slurm::slurm("scontrol", &["update", &format!("jobid={job}"), "timelimit=60"]);
    until("the state is saved", || fs::metadata(&state).and_then(|meta| meta.modified()).is_ok_and(|at| at > asked));
}

#[test]
fn it_comes_back_with_all_that_it_knew() {
    if !slurm::is_here() {
        return;
    }
    let _alone = CONTROLLER.lock();
    let project = gated();
    let run = project.start_afar(&[]);
    let job = project.running("wait");
    until("the other one waits", || project.waiting().len() == 1);
    state_is_saved(&job);
    slurm::cluster("restart-controller");
    project.let_go();
    project.ends(run, 0);
    assert_eq!(read(&project, "after/o"), "done\n");
    assert_eq!(project.stages_submitted(), ["wait", "after"]);
}

/// Jobs that were submitted shortly before are forgotten.
#[test]
fn it_comes_back_without_what_came_last() {
    if !slurm::is_here() {
        return;
    }
    let _alone = CONTROLLER.lock();
    let project = gated();
    let run = project.start_afar(&["--until", "wait"]);
    state_is_saved(&project.running("wait"));
    run.signal(Signal::KILL);
    let run = project.start_afar(&[]);
    until("there is a new job", || project.waiting().len() == 1);
    slurm::cluster("restart-controller");
    project.let_go();
    project.ends(run, 0);
    assert_eq!(read(&project, "after/o"), "done\n");
    project.nothing_is_left();
}
