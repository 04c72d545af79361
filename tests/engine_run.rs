//! Runs of small graphs: what runs, what comes from the cache, what a person sees.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::fs;

use engine_kit::*;
use s2pipe::engine::*;
use s2pipe::spec::Stage;
use serde_json::json;

#[test]
fn runs_once_and_then_only_what_changed() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    assert_eq!(p.run(chain(&p, "> ")), ["join/out", "read/out", "upper/out"]);
    assert_eq!(p.view("join/out.txt"), "> ONE\nONE\n");
    assert!(p.run(chain(&p, "> ")).is_empty(), "nothing changed");
    assert_eq!(p.run(chain(&p, "* ")), ["join/out", "upper/out"]);
    assert_eq!(p.view("join/out.txt"), "* ONE\nONE\n");
}

#[test]
fn early_cutoff_and_there_and_back_again() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    p.run(chain(&p, ""));
    p.write("a.txt", "# a note\none\n");
    assert_eq!(p.run(chain(&p, "")), ["read/out"], "the same bytes come out: nothing after it runs");
    p.write("a.txt", "two\n");
    assert_eq!(p.run(chain(&p, "")), ["join/out", "read/out", "upper/out"]);
    assert_eq!(p.view("join/out.txt"), "TWO\nTWO\n");
    p.write("a.txt", "one\n");
    assert!(p.run(chain(&p, "")).is_empty(), "A -> B -> A runs nothing");
    assert_eq!(p.view("join/out.txt"), "ONE\nONE\n");
}

#[test]
fn a_touched_file_is_not_a_changed_file() {
    let p = Project::new();
    let a = p.write("a.txt", "one\n");
    p.run(chain(&p, ""));
    settle();
    fs::remove_file(&a).unwrap();
    p.write("a.txt", "one\n");
    assert!(p.run(chain(&p, "")).is_empty());
}

#[test]
fn from_until_and_force() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    let summary = p.run_with(chain(&p, ""), &options(None, Some("upper"), false)).unwrap();
    assert_eq!(p.ran(), ["read/out", "upper/out"]);
    assert_eq!(summary.stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["read", "upper"]);
    p.run(chain(&p, ""));
    p.run_with(chain(&p, ""), &options(Some("upper"), None, false)).unwrap();
    assert_eq!(p.ran(), ["join/out", "upper/out"]);
    p.run_with(chain(&p, ""), &options(Some("upper"), Some("upper"), false)).unwrap();
    assert_eq!(p.ran(), ["upper/out"]);
    p.run_with(chain(&p, ""), &options(None, None, true)).unwrap();
    assert_eq!(p.ran(), ["join/out", "read/out", "upper/out"]);
    let error = p.run_with(chain(&p, ""), &options(Some("uper"), None, false)).unwrap_err();
    assert_eq!(error.to_string(), "there is no stage \"uper\"; did you mean \"upper\"?");
    let error = p.run_with(chain(&p, ""), &options(Some("join"), Some("read"), false)).unwrap_err();
    assert!(error.to_string().contains("outside"), "{error}");
}

#[test]
fn tasks_run_side_by_side_with_the_same_result() {
    let p = Project::new();
    let files: Vec<_> = (0..12).map(|i| p.write(&format!("s{i:02}.txt"), &format!("scene {i}\n"))).collect();
    let stages = || {
        vec![
            stage("each", "each").files("in", &files).with(named("each")).done(),
            stage("all", "concat").reads("in", "each").with(named("all")).done(),
        ]
    };
    let runs = [1, 4].map(|jobs| {
        let _ = fs::remove_dir_all(p.cache_dir());
        let summary = p.run_with(stages(), &RunOptions { jobs, ..RunOptions::default() }).unwrap();
        assert_eq!(summary.stages[0].tasks.ran, 12);
        assert_eq!(p.ran().len(), 13);
        p.view("all/out.txt")
    });
    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[0].lines().count(), 12);
    // One scene replaced: its task and the join, nothing else.
    p.write("s03.txt", "new\n");
    assert_eq!(p.run(stages()), ["all/out", "each/s03"]);
}

