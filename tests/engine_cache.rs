//! The cache as a person and another process see it: queries, single tasks from their record, drawings, bad caches.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine_kit::*;
use s2pipe::engine::*;
use s2pipe::spec::Stage;
use serde_json::json;

fn scenes(p: &Project) -> Vec<Stage> {
    let files: Vec<_> = ["s0", "s1"].map(|n| p.write(&format!("{n}.txt"), &format!("{n}\n"))).into();
    vec![
        stage("ingest", "each").files("in", &files).with(named("ingest")).done(),
        stage("train", "concat").reads("in", "ingest").with(json!({"name": "train", "prefix": "w"})).done(),
        stage("map", "tree").reads("in", "train").with(json!({"files": ["x"]})).done(),
    ]
}

#[test]
fn names_that_people_type_find_things() {
    let p = Project::new();
    p.run(scenes(&p));
    let cache = p.cache();
    let view = p.cache_dir().join("demo");
    let names = cache.entries(None).iter().map(|e| format!("{}/{}/{}", e.stage, e.task, e.output)).collect::<Vec<_>>();
    assert_eq!(names, ["ingest/s0/text", "ingest/s1/text", "map//text", "train//text"]);
    for name in
        ["demo/train/text", "train", "train/text", "demo/train", "train/out.txt", "demo/train/out.txt", "out.txt"]
    {
        assert_eq!(cache.path(name).unwrap(), view.join("train/out.txt"), "{name}");
        assert_eq!(cache.show(name).unwrap().action.ran_as.stage, "train", "{name}");
    }
    assert_eq!(cache.path("ingest/s0").unwrap(), view.join("ingest/s0.txt"));
    assert_eq!(cache.path("ingest/s0.txt").unwrap(), view.join("ingest/s0.txt"));
    assert_eq!(cache.path("ingest").unwrap(), view.join("ingest"), "a stage of several outputs is its folder");
    assert_eq!(cache.path(view.join("train/out.txt").to_str().unwrap()).unwrap(), view.join("train/out.txt"));
    assert_eq!(cache.show(view.join("map/tree/all.txt").to_str().unwrap()).unwrap().action.ran_as.stage, "map");
    assert!(matches!(cache.show("ingest"), Err(QueryError::Ambiguous { candidates, .. }) if candidates.len() == 2));
    let error = cache.path("trian").unwrap_err();
    assert_eq!(error.to_string(), "nothing in the cache is called \"trian\"; did you mean \"train\"?");
    let train = cache.entries(Some("demo")).into_iter().find(|e| e.stage == "train").unwrap();
    assert_eq!((train.bytes, train.path.as_path()), (7, view.join("train/out.txt").as_path()));
    assert_eq!(cache.show(&train.key.to_string()[..8]).unwrap().action.key, train.key);
    assert_eq!(cache.show(&train.content.digest().hex()[..10]).unwrap().action.key, train.key);
    assert!(cache.entries(Some("other")).is_empty());
}

#[test]
fn lineage_reaches_back_to_the_source_files() {
    let p = Project::new();
    p.run(scenes(&p));
    let shown = p.cache().show("map").unwrap();
    assert_eq!(shown.action.record.kind, "tree");
    let train = &shown.made_from[0];
    assert!(matches!(&train.from, Some(MadeFrom::Task { stage, .. }) if stage == "train"));
    let sources: Vec<_> = train.inputs.iter().flat_map(|scene| &scene.inputs).collect();
    assert_eq!(sources.len(), 2);
    let s0 = p.root().join("s0.txt");
    assert!(matches!(&sources[0].from, Some(MadeFrom::File { path }) if *path == s0));
    assert_eq!(sources[0].content, ContentId::File(Digest::of(b"s0\n")));
    assert_eq!(shown.stored, [stored(&p.cache(), shown.action.outputs[0].content)]);
}

