//! What a matrix means: axes, names, variants, parameters.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use s2pipe::spec::{Override, Pipeline, Sweep, parse};
use serde_json::{Value, json};

#[path = "spec/kinds.rs"]
mod kinds;
use kinds::KINDS;

const FILE: &str = "tests/spec/pipelines/landcover.yaml";

/// The pipeline with a matrix for `train` and more stages; then the command line.
fn with(matrix: &str, more: &str, changes: &[&str]) -> Pipeline {
    let text = std::fs::read_to_string(FILE).unwrap();
    let text = text
        .replace("inputs: { patches: patches }\n", &format!("inputs: {{ patches: patches }}\n    matrix: {matrix}\n"));
    let changes: Vec<Override> = changes.iter().map(|c| Override::parse(c).unwrap()).collect();
    parse(&format!("{text}{more}"), Path::new(FILE), &changes, KINDS).unwrap_or_else(|problems| panic!("{problems}"))
}

fn names(pipeline: &Pipeline, stage: &str) -> Vec<String> {
    let sweep = Sweep::new(pipeline);
    sweep.variants(stage).iter().map(|v| sweep.name(v)).collect()
}

/// What the stages have in the variant of `stage` with this name: seed, then `path` of `train`.
fn bound(pipeline: &Pipeline, stage: &str, name: &str) -> (u64, Value) {
    let sweep = Sweep::new(pipeline);
    let variant = sweep.variants(stage).into_iter().find(|v| sweep.name(v) == name).unwrap();
    let mut bound = pipeline.clone();
    sweep.bind(&variant, stage, pipeline, &mut bound);
    (bound.seed, Value::Object(bound.stage("train").unwrap().with.clone()))
}

#[test]
fn a_matrix_is_every_combination_in_the_order_of_the_file() {
    let pipeline = with("{ model.width: [16, 32], optimizer.lr: [1e-3, 2e-3] }", "", &[]);
    let four = ["width=16,lr=0.001", "width=16,lr=0.002", "width=32,lr=0.001", "width=32,lr=0.002"];
    for stage in ["train", "predict", "evaluate", "figures"] {
        assert_eq!(names(&pipeline, stage), four, "{stage}");
    }
    for stage in ["ingest", "patches", "reproject"] {
        assert_eq!(names(&pipeline, stage), [""], "{stage}");
    }
    let train = pipeline.stage("train").unwrap();
    assert_eq!(train.bound.len(), 4);
    assert_eq!(train.with, train.bound[0].with);
    let (seed, with) = bound(&pipeline, "evaluate", "width=32,lr=0.001");
    assert_eq!(
        (seed, &with["model"], &with["optimizer"]["lr"]),
        (42, &json!({"kind": "unet", "width": 32, "depth": 4}), &json!(0.001))
    );
    assert_eq!(with["optimizer"]["weight_decay"], 0.01, "the rest is as without the matrix");
    let matrix = &pipeline.to_json()["stages"][2]["matrix"];
    assert_eq!(*matrix, json!({"model.width": {"16": 16, "32": 32}, "optimizer.lr": {"0.001": 0.001, "0.002": 0.002}}));
}

#[test]
fn another_spelling_of_the_values_is_the_same_pipeline() {
    let one = with("{ model.width: [16, 32], optimizer.lr: [1e-3, 1] }", "", &[]);
    let other = with("{ 'model.width': [0x10, 32], optimizer.lr: [0.0010, 1.0] }", "", &[]);
    assert_eq!(one.to_json(), other.to_json());
    assert_eq!(names(&other, "train")[1], "width=16,lr=1");
}

#[test]
fn values_with_names_go_by_them() {
    let pipeline = with("{ model: { small: { width: 8 }, wide: { kind: pixel } }, augment: [true, False] }", "", &[]);
    let expected = [
        "model=small,augment=true",
        "model=small,augment=false",
        "model=wide,augment=true",
        "model=wide,augment=false",
    ];
    assert_eq!(names(&pipeline, "train"), expected);
    let (_, with) = bound(&pipeline, "train", "model=wide,augment=false");
    assert_eq!((&with["model"], &with["augment"]), (&json!({"kind": "pixel", "hidden": 64}), &json!(false)));
    let sweep = Sweep::new(&pipeline);
    let last = sweep.variants("predict").pop().unwrap();
    assert_eq!(sweep.values(&last), [("model".to_owned(), json!("wide")), ("augment".to_owned(), json!(false))]);
}

#[test]
fn a_word_may_stand_among_numbers() {
    let pipeline = with("{ batch: [4, auto] }", "", &[]);
    assert_eq!(names(&pipeline, "predict"), ["batch=4", "batch=auto"]);
    assert_eq!(bound(&pipeline, "predict", "batch=4").1["batch"], 4);
    assert_eq!(bound(&pipeline, "predict", "batch=auto").1["batch"], "auto");
    assert_eq!(names(&with("{ batch: { few: 2, any: auto } }", "", &[]), "train"), ["batch=few", "batch=any"]);
}

#[test]
fn axes_of_the_same_name_are_told_apart() {
    let other = "
  other:
    uses: train
    inputs: { patches: patches }
    matrix: { model.width: [4], model.depth: [2] }
  both: { uses: shell, inputs: { a: train.model, b: other.model }, with: { run: ls } }
";
    let pipeline = with("{ model.width: [16] }", other, &[]);
    assert_eq!(names(&pipeline, "both"), ["train.model.width=16,other.model.width=4,depth=2"]);
    let path = "  patches2: { uses: patches, inputs: { tiles: ingest.train }, matrix: { rare.weight: [1, 2] }, with: { rare: { class: urban } } }
  weight: { uses: shell, inputs: { a: patches2 }, matrix: { run: ['echo a/b', 'echo a b'] }, with: {} }\n";
    let pipeline = with("{ model.width: [16] }", path, &[]);
    let found = names(&pipeline, "weight");
    assert_eq!(found.len(), 4);
    assert!(found[0].starts_with("weight=1,run=echo_a_b~") && found[0] != found[1], "{found:?}");
    assert!(found.iter().all(|n| !n.contains(['/', ' '])));
}

