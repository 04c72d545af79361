//! Timeouts, retries, and what tasks hold of the machine.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::fs;
use std::time::Duration;

use engine_kit::*;
use s2pipe::engine::*;
use s2pipe::spec::{Cpus, Limits, Resources, Stage};
use serde_json::{Value, json};

fn timeout(ms: u64) -> Limits {
    Limits { timeout: Some(Duration::from_millis(ms)), ..Limits::default() }
}

fn retries(retries: u32) -> Limits {
    Limits { retries, ..Limits::default() }
}

fn resources(resources: Resources) -> Limits {
    Limits { resources, ..Limits::default() }
}

fn cpus(count: u32) -> Limits {
    resources(Resources { cpus: Some(Cpus::Count(count)), ..Resources::default() })
}

fn gpus(gpus: u32) -> Limits {
    resources(Resources { gpus, ..Resources::default() })
}

fn flaky(p: &Project, failures: u32, more: Value) -> StageBuilder {
    let mut with = json!({"name": "flaky", "count": p.root().join("count"), "failures": failures});
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage("flaky", "flaky").with(with)
}

/// Runs, and keeps what was told.
fn hear(p: &Project, stages: Vec<Stage>, options: &RunOptions) -> (RunSummary, Heard) {
    let heard = Heard::default();
    let registry = registry(p.root());
    let summary = run(&p.graph(stages), &registry, &p.cache(), options, &heard, &Cancel::default()).unwrap();
    (summary, heard)
}

/// The most tasks that ran at once, from the events of their beginnings and ends.
fn most_at_once(heard: &Heard) -> usize {
    let (mut now, mut most) = (0, 0);
    for event in heard.0.lock().unwrap().iter() {
        if event.contains("\"event\":\"task_started\"") {
            now += 1;
            most = most.max(now);
        } else if event.contains("\"event\":\"task_finished\"") {
            now -= 1;
        }
    }
    most
}

#[test]
fn a_task_that_fails_twice_and_then_ends_well_is_a_result_like_any_other() {
    for how in ["fail", "panic", "nothing"] {
        let p = Project::new();
        let stages = |limits| vec![flaky(&p, 2, json!({"how": how})).limits(limits).done()];
        let (summary, heard) = hear(&p, stages(retries(2)), &RunOptions::default());
        assert!(summary.ok && summary.failures.is_empty(), "{summary:#?}");
        assert_eq!(p.ran().len(), 3);
        assert_eq!(p.view("flaky/out.txt"), "done");
        assert_eq!(heard.about("attempt 1 of 3 failed: ").len(), 1);
        assert_eq!(heard.about("attempt 2 of 3 failed: ").len(), 1);
        assert_eq!(heard.about("task_started").len(), 1, "for whoever watches it is one task");
        // Retries are not in the key.
        assert!(p.run(stages(Limits::default())).is_empty());
    }
}

#[test]
fn a_task_that_never_ends_well_is_given_up_with_all_its_attempts_in_one_log() {
    let p = Project::new();
    let stages = |limits| vec![flaky(&p, 99, json!({})).limits(limits).done()];
    let (summary, _) = hear(&p, stages(retries(2)), &RunOptions::default());
    let failure = &summary.failures[0];
    assert_eq!(failure.message, "no 3 (attempt 3 of 3)");
    assert_eq!(failure.help.as_deref(), Some("try again"));
    let log = fs::read_to_string(failure.log.as_ref().unwrap()).unwrap();
    let expected = "this is attempt 1\nattempt 1 of 3 failed: no 1\nthis is attempt 2\nattempt 2 of 3 failed: no 2\n\
                    this is attempt 3\nerror: no 3 (attempt 3 of 3)\n";
    assert_eq!(log, expected);
    assert!(!p.cache_dir().join("demo/flaky").exists());
    let (summary, _) = hear(&p, stages(Limits::default()), &RunOptions::default());
    assert_eq!(summary.failures[0].message, "no 4", "who asks for no retries hears of no attempts");
}

#[test]
fn what_another_attempt_cannot_mend_is_not_tried_again() {
    let p = Project::new();
    let a = p.write("a.txt", "one\n");
    settle();
    let touchy = stage("touchy", "touchy").files("in", &[&a]).limits(retries(5)).done();
    let summary = p.run_with(vec![touchy], &RunOptions::default()).unwrap();
    assert_eq!(p.ran(), ["touchy/out"]);
    assert!(summary.failures[0].message.ends_with("a.txt changed while the run was using it"), "{summary:?}");

    let up = p.root().join("up");
    let stages = vec![stage("wait", "wait").with(json!({"up": up})).limits(retries(5)).done()];
    let cancel = Cancel::default();
    let other = cancel.clone();
    let canceller = std::thread::spawn(move || {
        while !up.exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        other.cancel();
    });
    let registry = registry(p.root());
    let summary = run(&p.graph(stages), &registry, &p.cache(), &RunOptions::default(), &(), &cancel).unwrap();
    canceller.join().unwrap();
    assert!(summary.interrupted && summary.failures.is_empty());
    assert_eq!(p.ran().len(), 1);
}