#[test]
fn one_task_from_its_record_alone() {
    let p = Project::new();
    let a = p.write("a.txt", "one\n");
    p.run(vec![stage("up", "concat").files("in", &[&a]).with(named("up")).done()]);
    let cache = p.cache();
    let shown = cache.show("up").unwrap();

    // As another process would get it: JSON.
    let text = serde_json::to_string(&TaskJob::new(
        shown.action.ran_as.clone(),
        shown.action.record.clone(),
        shown.action.made_from.clone(),
    ))
    .unwrap();
    let job: TaskJob = serde_json::from_str(&text).unwrap();
    assert_eq!(job.record.key().unwrap(), shown.action.key);

    // In a cache that has never seen it.
    let far = Cache::open(&p.root().join("far")).unwrap();
    let (registry, cancel, logs) = (registry(p.root()), Cancel::default(), p.root().join("logs"));
    let env = TaskEnv { cache: &far, registry: &registry, cancel: &cancel, watch: &Quiet, logs: &logs };
    let first = run_task(&job, &env).unwrap();
    assert!(first.ran);
    assert_eq!(first.outputs, shown.action.outputs, "the same bytes");
    let again = run_task(&job, &env).unwrap();
    assert!(!again.ran);
    assert_eq!(again.outputs, first.outputs);
    assert_eq!(p.ran(), ["up/out"]);

    // The source is another one by now.
    fs::write(&a, "two\n").unwrap();
    let fresh = Cache::open(&p.root().join("fresh")).unwrap();
    let error = run_task(&job, &TaskEnv { cache: &fresh, ..env }).unwrap_err();
    assert!(matches!(error.error, TaskError::SourceChanged { .. }), "{error}");

    // An input from the store that this cache does not have.
    let mut lost = job.clone();
    lost.made_from = BTreeMap::new();
    let env = TaskEnv { cache: &fresh, registry: &registry, cancel: &cancel, watch: &Quiet, logs: &logs };
    let error = run_task(&lost, &env).unwrap_err();
    assert!(matches!(error.error, TaskError::InputGone { .. }), "{error}");

    // Another version of the code, another version of the record.
    let newer = registry_v2(p.root());
    let error = run_task(&job, &TaskEnv { registry: &newer, ..env }).unwrap_err();
    assert!(error.to_string().contains("has version 2, expected 1"), "{error}");
    let mut foreign = job;
    foreign.record.record = "s2pipe.task/9".into();
    assert!(matches!(run_task(&foreign, &env).unwrap_err().error, TaskError::Foreign(_)));
}

struct Quiet;

impl ProgressSink for Quiet {
    fn progress(&self, _news: Progress) {}
}

impl TaskWatch for Quiet {}

#[test]
fn two_pipelines_share_equal_tasks() {
    let p = Project::new();
    let a = p.write("a.txt", "one\n");
    let stages = |name: &str| vec![stage(name, "concat").files("in", &[&a]).with(named("x")).done()];
    p.run(stages("first"));
    let mut other = p.pipeline(stages("second"));
    other.name = "other".into();
    let registry = registry(p.root());
    let graph = Graph::expand(&other, &registry).unwrap();
    let summary = run(&graph, &registry, &p.cache(), &RunOptions::default(), &(), &Cancel::default()).unwrap();
    assert_eq!(summary.stages[0].status, StageStatus::Cached);
    assert_eq!(fs::read_to_string(p.cache_dir().join("other/second/out.txt")).unwrap(), "ONE\n");
}

#[test]
fn a_hard_link_to_a_source_is_copied_not_taken() {
    let p = Project::new();
    let a = p.write("a.txt", "one\n");
    p.run(vec![stage("up", "link").files("in", &[&a]).done()]);
    assert_eq!(p.view("up/out.txt"), "one\n");
    assert!(!fs::metadata(&a).unwrap().permissions().readonly(), "the person's file stays writable");
    fs::write(&a, "two\n").unwrap();
    assert_eq!(p.view("up/out.txt"), "one\n", "and the store has bytes of its own");
}

#[test]
fn graphs_are_drawn() {
    let p = Project::new();
    let mut stages = scenes(&p);
    stages.push(stage("last", "concat").reads("in", "train").needs("map").with(named("last")).done());
    let graph = p.graph(stages);
    assert_eq!(
        graph_text(&graph),
        "demo\n  ingest  each      2 tasks\n  train   concat     1 task  reads ingest\n  map     tree       1 task  reads \
         train\n  last    concat     1 task  reads train, after map\n"
    );
    let dot = graph_dot(&graph);
    assert!(dot.contains("\"ingest\" -> \"train\";") && dot.contains("\"map\" -> \"last\" [style=dashed];"), "{dot}");
    let mermaid = graph_mermaid(&graph);
    assert!(mermaid.contains("s0[\"ingest (each, 2)\"]") && mermaid.contains("s2 -.-> s3"), "{mermaid}");
}