#[test]
fn long_names_are_cut_and_stay_different() {
    let names_of = |n: usize| (0..n).map(|i| format!("{}{i}", "x".repeat(60))).collect::<Vec<_>>().join(", ");
    let stages: String = ["a", "b", "c", "d"]
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let from = if i == 0 { "train.model".to_owned() } else { format!("{}.o", ["a", "b", "c"][i - 1]) };
            format!(
                "  {s}: {{ uses: shell, inputs: {{ i: {from} }}, outputs: {{ o: o }}, matrix: {{ run: {{ {} }} }} }}\n",
                names_of(2).split(", ").map(|n| format!("{n}: 'echo {n}'")).collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    let pipeline = with("{}", &stages, &[]);
    let mut found = names(&pipeline, "d");
    assert_eq!(found.len(), 16);
    assert!(found.iter().all(|n| n.len() <= 120), "{found:?}");
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 16);
}

#[test]
fn the_seed_reaches_what_depends_on_it() {
    let more = "  again: { uses: shell, inputs: { m: predict }, matrix: { seed: [9] }, with: { run: ls } }\n";
    let pipeline = with("{ seed: [1, 18446744073709551615] }", more, &[]);
    assert!(pipeline.stage("train").unwrap().bound.is_empty(), "no parameter varies");
    assert_eq!(names(&pipeline, "predict"), ["train.seed=1", "train.seed=18446744073709551615"]);
    assert_eq!(bound(&pipeline, "predict", "train.seed=1").0, 1);
    assert_eq!(bound(&pipeline, "predict", "train.seed=18446744073709551615").0, u64::MAX);
    assert_eq!(bound(&pipeline, "again", "train.seed=1,again.seed=9").0, 9, "its own axis before others'");
    assert_eq!(bound(&pipeline, "patches", "").0, 42);
}

#[test]
fn stages_that_join_have_no_axes_of_what_they_read() {
    let more = "
  compare: { uses: compare, inputs: { metrics: evaluate } }
  list: { uses: shell, join: true, inputs: { maps: predict }, matrix: { run: [ls, pwd] } }
  each: { uses: shell, inputs: { maps: predict, ranking: compare.ranking }, with: { run: ls }, needs: [list] }
";
    let pipeline = with("{ model.width: [16, 32] }", more, &[]);
    assert!(pipeline.stage("compare").unwrap().joins && !pipeline.stage("each").unwrap().joins);
    assert_eq!(names(&pipeline, "compare"), [""]);
    assert_eq!(names(&pipeline, "list"), ["run=ls", "run=pwd"]);
    assert_eq!(names(&pipeline, "each"), ["width=16", "width=32"], "no axis by `needs`");
}

#[test]
fn a_parameter_that_is_set_no_longer_varies() {
    let of = |changes: &[&str]| names(&with("{ model.width: [16, 32], epochs: [1, 2] }", "", changes), "train");
    assert_eq!(of(&["train.model.width=64"]), ["epochs=1", "epochs=2"]);
    assert_eq!(of(&["train.model={ width: 64 }"]), ["epochs=1", "epochs=2"], "the whole of which it is a part");
    assert_eq!(of(&["train.with={ epochs: 3 }"]), [""]);
    assert_eq!(of(&["train.model.depth=3"]).len(), 4, "another parameter");
    assert_eq!(of(&["train.matrix.model.width=[8]"]), ["width=8,epochs=1", "width=8,epochs=2"]);
    assert_eq!(of(&["stages.train.matrix.model.width={ tiny: 2 }", "train.epochs=3"]), ["width=tiny"]);
    assert_eq!(of(&["train.matrix.optimizer.lr=[1, 2]", "train.epochs=3", "train.model.width=9"]), ["lr=1", "lr=2"]);
    assert_eq!(
        of(&["train.model.width=64", "train.matrix.model.width=[1, 2]", "train.epochs=3"]),
        ["width=1", "width=2"]
    );
    assert_eq!(of(&["train.matrix={ batch: [4] }"]), ["batch=4"]);
    assert_eq!(of(&["train.matrix="]), [""]);
    let one = with("{ model.width: [16, 32] }", "", &["train.model.width=64"]);
    assert_eq!(one.stage("train").unwrap().with["model"]["width"], 64);
}

#[test]
fn what_a_kind_requires_may_stand_in_the_matrix_alone() {
    let more = "  cmd: { uses: shell, matrix: { run: [ls, pwd] } }\n  nested:\n    uses: patches\n    inputs: { tiles: ingest.train }\n    matrix: { rare.class: [urban, 5] }\n";
    let pipeline =
        with("{ optimizer.lr: [1, 2] }", more, &["train.optimizer={ kind: sgd }", "train.matrix.optimizer.lr=[1, 2]"]);
    assert_eq!(names(&pipeline, "train"), ["lr=1", "lr=2"]);
    assert_eq!(names(&pipeline, "cmd"), ["run=ls", "run=pwd"]);
    assert_eq!(names(&pipeline, "nested"), ["class=urban", "class=5"]);
    let rare: Vec<&Value> = pipeline.stage("nested").unwrap().bound.iter().map(|b| &b.with["rare"]["class"]).collect();
    assert_eq!(rare, [&json!(1), &json!(5)]);
}