#[test]
fn failures_stop_what_depends_on_them_and_nothing_stale_stays() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    let broken = p.write("broken", "");
    let stages = || {
        let a = p.root().join("a.txt");
        vec![
            stage("bad", "fail").files("in", &[&a]).with(json!({"name": "bad", "broken": broken})).done(),
            stage("after", "concat").reads("in", "bad").with(named("after")).done(),
            stage("aside", "concat").files("in", &[&a]).with(named("aside")).done(),
            stage("later", "concat").reads("in", "aside").with(named("later")).done(),
        ]
    };
    let one_job = RunOptions { jobs: 1, ..RunOptions::default() };
    let summary = p.run_with(stages(), &one_job).unwrap();
    assert_eq!(p.ran(), ["bad/out"]);
    let status: Vec<_> = summary.stages.iter().map(|s| s.status).collect();
    use StageStatus::*;
    assert_eq!(status, [Failed, Skipped, Skipped, Skipped]);
    assert!(!summary.ok && !summary.interrupted);
    let failure = &summary.failures[0];
    assert_eq!((failure.stage.as_str(), failure.message.as_str()), ("bad", "it broke"));
    assert_eq!(failure.help.as_deref(), Some("mend it"));
    assert_eq!(failure.tail, ["first line", "last line", "error: it broke"]);
    assert!(failure.log.as_ref().unwrap().exists());
    assert!(!p.cache_dir().join("demo/bad").exists(), "no partial output is ever shown");

    let summary = p.run_with(stages(), &RunOptions { keep_going: true, ..one_job }).unwrap();
    assert_eq!(p.ran(), ["aside/out", "bad/out", "later/out"]);
    let status: Vec<_> = summary.stages.iter().map(|s| s.status).collect();
    assert_eq!(status, [Failed, Skipped, Ran, Ran]);

    fs::remove_file(&broken).unwrap();
    assert_eq!(p.run(stages()), ["after/out", "bad/out"], "the cause is mended: it runs again");
    assert_eq!(p.view("after/out.txt"), "ONE\n");
}

#[test]
fn panics_and_missing_outputs_are_failures_with_names() {
    let p = Project::new();
    let summary = p.run_with(vec![stage("wild", "panic").done()], &RunOptions::default()).unwrap();
    let failure = &summary.failures[0];
    assert!(failure.message.contains("\"wild\"") && failure.message.contains("index 9 out of bounds"), "{failure:?}");
    let summary = p.run_with(vec![stage("lazy", "nothing").done()], &RunOptions::default()).unwrap();
    let failure = &summary.failures[0];
    assert!(failure.message.contains("\"text\"") && failure.message.contains("out.txt"), "{failure:?}");
    assert!(failure.help.is_some());
}

#[test]
fn a_source_that_changes_under_a_task_fails_it() {
    let p = Project::new();
    let a = p.write("a.txt", "one\n");
    settle();
    let summary = p.run_with(vec![stage("t", "touchy").files("in", &[&a]).done()], &RunOptions::default()).unwrap();
    assert!(!summary.ok);
    assert!(summary.failures[0].message.contains("a.txt changed"), "{:?}", summary.failures);
}

#[test]
fn the_plan_names_the_cause() {
    let p = Project::new();
    let a = p.write("a.txt", "one\n");
    let all = |p: &Project| ["read", "upper", "join"].map(|s| reason_of(p, "", s));
    assert_eq!(all(&p), ["never run", "may run, depends on read", "may run, depends on read, upper"]);
    assert!(p.ran().is_empty(), "planning runs nothing");
    p.run(chain(&p, ""));
    assert_eq!(all(&p), ["cached", "cached", "cached"]);
    p.write("a.txt", "two\n");
    let changed = format!("input in/a changed ({})", a.display());
    assert_eq!(all(&p), [changed.as_str(), "may run, depends on read", "may run, depends on read, upper"]);
    p.write("a.txt", "one\n");
    let graph = p.graph(chain(&p, "> "));
    let planned = plan(&graph, &p.cache(), &Selection::default()).unwrap();
    assert_eq!(planned.counts(), PlanCounts { cached: 1, will_run: 1, may_run: 1 });
    let TaskState::WillRun { reasons } = &planned.tasks[1].state else { panic!("{planned:?}") };
    assert_eq!(reasons[0].to_string(), "prefix \"\" -> \"> \"");
    let graph = Graph::expand(&p.pipeline(chain(&p, "")), &registry_v2(p.root())).unwrap();
    let planned = plan(&graph, &p.cache(), &Selection::default()).unwrap();
    let TaskState::WillRun { reasons } = &planned.tasks[0].state else { panic!("{planned:?}") };
    assert_eq!(reasons[0].to_string(), "code version 1 -> 2");
    let forced = Selection { from: Some("upper".into()), ..Selection::default() };
    let planned = plan(&p.graph(chain(&p, "")), &p.cache(), &forced).unwrap();
    assert_eq!(planned.tasks[0].state, TaskState::Cached);
    assert_eq!(planned.tasks[1].state, TaskState::WillRun { reasons: vec![Reason::Forced] });
    assert_eq!(planned.tasks[2].state, TaskState::WillRun { reasons: vec![Reason::Forced] });
    assert!(!planned.is_current());
}