#[test]
fn a_task_that_takes_too_long_is_a_failure_and_not_an_interruption() {
    let p = Project::new();
    let stages = vec![
        stage("slow", "sleep").with(json!({"name": "slow", "ms": 600_000})).limits(timeout(50)).done(),
        stage("aside", "concat").with(named("aside")).done(),
    ];
    let (summary, heard) = hear(&p, stages, &RunOptions { keep_going: true, ..RunOptions::default() });
    assert!(!summary.ok && !summary.interrupted);
    assert_eq!((summary.stages[0].status, summary.stages[1].status), (StageStatus::Failed, StageStatus::Ran));
    let failure = &summary.failures[0];
    assert_eq!(failure.message, "stopped at its timeout of 0.05 s");
    assert!(failure.help.as_ref().unwrap().contains("`timeout:`"));
    assert_eq!(failure.tail, ["from 0", "error: stopped at its timeout of 0.05 s"]);
    assert_eq!(heard.about("\"status\":\"failed\"").len(), 1);
}

#[test]
fn every_attempt_has_its_own_time_and_goes_on_from_the_checkpoint() {
    let p = Project::new();
    let limits = Limits { retries: 100, ..timeout(100) };
    let stages = |limits| vec![stage("slow", "sleep").with(json!({"name": "slow", "ms": 250})).limits(limits).done()];
    let (summary, heard) = hear(&p, stages(limits), &RunOptions::default());
    assert!(summary.ok, "{summary:#?}");
    assert!(!heard.about("attempt 1 of 101 failed: stopped at its timeout of 0.1 s").is_empty());
    assert_eq!(heard.about("\"from 0\"").len(), 1, "later attempts begin further on");
    p.ran();
    assert!(p.run(stages(Limits::default())).is_empty(), "the timeout is not in the key");
}

#[test]
fn a_task_holds_as_many_processors_as_its_stage_says() {
    let p = Project::new();
    let files: Vec<_> = (0..6).map(|i| p.write(&format!("{i}.txt"), "x")).collect();
    let at_once = |limits: Limits, options: RunOptions| {
        let options = RunOptions { selection: Selection { force: true, ..Selection::default() }, ..options };
        let each = stage("each", "each").files("in", &files).with(named("each")).limits(limits);
        let (summary, heard) = hear(&p, vec![each.done()], &options);
        assert!(summary.ok, "{summary:#?}");
        most_at_once(&heard)
    };
    let jobs = |jobs| RunOptions { jobs, ..RunOptions::default() };
    assert!(at_once(cpus(2), jobs(4)) <= 2);
    assert_eq!(at_once(cpus(3), jobs(4)), 1);
    assert_eq!(at_once(cpus(99), jobs(4)), 1, "more than there are means all");
    assert_eq!(at_once(resources(Resources { cpus: Some(Cpus::All), ..Resources::default() }), jobs(4)), 1);
    let memory = |bytes| resources(Resources { memory: Some(bytes), ..Resources::default() });
    assert!(at_once(memory(5000), RunOptions { memory: Some(10_000), ..jobs(6) }) <= 2);
    assert_eq!(at_once(memory(5001), RunOptions { memory: Some(10_000), ..jobs(6) }), 1);
    assert!(at_once(gpus(1), RunOptions { gpus: Some(2), ..jobs(6) }) <= 2);
    assert_eq!(at_once(gpus(2), RunOptions { gpus: Some(3), ..jobs(6) }), 1);
}

#[test]
fn threads_follow_the_processors_that_a_task_holds() {
    let p = Project::new();
    let hold = |limits| vec![stage("hold", "hold").with(json!({"ms": 0})).limits(limits).done()];
    let options = RunOptions { jobs: 8, threads: 8, ..options(None, None, true) };
    for (limits, expected) in
        [(cpus(3), "[] 3 Auto None"), (cpus(99), "[] 8 Auto None"), (Limits::default(), "[] 8 Auto None")]
    {
        p.run_with(hold(limits), &options).unwrap();
        assert_eq!(p.view("hold/out.txt"), expected);
    }
}

