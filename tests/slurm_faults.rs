//! What goes wrong on a cluster: jobs that fail, are killed, cancelled, queued again or refused.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;
mod slurm;

use project::{Project, read};
use rustix::process::Signal;
use slurm::{Afar, GATE, shell, until};

/// A stage `wait` that waits for the test, and `after` that reads it.
fn gated() -> Afar {
    shell(&format!(
        "  wait: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{GATE}; echo done > o' }} }}
  after: {{ uses: shell, inputs: {{ i: wait }}, outputs: {{ o: o }}, with: {{ run: 'cat \"$i\" > o' }} }}
"
    ))
}

/// Run again, the pipeline must end in what it would have ended in at once.
#[track_caller]
fn ends_well(project: &Afar) {
    project.nothing_is_left();
    project.let_go();
    project.run_afar(&[]).ok();
    assert_eq!(read(project, "after/o"), "done\n");
}

#[test]
fn a_command_that_fails_is_told_with_its_job_and_node() {
    if !slurm::is_here() {
        return;
    }
    let project = shell(
        "  bad: { uses: shell, outputs: { o: o }, with: { run: 'echo this is bad; exit 3' } }
  after: { uses: shell, inputs: { i: bad }, outputs: { o: o }, with: { run: 'cp \"$i\" o' } }
  good: { uses: shell, inputs: { words: words.txt }, outputs: { o: o }, with: { run: 'sort \"$words\" > o' } }
  better: { uses: shell, inputs: { i: good }, outputs: { o: o }, with: { run: 'cp \"$i\" o' } }
",
    );
    let ran = project.run_afar(&[]).exit(1);
    let job = &project.submitted().iter().find(|line| line.name == "landcover.bad").unwrap().element.clone();
    let failure = format!("bad: the command ended with exit code 3 (job {job} on node1)");
    let ran = ran.says(&[&failure, "    this is bad\n"]);
    assert!(ran.stderr.contains("after: skipped"), "{}", ran.stderr);
    project.nothing_is_left();

    let ran = project.run_afar(&["--keep-going"]).exit(1).says(&["bad: the command ended with exit code 3", "skipped"]);
    assert!(!ran.tasks().contains("after"));
    assert_eq!(read(&project, "better/o"), "air\nsoil\nwater\n");
    project.nothing_is_left();
}

#[test]
fn a_job_that_somebody_cancels() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    let run = project.start_afar(&[]);
    let element = project.running("wait");
    slurm::slurm("scancel", &[&element]);
    project.ends(run, 1);
    project.said(&[&format!("wait: job {element} on node1 was cancelled"), "after: skipped"]);
    ends_well(&project);
}

#[test]
fn a_job_whose_process_is_killed() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    let run = project.start_afar(&[]);
    let element = project.running("wait");
    until("it runs", || !project.processes().is_empty());
    project.signal_processes(Signal::KILL);
    project.ends(run, 1);
    project.said(&[&format!("wait: job {element} on node1 was killed by signal 9"), "after: skipped"]);
    ends_well(&project);
}

/// One task of a pack takes the whole job with it; the others are run again.
#[test]
fn tasks_that_share_a_job_with_one_that_kills_it() {
    if !slurm::is_here() {
        return;
    }
    let project = shell(
        "  many:
    uses: shell
    outputs: { o: o }
    matrix: { env.N: [1, 2, 3, 4] }
    with: { run: 'test $N != 2 || kill -9 $PPID; echo $N > o' }
slurm: { pack: 4 }
",
    );
    project.run_afar(&["--keep-going"]).exit(1).says(&["many/N=2: job ", "was killed by signal 9"]);
    for n in [1, 3, 4] {
        assert_eq!(read(&project, &format!("many/N={n}/o")), format!("{n}\n"));
    }
    assert_eq!(project.jobs().len(), 2);
}

/// Queued again in the middle of a training: it goes on from its checkpoint, to the same bytes.
#[test]
fn a_training_that_is_queued_again() {
    if !slurm::is_here() {
        return;
    }
    let project = Afar(Project::fresh());
    project.edit("epochs: 6", "epochs: 30");
    project.run(&["--until", "train", "--cache", "undisturbed"]).ok();
    project.run(&["--until", "patches"]).ok();
    let mut run = project.start_afar(&["--until", "train"]);
    // It stands still until it is asked to stop, so that it does not end before.
    run.wait_until("training began", |_| project.told().contains("\"is\":\"step\""));
    project.signal_processes(Signal::STOP);
    slurm::slurm("scontrol", &["requeue", &project.running("train")]);
    let steps = || {
        let told = project.told();
        let second = told.split("\"is\":\"element\"").nth(2)?.to_owned();
        let step = second.lines().find(|line| line.contains("\"is\":\"step\""))?;
        serde_json::from_str::<serde_json::Value>(step).ok()?["done"].as_u64()
    };
    run.wait_until("it went on", |_| steps().is_some());
    assert!(steps().unwrap() > 1, "it began anew");
    project.ends(run, 0);
    assert_eq!(project.artefacts(), project.artefacts_in("undisturbed"));
    assert!(project::checkpoints(project.root()).is_empty());
}

#[test]
fn a_partition_that_there_is_not() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    project.let_go();
    let refused = ["`sbatch` failed: ", "nvalid partition", "`slurm:` (partition"];
    project.run_afar(&["--set", "slurm.partition=nowhere"]).exit(1).says(&refused);
    assert!(project.jobs().is_empty() && project.batches().is_empty());
    // What comes after a stage that is refused is not submitted either.
    let ran = project.run_afar(&["--set", "slurm.stages.wait.partition=nowhere"]).exit(1).says(&refused);
    assert!(ran.stderr.contains("after: skipped"), "{}", ran.stderr);
    assert!(project.jobs().is_empty());
    ends_well(&project);
}

/// Takes more than a minute, since Slurm counts in minutes.
#[test]
#[ignore = "takes more than a minute"]
fn a_job_that_takes_longer_than_it_may() {
    if !slurm::is_here() {
        return;
    }
    let project = gated();
    project.run_afar(&["--set", "slurm.time=1m"]).exit(1).says(&["time limit", "`time:` under `slurm:`"]);
    ends_well(&project);
}