#[test]
fn results_cut_short_are_used_once_and_never_served() {
    let p = Project::new();
    let short = p.write("short", "");
    let stages = || {
        vec![
            stage("cut", "cut").with(json!({"name": "cut", "short": short})).done(),
            stage("use", "concat").reads("in", "cut").with(named("use")).done(),
        ]
    };
    let summary = p.run_with(stages(), &RunOptions::default()).unwrap();
    assert!(summary.ok);
    assert_eq!(summary.cut_short, ["cut"]);
    assert_eq!(p.view("use/out.txt"), "ATTEMPT 1");
    p.ran();
    let planned = plan(&p.graph(stages()), &p.cache(), &Selection::default()).unwrap();
    assert_eq!(planned.tasks[0].state, TaskState::WillRun { reasons: vec![Reason::CutShort] });
    fs::remove_file(&short).unwrap();
    assert_eq!(p.run(stages()), ["cut/out", "use/out"]);
    assert_eq!(p.view("use/out.txt"), "ATTEMPT 2", "it went on from its checkpoint");
    assert!(p.run(stages()).is_empty());
    // A forced run that is cut short does not take the full result's place.
    p.write("short", "");
    p.run_with(stages(), &options(Some("cut"), None, false)).unwrap();
    assert_eq!(p.view("use/out.txt"), "ATTEMPT 1");
    p.ran();
    assert!(p.run(stages()).is_empty());
    assert_eq!(p.view("use/out.txt"), "ATTEMPT 2");
}

#[test]
fn needs_is_order_without_data() {
    let p = Project::new();
    let files: Vec<_> = (0..4).map(|i| p.write(&format!("{i}.txt"), "x")).collect();
    let broken = p.root().join("broken");
    let stages = || {
        vec![
            stage("second", "each").files("in", &files).needs("first").with(named("second")).done(),
            stage("first", "fail").with(json!({"name": "first", "broken": broken})).done(),
        ]
    };
    fs::write(&broken, "").unwrap();
    let summary = p.run_with(stages(), &RunOptions { keep_going: true, ..RunOptions::default() }).unwrap();
    assert_eq!(p.ran(), ["first/out"]);
    assert_eq!(summary.stages[1].tasks.skipped, 4);
    fs::remove_file(&broken).unwrap();
    let summary = p.run_with(stages(), &RunOptions::default()).unwrap();
    assert!(summary.ok);
    assert_eq!(fs::read_to_string(p.root().join("ran.log")).unwrap().lines().next(), Some("first/out"));
}

#[test]
fn a_cancelled_run_says_so_and_the_next_goes_on() {
    let p = Project::new();
    let up = p.root().join("up");
    let stages =
        vec![stage("wait", "wait").with(json!({"up": up})).done(), stage("next", "concat").reads("in", "wait").done()];
    let cancel = Cancel::default();
    let other = cancel.clone();
    let seen = up.clone();
    let canceller = std::thread::spawn(move || {
        while !seen.exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        other.cancel();
    });
    let heard = Heard::default();
    let registry = registry(p.root());
    let summary = run(&p.graph(stages), &registry, &p.cache(), &RunOptions::default(), &heard, &cancel).unwrap();
    canceller.join().unwrap();
    assert!(summary.interrupted && !summary.ok && summary.failures.is_empty());
    assert_eq!(heard.about("\"status\":\"cancelled\"").len(), 1);
    assert_eq!(heard.about("\"status\":\"skipped\"").len(), 1);
}

#[test]
fn events_and_the_run_folder() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    let heard = Heard::default();
    let registry = registry(p.root());
    let stages = vec![stage("slow", "sleep").files("in", &[p.root().join("a.txt")]).with(json!({"ms": 5})).done()];
    let summary =
        run(&p.graph(stages), &registry, &p.cache(), &RunOptions::default(), &heard, &Cancel::default()).unwrap();
    for what in
        ["run_started", "task_queued", "never_run", "task_started", "\"done\":5", "task_finished", "run_finished"]
    {
        assert!(!heard.about(what).is_empty(), "{what}");
    }
    let folder = p.cache().runs_dir().join(&summary.run);
    let back: RunSummary = serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    assert_eq!(back, summary);
    let journal = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    for line in journal.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(journal.contains("from 0"), "messages are kept");
    assert!(journal.lines().filter(|l| l.contains("\"unit\"")).count() <= 2, "steps are throttled");
    let resolved: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("pipeline.json")).unwrap()).unwrap();
    assert_eq!(resolved["stages"]["slow"]["with"]["ms"], 5);
    assert!(!p.cache_dir().join(".s2pipe/checkpoints").read_dir().is_ok_and(|mut d| d.next().is_some()));
    assert!(!p.cache_dir().join(".s2pipe/locks").read_dir().is_ok_and(|mut d| d.next().is_some()));
    assert!(!p.cache_dir().join(".s2pipe/tmp").read_dir().is_ok_and(|mut d| d.next().is_some()));
}