/// Where a task computes, and with how much memory, is for the task to know and no part of its key.
#[test]
fn a_device_and_its_memory_make_nothing_run_again() {
    let p = Project::new();
    let stages = || vec![stage("hold", "hold").with(json!({"ms": 1})).done()];
    let small = RunOptions {
        device: DeviceChoice::Cuda(1),
        gpu_memory: Some(8_000_000_000),
        threads: 2,
        ..RunOptions::default()
    };
    p.run_with(stages(), &small).unwrap();
    assert_eq!(p.view("hold/out.txt"), "[] 2 Cuda(1) Some(8000000000)");
    let large = RunOptions { device: DeviceChoice::Cpu, gpu_memory: Some(1), ..small };
    let summary = p.run_with(stages(), &large).unwrap();
    assert_eq!(summary.stages[0].tasks.cached, 1);
}

#[test]
fn tasks_that_run_at_once_hold_different_gpus() {
    let p = Project::new();
    let file = |i: usize| p.root().join(format!("up{i}"));
    // Each waits for the other: they run at once.
    let meet = |i: usize| stage(&format!("m{i}"), "meet").with(json!({"touch": file(i), "await": file(1 - i)}));
    let hold =
        |i: usize| stage(&format!("h{i}"), "hold").with(json!({"ms": 30, "name": i.to_string()})).limits(gpus(1));
    let stages = || vec![meet(0).done(), meet(1).done(), hold(0).done(), hold(1).done()];
    let (summary, _) = hear(&p, stages(), &RunOptions { jobs: 4, threads: 4, gpus: Some(2), ..RunOptions::default() });
    assert!(summary.ok);
    let mut held = [0, 1].map(|i| p.view(&format!("h{i}/out.txt"))[..3].to_owned());
    held.sort();
    assert_eq!(held, ["[0]", "[1]"]);
    // GPUs that a task gave back are taken again.
    let one = RunOptions { gpus: Some(1), jobs: 4, ..options(None, None, true) };
    let (summary, _) = hear(&p, (0..4).map(|i| hold(i).done()).collect(), &one);
    assert!(summary.ok);
    assert!((0..4).all(|i| p.view(&format!("h{i}/out.txt")).starts_with("[0]")));
}

#[test]
fn more_than_there_is_stops_everything_before_it_starts() {
    let p = Project::new();
    let stages = |limits| vec![stage("first", "concat").done(), stage("large", "concat").limits(limits).done()];
    let memory = |bytes| resources(Resources { memory: Some(bytes), ..Resources::default() });
    let fails = |limits, options: &RunOptions| {
        let error = p.run_with(stages(limits), options).unwrap_err();
        assert!(p.ran().is_empty());
        (error.to_string(), error.help().unwrap())
    };
    let options = RunOptions { memory: Some(16_000_000_000), gpus: Some(1), ..RunOptions::default() };
    let (error, help) = fails(memory(64_000_000_000), &options);
    assert_eq!(error, "stage \"large\" asks for 64 GB of memory, and there are 16 GB");
    assert!(help.contains("`--memory`") && help.contains("`resources:`"), "{help}");
    let (error, help) = fails(gpus(2), &options);
    assert_eq!(error, "stage \"large\" asks for 2 GPUs, and there is 1");
    assert!(help.contains("`--gpus`"), "{help}");
    let (error, _) = fails(gpus(1), &RunOptions { gpus: Some(0), ..RunOptions::default() });
    assert_eq!(error, "stage \"large\" asks for 1 GPU, and there is none");
    let (error, _) = fails(memory(1 << 60), &RunOptions::default());
    assert!(error.contains("and there are "), "the machine's own memory: {error}");
    // What is in the cache holds nothing.
    p.run(stages(Limits::default()));
    assert!(p.run_with(stages(gpus(9)), &options).unwrap().ok);
}

#[test]
fn a_task_that_waits_for_a_gpu_does_not_leave_processors_idle() {
    let p = Project::new();
    let go = p.root().join("go");
    let stages = vec![
        stage("first", "meet").with(json!({"await": go})).limits(gpus(1)).done(),
        stage("second", "concat").with(named("second")).limits(gpus(1)).done(),
        stage("third", "meet").with(json!({"touch": go})).done(),
    ];
    // The first one goes on only when the third one has run, past the second, for which one processor is kept.
    let (summary, _) = hear(&p, stages, &RunOptions { jobs: 3, gpus: Some(1), ..RunOptions::default() });
    assert!(summary.ok, "{summary:#?}");
}

#[test]
fn a_large_task_is_not_put_off_by_small_ones() {
    let p = Project::new();
    let hold = |name: &str| stage(name, "hold").with(json!({"ms": 30, "name": name}));
    let mut stages = vec![hold("small0").done(), hold("large").limits(cpus(2)).done()];
    stages.extend((1..6).map(|i| hold(&format!("small{i}")).done()));
    let (summary, heard) = hear(&p, stages, &RunOptions { jobs: 2, ..RunOptions::default() });
    assert!(summary.ok);
    let started: Vec<String> = heard.about("\"event\":\"task_started\"");
    assert!(started[0].contains("small0") && started[1].contains("large"), "{started:#?}");
}
