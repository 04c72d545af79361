//! The submitting command is killed or interrupted while its jobs are on their way, and started again.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;
mod slurm;

use std::fs;
use std::process::Stdio;

use project::{Running, command, finish, read};
use rustix::process::Signal;
use slurm::{Afar, GATE, shell, until};

/// Three stages, the first of which waits for the test.
fn gated() -> Afar {
    shell(&format!(
        "  first: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{GATE}; echo 1 > o' }} }}
  second: {{ uses: shell, inputs: {{ i: first }}, outputs: {{ o: o }}, with: {{ run: 'cat \"$i\" > o; echo 2 >> o' }} }}
  third: {{ uses: shell, inputs: {{ i: second }}, outputs: {{ o: o }}, with: {{ run: 'cat \"$i\" > o; echo 3 >> o' }} }}
"
    ))
}

/// A run of it whose first stage runs and whose others are queued.
fn under_way(project: &Afar, args: &[&str]) -> Running {
    let mut run = project.start_afar(args);
    project.running("first");
    run.wait_until("two stages wait", |_| project.waiting().len() == 2);
    // A job's number is known to the queue before it is to the command.
    run.wait_until("all jobs are noted", |_| project.batches().iter().all(|batch| batch.join("job").exists()));
    run
}

/// A run now must follow the jobs that there are, and submit no others.
#[track_caller]
fn follows(project: &Afar) {
    let jobs = project.jobs();
    let run = project.start_afar(&[]);
    project.let_go();
    project.ends(run, 0);
    assert_eq!(read(project, "third/o"), "1\n2\n3\n");
    assert_eq!(project.jobs(), jobs, "nothing is submitted twice");
    project.nothing_is_left();
    assert!(project.run_afar(&[]).ok().tasks().is_empty());
}

#[test]
fn killed_while_jobs_are_on_their_way() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    assert_eq!(under_way(&project, &[]).signal(Signal::KILL), None);
    assert_eq!(project.queue().len(), 3);
    follows(&project);
}

/// As if it had been killed after Slurm had taken the jobs, and before it knew their numbers.
#[test]
fn killed_before_the_jobs_were_noted() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    under_way(&project, &[]).signal(Signal::KILL);
    project.batches().iter().for_each(|batch| fs::remove_file(batch.join("job")).unwrap());
    follows(&project);
}

/// Jobs that ended while nobody was looking.
#[test]
fn killed_and_started_again_after_all_is_done() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    under_way(&project, &[]).signal(Signal::KILL);
    let jobs = project.jobs();
    project.let_go();
    project.nothing_is_left();
    assert!(project.run_afar(&[]).ok().tasks().is_empty());
    assert_eq!(project.jobs(), jobs);
    assert_eq!(read(&project, "third/o"), "1\n2\n3\n");
}

#[test]
fn interrupted_with_all_jobs_to_be_cancelled() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    let run = under_way(&project, &["--on-interrupt", "cancel"]);
    assert_eq!(run.signal(Signal::INT), Some(130));
    project.nothing_is_left();
    project.let_go();
    project.run_afar(&[]).ok();
    assert_eq!(read(&project, "third/o"), "1\n2\n3\n");
}

#[test]
fn interrupted_with_jobs_left_where_they_are() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    let run = under_way(&project, &["--on-interrupt", "leave"]);
    let jobs: Vec<String> = project.queue().into_iter().map(|line| line.element).collect();
    assert_eq!(run.signal(Signal::INT), Some(130));
    project.said(&["3 jobs stay in the queue"]);
    assert_eq!(project.queue().len(), 3);
    let status = project.s2pipe(&["status"]).exit(3).stdout;
    for (stage, said) in [("first", "runs in job"), ("second", "queued as job"), ("third", "queued as job")] {
        let job = project.queue().into_iter().find(|line| line.name.ends_with(stage)).unwrap().element;
        assert!(status.contains(&format!("{said} {job}")), "{status}");
    }
    let tasks = project.s2pipe(&["status", "--json"]).exit(3).json()["tasks"].clone();
    let tasks = tasks.as_array().unwrap();
    assert!(tasks.iter().all(|task| jobs.contains(&task["job"].as_str().unwrap().to_owned())), "{tasks:?}");
    assert_eq!((&tasks[0]["node"], &tasks[1]["node"]), (&"node1".into(), &serde_json::Value::Null));
    follows(&project);
}

/// Two pipelines with one cache: what becomes of the jobs of one is no matter of the other.
#[test]
fn an_interrupted_run_cancels_no_jobs_but_its_own() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    let other = format!(
        "name: other\nstages:\n  alone: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{GATE}; echo alone > o' }} }}\n"
    );
    let other = other.replace("ROOT", project.root().to_str().unwrap());
    fs::write(project.path("pipelines/other.yaml"), other).unwrap();
    let mut run = project.start(&["--executor", "slurm", "pipelines/other.yaml"]);
    run.wait_until("the other runs", |_| project.queue().iter().any(|line| line.name == "other.alone"));
    let mine = under_way(&project, &["--on-interrupt", "cancel"]);
    assert_eq!(mine.signal(Signal::INT), Some(130));
    until("one is left", || project.queue().len() == 1);
    project.let_go();
    project.ends(run, 0);
}

/// A job that is run twice at a time, as it may come about where Slurm is asked twice, does no harm.
#[test]
fn a_pack_that_is_run_by_hand_beside_its_job() {
    if !slurm::is_here() {
        return;
    }
    for locks in ["on", "off"] {
        let project = gated();
        let run = project.start_with(&["--executor", "slurm"], |command| {
            command.env("S2PIPE_LOCKS", locks);
        });
        project.running("first");
        let batch = project.batches().into_iter().find(|batch| batch.to_str().unwrap().ends_with("-first")).unwrap();
        let (pack, report) = (batch.join("packs/0.json"), project.path("reports/0.jsonl"));
        fs::create_dir(project.path("reports")).unwrap();
        let args = ["task", "run", pack.to_str().unwrap(), "--cache", "cache", "--report", report.to_str().unwrap()];
        let mut by_hand = command(project.root(), &args);
        by_hand.env("S2PIPE_LOCKS", locks).stdout(Stdio::piped());
        let mut by_hand = by_hand.spawn().unwrap();
        until("it told that it is there", || report.exists());
        project.let_go();
        assert!(by_hand.wait().unwrap().success());
        project.ends(run, 0);
        assert_eq!(read(&project, "third/o"), "1\n2\n3\n");
        finish(command(project.root(), &["cache", "verify"])).ok();
        assert!(project.run(&[]).ok().tasks().is_empty());
    }
}
