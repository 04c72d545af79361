//! What good pipelines mean: defaults, spellings, overrides, references, paths.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use s2pipe::spec::{
    Cpus, Diagnostics, FindError, Limits, Override, Pipeline, Resources, Source, find_pipeline, load, parse,
};
use serde_json::{Value, json};

#[path = "spec/kinds.rs"]
mod kinds;
use kinds::KINDS;

const FILE: &str = "tests/spec/pipelines/landcover.yaml";

fn landcover() -> String {
    std::fs::read_to_string(FILE).unwrap()
}

fn read(text: &str) -> Result<Pipeline, Diagnostics> {
    parse(text, Path::new(FILE), &[], KINDS)
}

fn good(text: &str) -> Pipeline {
    read(text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn set(text: &str, changes: &[&str]) -> Result<Pipeline, Diagnostics> {
    let overrides: Result<Vec<Override>, Diagnostics> = changes.iter().map(|c| Override::parse(c)).collect();
    parse(text, Path::new(FILE), &overrides?, KINDS)
}

fn output(stage: &str, output: &str) -> Source {
    Source::Output { stage: stage.into(), output: output.into() }
}

#[test]
fn the_design_s_example_means_what_it_says() {
    let pipeline = load(Path::new(FILE), &[], KINDS).unwrap();
    assert_eq!((pipeline.name.as_str(), pipeline.seed), ("landcover", 42));
    assert_eq!(pipeline.budget, Some(Duration::from_secs(4 * 3600)));
    assert!(pipeline.root.is_absolute() && pipeline.root.ends_with("tests/spec"));
    assert_eq!(pipeline.classes.codes(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(pipeline.classes.by_code(4).unwrap().color.to_string(), "#008000");
    let names: Vec<&str> = pipeline.stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["ingest", "patches", "train", "predict", "evaluate", "figures", "reproject"]);

    let train = pipeline.stage("train").unwrap();
    assert_eq!(
        Value::Object(train.with.clone()).to_string(),
        r#"{"model":{"kind":"unet","width":24,"depth":4},"epochs":40,"batch":16,"optimizer":{"kind":"adamw","lr":0.002,"weight_decay":0.01},"augment":true}"#
    );
    let predict = pipeline.stage("predict").unwrap();
    assert_eq!(predict.input("model").unwrap().sources, [output("train", "model")]);
    assert_eq!(predict.input("tiles").unwrap().sources, [output("ingest", "val")]);
    let ingest = pipeline.stage("ingest").unwrap();
    assert_eq!(ingest.files(&["train", "scenes"]).len(), 4);
    assert!(ingest.files(&["val", "truth"])[1].ends_with("val_truth/val_truth_1.tif"));
    assert!(ingest.files(&["test", "truth"]).is_empty());

    let shell = pipeline.stage("reproject").unwrap();
    assert_eq!(shell.outputs, [("out".to_owned(), PathBuf::from("a_10m.tif"))]);
    assert_eq!(shell.with["run"], "gdalwarp -tr 10 10 \"$src\" a_10m.tif");
    let Source::Files { pattern, files } = &shell.input("src").unwrap().sources[0] else { panic!("a file") };
    assert_eq!((pattern.as_str(), files), ("raw/a.tif", &vec![pipeline.root.join("raw/a.tif")]));
}

#[test]
fn comments_key_order_and_spelling_change_nothing() {
    let plain = good(&landcover()).to_json();
    let other = r#"
        # another way to write the same
        "name": 'landcover'
        budget: 3h60m
        stages:
            "ingest": { uses: ingest, inputs: , with: { bands: ["blue", green, red, nir, swir, ndvi], val: {
                truth: dset-s2-grunnkart/val_truth/*.tif, scenes: "dset-s2-grunnkart/val_scene/*.tif" },
              train: { truth: dset-s2-grunnkart/tra_truth/*.tif, scenes: dset-s2-grunnkart/tra_scene/*.tif }, keep_zeros: False } }
            patches:
                inputs: { tiles: [ingest] }
                uses: patches
                with: { holdout: 1.5e-1, stride: 0x40 }
            train:
                uses: train
                inputs: { patches: patches.patches }
                with:
                    optimizer: { lr: 0.0020 }
                    model: {}
            predict: { uses: predict, needs: [], inputs: { tiles: ingest.val, model: train.model } }
            evaluate: { uses: evaluate, inputs: { tiles: [ingest.val], maps: predict.maps }, with: {} }
            figures:
                uses: figures
                inputs: { tiles: ingest.val, maps: predict, metrics: evaluate }
                with:
            reproject:
                uses: shell
                inputs: { src: raw/a.tif }
                outputs: { out: ./a_10m.tif }
                with: { run: "gdalwarp -tr 10 10 \"$src\" a_10m.tif" }
        classes:
            6: { color: '#00f', name: water }
            '1': { color: '#FF0000', name: urban }
            2: { name: cropland, color: "yellow" }
            3: { name: grass, color: LIME }
            4: { name: forest, color: green }
            5: { name: wetland, color: purple }
        seed: 42
    "#;
    assert_eq!(good(other).to_json(), plain);
    assert_eq!(good(other).to_json().to_string(), plain.to_string());
    assert_eq!(good(&format!("\u{feff}{}", landcover().replace('\n', "\r\n"))).to_json(), plain);
}

#[test]
fn defaults_are_the_same_whether_written_or_not() {
    let base = "stages:\n  a: { uses: train, inputs: { patches: p }, with: WITH }\n  p: { uses: patches, inputs: { tiles: i } }\n  i: { uses: ingest, with: { val: { scenes: raw/a.tif, truth: raw/a.tif } } }\n";
    let with = |text: &str| good(&base.replace("WITH", text)).stage("a").unwrap().with.clone();
    let nothing = with("{}");
    assert_eq!(with(""), nothing);
    assert_eq!(with("{ model: { kind: unet } }"), nothing);
    assert_eq!(with("{ augment: true, epochs: 40, optimizer: { lr: 1e-3, kind: adamw } }"), nothing);
    let keys: Vec<&String> = nothing.keys().collect();
    assert_eq!(keys, ["model", "epochs", "batch", "optimizer", "augment"]);
    assert_eq!(with("{ model: { kind: pixel } }")["model"], json!({ "kind": "pixel", "hidden": 64 }));
    assert_eq!(with("{ limit: 1h30m }")["limit"], 5400);
    assert_eq!(
        (&with("{ batch: auto }")["batch"], &with("{ batch: 'auto' }")["batch"]),
        (&json!("auto"), &json!("auto"))
    );
    assert_eq!(with("{ batch: 0x10 }")["batch"], 16);
    // A whole number where a number is expected is that number.
    assert_eq!(with("{ optimizer: { lr: 1 } }")["optimizer"]["lr"].to_string(), "1.0");
    assert_eq!(with("{ optimizer: { lr: 1, weight_decay: -0.0 } }")["optimizer"]["weight_decay"].to_string(), "0.0");
}

#[test]
fn classes_are_named_or_numbered() {
    let rare = |class: &str| {
        let text = landcover().replace("holdout: 0.15", &format!("holdout: 0.15, rare: {{ class: {class} }}"));
        good(&text).stage("patches").unwrap().with["rare"].clone()
    };
    assert_eq!(rare("wetland"), json!({ "class": 5, "weight": 2.0 }));
    assert_eq!(rare("5"), rare("wetland"));
}

#[test]
fn overrides_change_the_tree_before_it_is_checked() {
    let text = landcover();
    let changed = set(
        &text,
        &[
            "train.model.width=32",
            "stages.train.with.epochs=3",
            "train.with.augment=false",
            "train.optimizer={ kind: sgd, lr: 0.1 }",
            "seed=7",
            "budget=90s",
            "name=other",
            "classes.4.color='#123456'",
            "ingest.bands=[blue, red]",
            "predict.inputs.tiles=[ingest.train, ingest.val]",
            "figures.title=Ås, æøå",
            "evaluate.needs=patches",
            "seed=8",
        ],
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    let train = changed.stage("train").unwrap();
    assert_eq!(train.with["model"], json!({ "kind": "unet", "width": 32, "depth": 4 }));
    assert_eq!((&train.with["epochs"], &train.with["augment"]), (&json!(3), &json!(false)));
    assert_eq!(train.with["optimizer"], json!({ "kind": "sgd", "lr": 0.1, "momentum": 0.9 }));
    assert_eq!((changed.seed, changed.budget, changed.name.as_str()), (8, Some(Duration::from_secs(90)), "other"));
    assert_eq!(changed.classes.by_code(4).unwrap().color.to_string(), "#123456");
    assert_eq!(changed.stage("ingest").unwrap().with["bands"], json!(["blue", "red"]));
    let tiles = &changed.stage("predict").unwrap().input("tiles").unwrap().sources;
    assert_eq!(tiles.as_slice(), [output("ingest", "train"), output("ingest", "val")]);
    assert_eq!(changed.stage("figures").unwrap().with["title"], "Ås, æøå");
    assert_eq!(changed.stage("evaluate").unwrap().needs, ["patches"]);
}

#[test]
fn an_override_makes_the_maps_above_it() {
    let text = landcover().replace("model: { kind: unet, width: 24, depth: 4 }", "");
    let changed = set(&text, &["train.model.width=8"]).unwrap();
    assert_eq!(changed.stage("train").unwrap().with["model"], json!({ "kind": "unet", "width": 8, "depth": 4 }));
}

#[test]
fn a_wrong_override_points_at_the_command_line_and_the_rest_is_still_checked() {
    let text = landcover().replace("epochs: 40", "epochs: 0");
    let problems = set(&text, &["patches.size=64", "train.model.width=abc"]).unwrap_err().to_json();
    let places: Vec<(&str, u64)> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["source"].as_str().unwrap(), p["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [("file", 15), ("command line", 25)]);
    assert_eq!(problems[1]["text"], "--set train.model.width=abc");
}

#[test]
fn a_bare_stage_is_its_first_output_that_fits() {
    let text = landcover().replace(
        "maps: predict, tiles: ingest.val }\n  reproject",
        "maps: predict, tiles: ingest, history: train }\n  reproject",
    );
    let figures = good(&text).stage("figures").unwrap().clone();
    // The first one listed...
    assert_eq!(figures.input("tiles").unwrap().sources, [output("ingest", "train")]);
    // ...unless the port takes only another one...
    assert_eq!(figures.input("history").unwrap().sources, [output("train", "history")]);
    // ...and never one that is not made.
    let text = text.replace(
        "      train: { scenes: dset-s2-grunnkart/tra_scene/*.tif, truth: dset-s2-grunnkart/tra_truth/*.tif }\n",
        "",
    );
    let text = text.replace("ingest.train", "ingest.val");
    assert_eq!(good(&text).stage("figures").unwrap().input("tiles").unwrap().sources, [output("ingest", "val")]);
}

#[test]
fn what_a_command_leaves_goes_where_files_go() {
    let text = landcover()
        .replace("model: train, tiles: ingest.val", "model: train, tiles: [reproject, raw/*.tiff, ./raw/a.tif]");
    let sources = good(&text).stage("predict").unwrap().input("tiles").unwrap().sources.clone();
    assert_eq!(sources[0], output("reproject", "out"));
    let Source::Files { files, .. } = &sources[1] else { panic!("files") };
    assert_eq!(files.len(), 2);
    let Source::Files { files, .. } = &sources[2] else { panic!("files") };
    assert!(files[0].ends_with("spec/raw/a.tif"), "{files:?}");
}

#[test]
fn the_root_is_above_pipelines_or_what_root_says() {
    let dir = tempfile::tempdir().unwrap();
    let home = std::fs::canonicalize(dir.path()).unwrap();
    std::fs::create_dir_all(home.join("pipelines/deep")).unwrap();
    std::fs::create_dir_all(home.join("elsewhere")).unwrap();
    let shell = "stages: { a: { uses: shell, with: { run: x } } }\n";
    let root = |file: &str, text: &str| {
        let file = home.join(file);
        std::fs::write(&file, text).unwrap();
        load(&file, &[], KINDS).unwrap().root
    };
    assert_eq!(root("pipelines/a.yaml", shell), home);
    assert_eq!(root("a.yaml", shell), home);
    assert_eq!(root("pipelines/deep/a.yaml", shell), home.join("pipelines/deep"));
    assert_eq!(root("pipelines/b.yaml", &format!("root: ../elsewhere\n{shell}")), home.join("elsewhere"));
    let name = load(&home.join("pipelines/b.yaml"), &[], KINDS).unwrap().name;
    assert_eq!(name, "b");
}

#[test]
fn paths_may_lead_out_of_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let home = std::fs::canonicalize(dir.path()).unwrap();
    std::fs::create_dir_all(home.join("project/pipelines")).unwrap();
    std::fs::create_dir_all(home.join("shared/odd [name]")).unwrap();
    for name in ["b.tif", "a.tif", ".hidden.tif"] {
        std::fs::write(home.join("shared/odd [name]").join(name), "").unwrap();
    }
    let file = home.join("project/pipelines/a.yaml");
    let matched = |pattern: &str| {
        std::fs::write(
            &file,
            format!("stages: {{ a: {{ uses: shell, inputs: {{ x: '{pattern}' }}, with: {{ run: x }} }} }}\n"),
        )
        .unwrap();
        let pipeline = load(&file, &[], KINDS).unwrap_or_else(|problems| panic!("{problems}"));
        let Source::Files { files, .. } = pipeline.stages[0].inputs[0].sources[0].clone() else { panic!("files") };
        files.iter().map(|f| f.strip_prefix(&home).unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(matched("../shared/*/*.tif"), ["shared/odd [name]/a.tif", "shared/odd [name]/b.tif"]);
    assert_eq!(matched("../shared/**/a.tif"), ["shared/odd [name]/a.tif"]);
    assert_eq!(matched(&format!("{}/shared/odd [[]name]/b.*", home.display())), ["shared/odd [name]/b.tif"]);
}

#[test]
fn the_only_pipeline_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let folder = home.join("pipelines");
    assert!(matches!(find_pipeline(home), Err(FindError::NoFolder { .. })));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("README.md"), "").unwrap();
    assert!(matches!(find_pipeline(home), Err(FindError::Empty { .. })));
    std::fs::write(folder.join("b.yml"), "").unwrap();
    assert_eq!(find_pipeline(home).unwrap(), folder.join("b.yml"));
    std::fs::write(folder.join("a.yaml"), "").unwrap();
    let several = find_pipeline(home).unwrap_err().to_string();
    assert!(several.ends_with("has several: name one of a.yaml, b.yml"), "{several}");
    std::fs::write(folder.join("landcover.yaml"), "").unwrap();
    assert_eq!(find_pipeline(home).unwrap(), folder.join("landcover.yaml"));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let message = |file: &Path| load(file, &[], KINDS).unwrap_err().to_string();
    std::fs::write(dir.path().join("landcover.yaml"), "").unwrap();
    let missing = message(&dir.path().join("landcver.yaml"));
    assert!(missing.contains("there is no such file") && missing.contains("landcover.yaml`?"), "{missing}");
    let folder = message(dir.path());
    assert!(folder.contains("found a folder") && folder.contains("landcover.yaml"), "{folder}");
    let nowhere = message(&dir.path().join("no/where.yaml"));
    assert!(nowhere.contains("there is no folder"), "{nowhere}");
    std::fs::write(dir.path().join("big.yaml"), vec![b'#'; 17 << 20]).unwrap();
    assert!(message(Path::new("/dev/zero")).contains("more than 16777216 bytes"));
    assert!(message(&dir.path().join("big.yaml")).contains("more than 16777216 bytes"));
}

#[test]
fn the_other_forms_of_an_error_say_the_same() {
    let problems = read("name: a\nstages:\n  ingest:\n    uses: ingets\n").unwrap_err();
    assert_eq!(problems.to_string(), problems.render(false));
    let color = problems.render(true);
    assert!(
        color.contains("\u{1b}[") && color.contains("ingets") && color.contains("did you mean `ingest`?"),
        "{color}"
    );
    let json = problems.to_json();
    assert_eq!(json[0]["severity"], "error");
    assert_eq!((&json[0]["line"], &json[0]["column"], &json[0]["end_column"]), (&json!(4), &json!(11), &json!(17)));
    assert_eq!(json[0]["text"], "    uses: ingets");
}

#[test]
fn nothing_in_a_file_steers_the_terminal() {
    let problems = read("name: \"\\e[2Jx\"\nstages: {}\n").unwrap_err();
    assert!(!problems.render(false).contains('\u{1b}'), "{problems:?}");
}

#[test]
fn limits_are_read_and_can_be_set() {
    let text = "stages:
  a: { uses: shell, timeout: 1h30m, retries: 2, resources: { cpus: 4, memory: 1.5GB, gpus: 1 }, with: { run: ls } }
  b: { uses: shell, resources: { cpus: all }, with: { run: ls } }
  c: { uses: shell, resources: , with: { run: ls } }
";
    let limits = |pipeline: &Pipeline, stage: &str| pipeline.stage(stage).unwrap().limits.clone();
    let pipeline = good(text);
    let resources = Resources { cpus: Some(Cpus::Count(4)), memory: Some(1_500_000_000), gpus: 1 };
    let expected = Limits { timeout: Some(Duration::from_secs(5400)), retries: 2, resources };
    assert_eq!(limits(&pipeline, "a"), expected);
    assert_eq!(limits(&pipeline, "b").resources.cpus, Some(Cpus::All));
    assert_eq!(limits(&pipeline, "c"), Limits::default());
    let limits_json = &pipeline.to_json()["stages"][0]["limits"];
    let resources = json!({ "cpus": 4, "memory_bytes": 1_500_000_000, "gpus": 1 });
    assert_eq!(*limits_json, json!({ "timeout_seconds": 5400, "retries": 2, "resources": resources }));
    let changes = ["a.timeout=5s", "b.retries=3", "c.resources.memory=8GiB", "stages.c.resources.gpus=2"];
    let changed = set(text, &changes).unwrap();
    assert_eq!(limits(&changed, "a").timeout, Some(Duration::from_secs(5)));
    assert_eq!(limits(&changed, "b").retries, 3);
    assert_eq!(limits(&changed, "c").resources, Resources { cpus: None, memory: Some(8 << 30), gpus: 2 });
}

#[test]
fn environment_variables_are_text_as_it_is_written() {
    let text =
        "stages: { a: { uses: shell, with: { run: ls, env: { A: x y, B: 1e-3, C: 007, D: \"\" }, pass: [TOKEN] } } }";
    let with = good(text).stage("a").unwrap().with.clone();
    assert_eq!(with["env"], json!({ "A": "x y", "B": "1e-3", "C": "007", "D": "" }));
    assert_eq!(with["pass"], json!(["TOKEN"]));
    let plain = good("stages: { a: { uses: shell, with: { run: ls } } }");
    assert_eq!(Value::Object(plain.stage("a").unwrap().with.clone()), json!({ "run": "ls" }), "nothing is added");
}
