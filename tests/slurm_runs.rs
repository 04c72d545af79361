//! Pipelines on a real Slurm: what is submitted, what is not, and that the results are those of a run on one machine.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;
mod slurm;

use std::fs;

use project::{Project, command, finish, read};
use slurm::{Afar, GATE, shell, until};

#[test]
fn the_whole_pipeline_leaves_the_bytes_of_a_local_run() {
    if !slurm::is_here() {
        return;
    }
    let mut project = Project::fresh();
    project.edit("epochs: 6", "epochs: 2");
    project.move_to("it's my 100 % project");
    let project = Afar(project);
    project.run(&["--cache", "local"]).ok();
    let ran = project.run_afar(&[]).ok();
    assert_eq!(ran.stages(), project::STAGES);
    assert_eq!(project.artefacts(), project.artefacts_in("local"));
    let jobs = project.jobs();
    assert!(jobs.len() >= project::STAGES.len(), "{jobs:?}");
    assert!(project.batches().is_empty(), "of what went well nothing stays: {:?}", project.batches());

    assert!(project.run_afar(&[]).ok().tasks().is_empty());
    assert_eq!(project.jobs(), jobs, "what is cached is not submitted");
    assert!(project.run(&[]).ok().tasks().is_empty(), "here and there one cache");
}

#[test]
fn many_small_tasks_go_out_as_few_arrays() {
    if !slurm::is_here() {
        return;
    }
    let numbers = (0..200).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let project = shell(&format!(
        "  many:
    uses: shell
    outputs: {{ o: o }}
    matrix: {{ env.N: [{numbers}] }}
    with: {{ run: 'echo $((N * N)) > o' }}
slurm: {{ pack: 4, array: 30 }}
"
    ));
    assert_eq!(project.run_afar(&[]).ok().tasks().len(), 200);
    for n in [0, 7, 199] {
        assert_eq!(read(&project, &format!("many/N={n}/o")), format!("{}\n", n * n));
    }
    assert_eq!((project.jobs().len(), project.submitted().len()), (2, 50), "50 elements of four tasks in two arrays");
    project.run_afar(&["--force", "--set", "slurm={pack: 1}", "--set", "many.matrix.env.N=[1, 2]"]).ok();
    assert_eq!((project.jobs().len(), project.submitted().len()), (3, 52));
}

#[test]
fn arrays_are_no_longer_than_the_cluster_takes() {
    if !slurm::is_here() {
        return;
    }
    let numbers = (0..102).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let project = shell(&format!(
        "  many:
    uses: shell
    outputs: {{ o: o }}
    matrix: {{ env.N: [{numbers}] }}
    with: {{ run: 'echo $N > o' }}
slurm: {{ pack: 1 }}
"
    ));
    project.run_afar(&[]).ok();
    assert_eq!(
        (project.jobs().len(), project.submitted().len()),
        (2, 102),
        "MaxArraySize is 101: one after the last number"
    );
}

#[test]
fn what_leaves_equal_bytes_ends_there() {
    if !slurm::is_here() {
        return;
    }
    let project = shell(
        "  sort: { uses: shell, inputs: { words: words.txt }, outputs: { o: o }, with: { run: 'sort \"$words\" > o' } }
  shout: { uses: shell, inputs: { words: sort }, outputs: { o: o }, with: { run: 'tr a-z A-Z < \"$words\" > o' } }
",
    );
    project.run_afar(&[]).ok();
    assert_eq!(project.stages_submitted(), ["sort", "shout"]);
    fs::write(project.path("words.txt"), "water\nsoil\nair\n").unwrap();
    let ran = project.run_afar(&[]).ok();
    assert_eq!(ran.stages(), ["sort"]);
    assert_eq!(project.stages_submitted(), ["sort", "shout", "sort"]);
    fs::write(project.path("words.txt"), "fire\n").unwrap();
    project.run_afar(&[]).ok();
    assert_eq!(project.stages_submitted(), ["sort", "shout", "sort", "sort", "shout"]);
    assert_eq!(read(&project, "shout/o"), "FIRE\n");
}

