//! A sweep on a small project: what runs, what is shown, how it is ranked.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;

use project::{Project, Ran};
use serde_json::{Value, json};

/// After a plain run with width 4: two widths, all their maps ranked, and their list by a command.
fn swept() -> Project {
    let project = Project::finished();
    project.edit(
        "      model: { kind: unet, width: 4, depth: 2 }\n",
        "      model: { kind: unet, depth: 2 }\n    # width 4 is what the plain pipeline had\n",
    );
    project.edit(
        "    inputs: { patches: patches }\n",
        "    inputs: { patches: patches }\n    matrix: { model.width: [4, 5] }\n",
    );
    let more = "
  compare:
    uses: compare
    inputs: { metrics: evaluate }
  list:
    uses: shell
    join: true
    inputs: { maps: predict }
    outputs: { list: list.txt }
    with: { run: 'cd \"$maps\" && ls -d */* > \"$OLDPWD/list.txt\"' }
";
    let path = project.path("pipelines/landcover.yaml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + more).unwrap();
    project
}

fn read(project: &Project, artefact: &str) -> String {
    fs::read_to_string(project.path(&format!("cache/landcover/{artefact}"))).unwrap()
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "project/snapshots", prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

/// Nothing may have run.
#[track_caller]
fn nothing_ran(ran: Ran) {
    let ran = ran.ok();
    assert!(ran.tasks().is_empty(), "{:?} ran", ran.tasks());
}

#[test]
fn a_sweep_uses_what_the_plain_pipeline_made_and_ends_in_a_ranking() {
    let project = swept();
    let before = project.artefacts();
    snapshot("matrix-status", &project.s2pipe(&["status"]).exit(3).stdout);
    snapshot("matrix-graph", &project.s2pipe(&["graph"]).ok().stdout);
    let check = project.s2pipe(&["check"]).ok().stdout;
    assert!(check.ends_with("8 stages, 33 tasks in 2 variants, no mistakes found\n"), "{check}");

    let ran = project.run(&[]).ok();
    let trained: Vec<String> = ran.tasks().into_iter().filter(|t| t.starts_with("train")).collect();
    assert_eq!(trained, ["train/width=5"], "width 4 comes from the cache");
    assert!(ran.tasks().iter().all(|t| !t.contains("width=4")), "{:?}", ran.tasks());
    let after = project.artefacts();
    assert_eq!(after["train/width=4/model/model.safetensors"], before["train/model/model.safetensors"]);
    assert_ne!(after["train/width=5/model/model.safetensors"], before["train/model/model.safetensors"]);
    assert!(!after.contains_key("train/model/model.safetensors"));
    assert_eq!(after["predict/width=4/val_scene_0.tif"], before["predict/val_scene_0.tif"]);
    assert!(after.contains_key("figures/width=5/jaccard.jpg"));

    let ranking: Value = serde_json::from_str(&read(&project, "compare/ranking.json")).unwrap();
    let rows = ranking["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["rank"], &ranking["axes"]), (2, &json!(1), &json!(["width"])));
    assert!(rows[0]["score"].as_f64() >= rows[1]["score"].as_f64());
    for row in rows {
        let width = row["axes"]["width"].as_u64().unwrap();
        assert_eq!(row["variant"], format!("width={width}"));
        let metrics: Value =
            serde_json::from_str(&read(&project, &format!("evaluate/width={width}/metrics.json"))).unwrap();
        assert_eq!((&row["score"], &row["scores"]["accuracy"]), (&metrics["all"]["mean"], &metrics["all"]["accuracy"]));
    }
    let table = read(&project, "compare/ranking.csv");
    assert!(table.starts_with("rank,variant,width,jaccard,accuracy,f1,kappa,precision,recall,jaccard."), "{table}");
    assert_eq!(table.lines().count(), 3);
    // The terminal has the ranking, and no score table for every variant.
    let best = rows[0]["variant"].as_str().unwrap();
    assert!(ran.stdout.lines().any(|l| l.trim_start().starts_with(&format!("1  {best}"))), "{}", ran.stdout);
    assert!(!ran.stdout.contains("truth px"), "{}", ran.stdout);
    let listed = "width=4/val_scene_0.tif\nwidth=4/val_scene_1.tif\nwidth=5/val_scene_0.tif\nwidth=5/val_scene_1.tif\n";
    assert_eq!(read(&project, "list/list.txt"), listed);

    nothing_ran(project.run(&[]));
    assert_eq!(project.s2pipe(&["status"]).ok().stdout.lines().count(), 8);
    // From a stage on: all its variants.
    let again = project.run(&["--from", "evaluate", "--until", "compare"]).ok();
    assert_eq!(again.stages().iter().filter(|s| *s != "compare").collect::<Vec<_>>(), ["evaluate"]);
    assert_eq!(again.tasks().len(), 7);
}

#[test]
fn the_command_line_fixes_a_parameter_or_gives_other_values() {
    let project = swept();
    let tasks = |set: &str| -> Vec<String> {
        let json = project.run(&["-n", "--json", "--set", set]).ok().json();
        let tasks = json["tasks"].as_array().unwrap().iter();
        tasks.filter(|t| t["stage"] == "train").map(|t| t["task"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tasks("train.model.width=64"), [""], "what is set no longer varies");
    assert_eq!(tasks("train.matrix.model.width=[8, 16, 24]"), ["width=8", "width=16", "width=24"]);
    assert_eq!(
        tasks("train.matrix.seed=[1, 2]"),
        ["width=4,seed=1", "width=4,seed=2", "width=5,seed=1", "width=5,seed=2"]
    );
    assert_eq!(tasks("train.matrix={}"), [""]);
    nothing_ran(project.run(&["--set", "train.model.width=4", "--until", "evaluate"]));
}

#[test]
fn a_score_that_there_is_not_is_told_before_anything_runs() {
    let project = swept();
    project
        .edit("    inputs: { metrics: evaluate }\n", "    inputs: { metrics: evaluate }\n    with: { by: jacard }\n");
    let ran = project.run(&[]).exit(2).says(&["`jacard` is no score of `evaluate`", "did you mean `by: jaccard`?"]);
    assert!(ran.tasks().is_empty());
    project.edit("by: jacard", "by: jaccard.water, order: ascending");
    project.s2pipe(&["check"]).ok();
    // And so is what a stage after the matrix objects to in one of the variants.
    let depths = ["check", "--set", "train.matrix.model.depth=[2, 7]", "--set", "train.model.width=4"];
    project.s2pipe(&depths).exit(2).says(&["predict: the network halves windows 7 times", "(in the variant depth=7)"]);
}

#[test]
fn commands_vary_and_are_ranked_by_a_number_of_their_own() {
    let project = Project::fresh();
    let pipeline = "name: landcover
stages:
  make:
    uses: shell
    outputs: { result: result.json }
    matrix:
      run:
        one: 'echo ''{ \"loss\": { \"val\": 0.25 } }'' > result.json'
        two: 'echo ''{ \"loss\": { \"val\": 0.125 } }'' > result.json'
        none: 'echo ''{}'' > result.json'
  compare: { uses: compare, inputs: { metrics: make }, with: { by: loss.val, order: ascending } }
  again: { uses: shell, join: true, inputs: { all: make }, outputs: { n: n.txt }, with: { run: 'ls -R \"$all\" | grep -c json > n.txt' } }
";
    project.write_pipeline(pipeline);
    let ran = project.run(&[]).ok();
    snapshot("matrix-commands", &read(&project, "compare/ranking.csv"));
    assert!(ran.stdout.contains("3  run=none         -"), "{}", ran.stdout);
    assert_eq!(read(&project, "again/n.txt").trim(), "3");
    assert_eq!(read(&project, "make/run=two/result.json"), "{ \"loss\": { \"val\": 0.125 } }\n");
    project.write_pipeline(&pipeline.replace("by: loss.val", "by: lss.val"));
    project.run(&[]).exit(1).says(&["no variant has the score \"lss.val\"", "did you mean `by: loss.val`?"]);
}