#[test]
fn a_forced_task_with_other_bytes_is_called_out() {
    let p = Project::new();
    let stages = || vec![stage("dice", "random").done()];
    p.run(stages());
    let heard = Heard::default();
    let registry = registry(p.root());
    run(&p.graph(stages()), &registry, &p.cache(), &options(None, None, true), &heard, &Cancel::default()).unwrap();
    assert_eq!(heard.about("not deterministic").len(), 1);
}

#[test]
fn a_task_that_wants_all_cores_runs_alone() {
    let p = Project::new();
    let files: Vec<_> = (0..3).map(|i| p.write(&format!("{i}.txt"), "x")).collect();
    let mut stages: Vec<Stage> = files
        .iter()
        .enumerate()
        .map(|(i, f)| stage(&format!("one{i}"), "sleep").files("in", &[f]).with(json!({"ms": 15})).done())
        .collect();
    stages.push(stage("big", "sleep").with(json!({"ms": 15, "cores": "all"})).done());
    let heard = Heard::default();
    let registry = registry(p.root());
    let options = RunOptions { jobs: 4, ..RunOptions::default() };
    run(&p.graph(stages), &registry, &p.cache(), &options, &heard, &Cancel::default()).unwrap();
    let all = heard.0.lock().unwrap();
    let at = |what: &str| all.iter().position(|e| e.contains(what) && e.contains("\"big\"")).unwrap();
    let between = &all[at("task_started")..at("task_finished")];
    assert!(between.iter().all(|e| e.contains("\"big\"")), "{between:#?}");
}

#[test]
fn a_missing_source_stops_everything_before_it_starts() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    let mut stages = chain(&p, "");
    stages.push(stage("more", "concat").files("in", &[p.root().join("gone.tif")]).done());
    let error = p.run_with(stages, &RunOptions::default()).unwrap_err();
    assert!(error.to_string().contains("gone.tif") && error.to_string().contains("\"more\""), "{error}");
    assert!(p.ran().is_empty());
}

#[test]
fn the_budget_leaves_time_for_what_follows() {
    let p = Project::new();
    let clock = |name: &str| stage(name, "clock").with(json!({"cores": "all", "name": name}));
    let budget = |seconds: u64| RunOptions {
        budget: Some(std::time::Duration::from_secs(seconds)),
        threads: 6,
        jobs: 3,
        ..options(None, None, true)
    };
    let alone = || vec![clock("train").done()];
    p.run_with(alone(), &RunOptions { threads: 6, ..RunOptions::default() }).unwrap();
    assert_eq!(p.view("train/out.txt"), "None 6", "no budget, all threads");
    p.run_with(alone(), &budget(1000)).unwrap();
    assert_eq!(p.view("train/out.txt"), "Some(1000) 6");
    // Nothing is known about what follows: 5 % of the budget for each stage, and a fifth more.
    let followed = || vec![clock("train").done(), stage("after", "concat").reads("in", "train").done()];
    p.run_with(followed(), &budget(1000)).unwrap();
    assert_eq!(p.view("train/out.txt"), "Some(940) 6");
    // Now it is known that it takes no time.
    p.run_with(followed(), &budget(1000)).unwrap();
    assert_eq!(p.view("train/out.txt"), "Some(1000) 6");
    // Two trainings share.
    p.run_with(vec![clock("train").done(), clock("other").done()], &budget(1000)).unwrap();
    assert_eq!(p.view("train/out.txt"), "Some(500) 6");
    assert_eq!(p.view("other/out.txt"), "Some(1000) 6", "the first one took no time");
}

#[test]
fn threads_are_shared_among_tasks_side_by_side() {
    let p = Project::new();
    let clock = |i: usize| stage(&format!("c{i}"), "clock").with(named(&i.to_string())).done();
    let with = |threads, jobs| RunOptions { threads, jobs, ..options(None, None, true) };
    p.run_with((0..2).map(clock).collect(), &with(8, 2)).unwrap();
    assert_eq!(p.view("c0/out.txt"), "None 4");
    p.run_with((0..1).map(clock).collect(), &with(8, 2)).unwrap();
    assert_eq!(p.view("c0/out.txt"), "None 8", "alone it has them all");
    p.run_with((0..5).map(clock).collect(), &with(2, 4)).unwrap();
    assert_eq!(p.view("c0/out.txt"), "None 1", "never less than one");
}