#[test]
fn expansion_errors_name_the_stage() {
    let p = Project::new();
    let registry = registry(p.root());
    let error = |stages: Vec<Stage>| Graph::expand(&p.pipeline(stages), &registry).unwrap_err().to_string();
    assert_eq!(error(vec![stage("a", "concat").with(json!({"refuse": true})).done()]), "stage \"a\": it does not fit");
    assert!(error(vec![stage("a", "conkat").done()]).contains("\"conkat\""));
    assert!(error(vec![stage("a", "concat").reads("in", "b").done()]).contains("\"b\""));
    assert!(
        error(vec![stage("a", "concat").done(), stage("b", "concat").reads("in", "a.model").done()])
            .contains("\"a.model\"")
    );
    let cycle = error(vec![
        stage("top", "concat").done(),
        stage("a", "concat").reads("in", "c").reads("x", "top").done(),
        stage("b", "concat").reads("in", "a").done(),
        stage("c", "concat").reads("in", "b").done(),
    ]);
    assert_eq!(cycle, "these stages wait for one another: a -> b -> c -> a");
    let twice = [p.write("x/s.tif", "1"), p.write("y/s.tif", "2")];
    assert!(error(vec![stage("a", "each").files("in", &twice).done()]).contains("two outputs called \"s.txt\""));
    assert!(error(vec![stage("a", "concat").files("in", &twice).done()]).contains("two inputs called \"in/s.tif\""));
    let alike = [p.write("x/s.tif", "1"), p.write("x/s.csv", "2")];
    assert!(error(vec![stage("a", "concat").files("in", &alike).done()]).contains("two inputs called \"in/s\""));
    let mut pipeline = p.pipeline(vec![]);
    pipeline.name = ".s2pipe".into();
    assert!(matches!(Graph::expand(&pipeline, &registry), Err(GraphError::BadPipelineName(_))));
}

#[test]
fn stages_run_in_dependency_order_whatever_the_file_says() {
    let p = Project::new();
    let a = p.write("a.txt", "x");
    let graph = p.graph(vec![
        stage("z", "concat").reads("in", "y").done(),
        stage("free", "concat").files("in", &[&a]).done(),
        stage("y", "concat").reads("in", "x").done(),
        stage("x", "concat").files("in", &[&a]).done(),
    ]);
    assert_eq!(graph.stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["free", "x", "y", "z"]);
}

#[test]
fn sources_keep_their_extension_and_upstream_files_theirs() {
    let p = Project::new();
    let a = p.write("a.tif", "x");
    let graph =
        p.graph(vec![stage("x", "concat").files("in", &[&a]).done(), stage("y", "concat").reads("in", "x").done()]);
    assert_eq!(graph.tasks[0].inputs[0].ext, "tif");
    assert_eq!(graph.tasks[1].inputs[0].ext, "txt");
}

/// Needs an ordinary user: root may write anywhere.
#[test]
fn an_unwritable_cache_says_what_to_do() {
    let p = Project::new();
    let dir = p.root().join("locked");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    if fs::write(dir.join("probe"), "").is_ok() {
        println!("skipped: this user may write into read-only folders");
        return;
    }
    let error = Cache::open(&dir.join("cache")).unwrap_err();
    assert!(matches!(error, CacheError::Denied { .. }), "{error}");
    assert!(error.help().unwrap().contains("--cache"));
}

/// A file system of 300 kB, where this user may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: &Path) -> Option<Self> {
        fs::create_dir(dir).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=300k", "tmpfs"]).arg(dir).stderr(Stdio::null());
        mount.status().is_ok_and(|s| s.success()).then(|| Self(dir.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_called_by_its_name_and_loses_nothing() {
    let p = Project::new();
    let dir = p.root().join("small");
    let Some(_disk) = SmallDisk::mount(&dir) else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    let registry = registry(p.root());
    let small = p.write("small.txt", "one\n");
    let stages = |big: &Path| {
        vec![
            stage("fits", "concat").files("in", &[&small]).with(named("fits")).done(),
            stage("big", "copy").files("in", &[big]).reads("after", "fits").done(),
        ]
    };
    let cache = Cache::open(&dir.join("cache")).unwrap();
    let run_on = |big: &Path| {
        run(&p.graph(stages(big)), &registry, &cache, &RunOptions::default(), &(), &Cancel::default()).unwrap()
    };
    let big = p.write("big.txt", &"x".repeat(400_000));
    let summary = run_on(&big);
    assert_eq!(summary.stages.iter().map(|s| s.status).collect::<Vec<_>>(), [StageStatus::Ran, StageStatus::Failed]);
    let failure = &summary.failures[0];
    assert!(failure.help.as_ref().unwrap().contains("free some space"), "{failure:#?}");
    p.ran();
    // With room again it goes on where it was.
    let big = p.write("less.txt", "x");
    assert!(run_on(&big).ok);
    assert_eq!(p.ran(), ["copy/out"]);
}
