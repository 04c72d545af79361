//! Stages that vary along axes: what is shared, what runs, where it is shown.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::fs;

use engine_kit::*;
use s2pipe::engine::*;
use s2pipe::spec::Stage;
use serde_json::{Value, json};

/// `base` is read by `train` with these prefixes, that by `use`; `all` joins the variants of `use`.
fn sweep(p: &Project, prefixes: &[&str]) -> Vec<Stage> {
    let a = p.root().join("a.txt");
    let prefixes: Vec<Value> = prefixes.iter().map(|p| json!(p)).collect();
    vec![
        stage("base", "concat").files("in", &[a]).with(named("base")).done(),
        stage("train", "concat").reads("in", "base").with(named("train")).axis("prefix", &prefixes).done(),
        stage("use", "concat").reads("in", "train").with(json!({"name": "use", "drop": "B"})).done(),
        stage("all", "concat").reads("in", "use").with(named("all")).joins().done(),
    ]
}

/// The same without a matrix: one value, under `with`.
fn plain(p: &Project, prefix: &str) -> Vec<Stage> {
    let mut stages = sweep(p, &[prefix]);
    for stage in &mut stages {
        stage.matrix.clear();
        stage.bound.clear();
    }
    stages
}

fn keys(p: &Project, stages: Vec<Stage>) -> Vec<(String, String)> {
    let plan = plan(&p.graph(stages), &p.cache(), &Selection::default()).unwrap();
    let tasks = plan.tasks.into_iter();
    tasks.map(|t| (format!("{}/{}", t.stage, t.task), t.key.map_or_else(String::new, |k| k.to_string()))).collect()
}

#[test]
fn what_is_before_the_matrix_is_shared_and_what_reads_it_varies() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    assert_eq!(p.run(sweep(&p, &["A", "C"])), ["all/out", "base/out", "train/out", "train/out", "use/out", "use/out"]);
    assert_eq!(p.view("train/prefix=A/out.txt"), "AONE\n");
    assert_eq!(p.view("train/prefix=C/out.txt"), "CONE\n");
    assert_eq!(p.view("use/prefix=C/out.txt"), "CONE\n");
    assert_eq!(p.view("all/out.txt"), "AONE\nCONE\n", "a stage that joins sees all variants, by name");
    assert!(p.run(sweep(&p, &["A", "C"])).is_empty());
    let graph = p.graph(sweep(&p, &["A", "C"]));
    assert_eq!(graph.stages[1].variants, ["prefix=A", "prefix=C"]);
    assert!(graph.stages[0].variants.is_empty() && graph.stages[3].variants.is_empty());
    let slots: Vec<&str> = graph.tasks.last().unwrap().inputs.iter().map(|i| i.slot.as_str()).collect();
    assert_eq!(slots, ["in/prefix=A", "in/prefix=C"]);
    assert_eq!(graph_text(&graph).lines().nth(2), Some("  train  concat    2 tasks  x2  reads base"));
}

#[test]
fn a_variant_is_the_same_task_as_in_a_pipeline_without_a_matrix() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    p.run(plain(&p, "A"));
    let ran = p.run(sweep(&p, &["A", "C"]));
    assert_eq!(ran, ["all/out", "train/out", "use/out"], "only C is new");
    let (plain, sweep) = (keys(&p, plain(&p, "C")), keys(&p, sweep(&p, &["A", "C"])));
    let key = |of: &[(String, String)], name: &str| of.iter().find(|(n, _)| n == name).unwrap().1.clone();
    for (one, other) in [("base/", "base/"), ("train/", "train/prefix=C"), ("use/", "use/prefix=C")] {
        assert_eq!(key(&plain, one), key(&sweep, other));
        assert!(!key(&plain, one).is_empty());
    }
    // And back: nothing runs but the join, whose inputs have other names.
    assert_eq!(p.run(self::plain(&p, "C")), ["all/out"]);
}

#[test]
fn one_more_value_runs_that_alone_and_one_less_leaves_the_view() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    p.run(sweep(&p, &["A", "C"]));
    assert_eq!(p.run(sweep(&p, &["A", "C", "D"])), ["all/out", "train/out", "use/out"]);
    assert!(p.run(sweep(&p, &["A"])).contains(&"all/out".to_owned()));
    let train = p.cache_dir().join("demo/train");
    let shown: Vec<_> = fs::read_dir(&train).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(shown, ["prefix=A"], "what the pipeline no longer makes is gone");
    p.run(plain(&p, "A"));
    assert_eq!(p.view("train/out.txt"), "AONE\n");
    assert!(!train.join("prefix=A").exists());
    assert!(p.run(sweep(&p, &["A", "C", "D"])).is_empty(), "nothing that was made is lost");
}

#[test]
fn early_cutoff_is_within_a_variant() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    // `use` drops lines that begin with B: another B gives `use` other bytes, and what it leaves is the same.
    assert_eq!(p.run(sweep(&p, &["A", "B1"])).len(), 6);
    let b = |text: &str| sweep(&p, &["A", text]);
    let ran = p.run(b("B2"));
    assert_eq!(ran, ["all/out", "train/out", "use/out"], "the join has inputs of other names");
    p.write("a.txt", "one\n#\n");
    let renamed = |mut stages: Vec<Stage>| {
        // The same labels for other values: only bytes decide.
        stages[1].matrix[0].values.iter_mut().enumerate().for_each(|(i, v)| v.label = i.to_string());
        stages
    };
    p.run(renamed(b("B3")));
    let ran = p.run(renamed(b("B4")));
    assert_eq!(ran, ["train/out", "use/out"], "`use` left the same bytes in every variant: the join does not run");
}