#[test]
fn what_was_never_run_waits_in_the_queue_for_what_it_reads() {
    if !slurm::is_here() {
        return;
    }
    let project = shell(&format!(
        "  first: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{GATE}; echo 1 > o' }} }}
  second: {{ uses: shell, inputs: {{ i: first }}, outputs: {{ o: o }}, with: {{ run: 'cat \"$i\" > o; echo 2 >> o' }} }}
  third: {{ uses: shell, inputs: {{ i: second }}, outputs: {{ o: o }}, with: {{ run: 'cat \"$i\" > o; echo 3 >> o' }} }}
  last: {{ uses: shell, needs: third, outputs: {{ o: o }}, with: {{ run: 'echo 4 > o' }} }}
"
    ));
    let mut run = project.start_afar(&[]);
    project.running("first");
    run.wait_until("three stages wait", |_| {
        let names: Vec<String> = project.waiting().into_iter().map(|line| line.name).collect();
        names == ["landcover.second", "landcover.third", "landcover.last"]
    });
    project.let_go();
    project.ends(run, 0);
    assert_eq!(read(&project, "third/o"), "1\n2\n3\n");
    assert_eq!(project.stages_submitted(), ["first", "second", "third", "last"]);
}

#[test]
fn jobs_have_the_environment_without_its_secrets() {
    if !slurm::is_here() {
        return;
    }
    let project = shell(
        "  look: { uses: shell, outputs: { o: o }, with: { run: 'echo $ORDINARY > o', pass: [ORDINARY] } }
slurm: { setup: ['env > \"ROOT/env.txt\"', 'set_up() { export ORDINARY=set-up-$ORDINARY; }', set_up] }
",
    );
    let mut run = command(project.root(), &["run", "--executor", "slurm"]);
    run.env("AWS_SECRET_ACCESS_KEY", "hunter2").env("GOOGLE_APPLICATION_CREDENTIALS", "/hunter2");
    // A person's defaults for Slurm's commands are for that person's jobs.
    run.env("ORDINARY", "yes").env("SBATCH_PARTITION", "nowhere").env("SQUEUE_STATES", "COMPLETED");
    finish(run).ok();
    let env = fs::read_to_string(project.path("env.txt")).unwrap();
    assert!(env.contains("ORDINARY=yes") && !env.contains("hunter2"), "{env}");
    assert_eq!(read(&project, "look/o"), "set-up-yes\n");
}

#[test]
fn jobs_hold_what_their_stages_ask_for() {
    if !slurm::is_here() {
        return;
    }
    let project = shell(&format!(
        "  look:
    uses: shell
    outputs: {{ o: o }}
    matrix: {{ env.N: [1, 2] }}
    resources: {{ gpus: 1, cpus: 2, memory: 100MB }}
    with: {{ run: 'echo $S2PIPE_CPUS $CUDA_VISIBLE_DEVICES > o; {GATE}' }}
"
    ));
    let run = project.start_afar(&[]);
    until("both run", || project.queue().iter().filter(|line| line.state == "RUNNING").count() == 2);
    project.let_go();
    project.ends(run, 0);
    let mut held = [read(&project, "look/N=1/o"), read(&project, "look/N=2/o")];
    held.sort();
    assert_eq!(held, ["2 0\n", "2 1\n"], "each its own GPU");
}

/// Needs no Slurm.
#[test]
fn a_dry_run_shows_the_scripts_and_submits_nothing() {
    let project = Project::fresh();
    project.write_pipeline(&format!(
        "{}
slurm:
  account: nn1234k
  time: 30m
  setup: [module load CUDA/12.4]
  kinds: {{ train: {{ partition: accel, gpus: 1, memory: 64GB }} }}
",
        project::PIPELINE
    ));
    let mut run = command(project.root(), &["run", "--executor", "slurm", "--dry-run"]);
    run.env("SLURM_CONF", "/nowhere").env("PATH", "/nowhere");
    let text = finish(run).ok().stdout;
    let program = fs::canonicalize(env!("CARGO_BIN_EXE_s2pipe")).unwrap();
    let text = text.replace(project.root().to_str().unwrap(), "PROJECT").replace(program.to_str().unwrap(), "S2PIPE");
    insta::with_settings!({
        snapshot_path => "project/snapshots", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!("slurm-dry-run", text) });
    assert!(!project.path("cache/.s2pipe/batches").exists());
}