#[test]
fn axes_of_two_stages_meet_and_a_diamond_shares_them() {
    let p = Project::new();
    let a = p.write("a.txt", "x\n");
    let two = |name: &str, from: &str| {
        stage(name, "concat").reads("in", from).with(named(name)).axis("prefix", &[json!("1"), json!("2")])
    };
    let stages = || {
        vec![
            stage("a", "concat").files("in", &[&a]).with(named("a")).axis("prefix", &[json!("p"), json!("q")]).done(),
            two("left", "a").done(),
            stage("right", "concat").reads("in", "a").with(named("right")).done(),
            stage("tip", "concat").reads("in", "left").reads("more", "right").with(named("tip")).done(),
        ]
    };
    let graph = p.graph(stages());
    let counts: Vec<usize> = graph.stages.iter().map(|s| s.variants.len()).collect();
    assert_eq!(counts, [2, 4, 2, 4], "the axis of `a` once, though `tip` reads it on two ways");
    p.run(stages());
    // Both axes are called `prefix`, in both stages: the stage tells them apart.
    assert_eq!(p.view("tip/a.prefix=q,left.prefix=1/out.txt"), "1QX\nQX\n");
    assert_eq!(p.view("tip/a.prefix=p,left.prefix=2/out.txt"), "2PX\nPX\n");
}

#[test]
fn tasks_of_a_variant_keep_their_names_and_outputs() {
    let p = Project::new();
    let files: Vec<_> = ["a", "b"].map(|n| p.write(&format!("{n}.txt"), n)).into();
    let stages = || {
        vec![
            stage("each", "each")
                .files("in", &files)
                .with(named("each"))
                .axis("prefix", &[json!("x"), json!("y")])
                .done(),
            stage("all", "concat").reads("in", "each").with(named("all")).joins().done(),
        ]
    };
    let summary = p.run_with(stages(), &RunOptions::default()).unwrap();
    let view = p.cache_dir().join("demo/each");
    assert_eq!(summary.stages[0].outputs["text/prefix=x/a"], view.join("prefix=x/a.txt"));
    assert_eq!(summary.stages[0].tasks.ran, 4);
    assert_eq!(p.view("all/out.txt"), "xAxByAyB".to_uppercase());
    let cache = p.cache();
    let entry = cache.entries(Some("demo")).into_iter().find(|e| e.task == "prefix=y/b").unwrap();
    assert_eq!((entry.path, entry.variant.as_str()), (view.join("prefix=y/b.txt"), "prefix=y"));
    assert_eq!(cache.path("each/prefix=y").unwrap(), view.join("prefix=y"));
    assert_eq!(cache.path("each").unwrap(), view);
    assert_eq!(cache.path("demo/each/prefix=y/b.txt").unwrap(), view.join("prefix=y/b.txt"));
    assert_eq!(cache.show("each/prefix=y/b").unwrap().action.ran_as.task, "prefix=y/b");
    let error = cache.show("each/prefix=y").unwrap_err().to_string();
    assert!(error.contains("demo/each/prefix=y/a"), "{error}");
}

#[test]
fn variants_with_equal_records_run_once() {
    let p = Project::new();
    let a = p.write("a.txt", "x\n");
    // No task here reads the seed.
    let stages = || {
        let seeds = [json!(1), json!(2), json!(3), json!(4)];
        vec![stage("s", "sleep").files("in", &[&a]).with(json!({"name": "s", "ms": 30})).axis("seed", &seeds).done()]
    };
    let summary = p.run_with(stages(), &RunOptions { jobs: 4, ..RunOptions::default() }).unwrap();
    assert!(summary.ok, "{summary:#?}");
    assert_eq!(p.ran(), ["s/out"]);
    for seed in 1..=4 {
        assert_eq!(p.view(&format!("s/seed={seed}/out.txt")), "x\n");
    }
    assert!(p.run(stages()).is_empty());
    p.run_with(stages(), &options(Some("s"), None, false)).unwrap();
}

#[test]
fn from_and_until_go_by_the_stage() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    p.run_with(sweep(&p, &["A", "C"]), &options(None, Some("train"), false)).unwrap();
    assert_eq!(p.ran(), ["base/out", "train/out", "train/out"]);
    p.run_with(sweep(&p, &["A", "C"]), &options(Some("use"), None, false)).unwrap();
    assert_eq!(p.ran(), ["all/out", "use/out", "use/out"]);
    let error = p.run_with(sweep(&p, &["A"]), &options(Some("train/prefix=A"), None, false)).unwrap_err();
    assert!(error.to_string().contains("train"), "{error}");
}

#[test]
fn joining_two_stages_tells_their_variants_apart() {
    let p = Project::new();
    let a = p.write("a.txt", "x\n");
    let one = |name: &str| stage(name, "concat").files("in", &[&a]).with(json!({"name": name, "prefix": name})).done();
    let join = stage("both", "concat").reads("in", "u").reads("in", "v").with(named("both")).joins().done();
    let graph = p.graph(vec![one("u"), one("v"), join]);
    let slots: Vec<&str> = graph.tasks[2].inputs.iter().map(|i| i.slot.as_str()).collect();
    assert_eq!(slots, ["in/u", "in/v"]);
}

#[test]
fn an_index_from_before_there_were_variants_is_read() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    p.run(plain(&p, "A"));
    let index = p.cache_dir().join(".s2pipe/newest/demo.json");
    assert!(!fs::read_to_string(&index).unwrap().contains("variant"), "written as before where there are none");
    assert_eq!(p.cache().entries(Some("demo")).len(), 4);
    p.run(sweep(&p, &["A", "C"]));
    assert!(fs::read_to_string(&index).unwrap().contains("\"variant\":\"prefix=C\""));
}
