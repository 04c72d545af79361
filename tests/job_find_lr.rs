//! `find_lr` through the whole job, and rates that go with the batch.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;

use project::{PIPELINE, Project};
use serde_json::Value;

const RATES: &str = "
  rates:
    uses: find_lr
    inputs: { patches: patches }
    with: { from: 1e-5, to: 3.0, steps: 40 }
";

/// The project with a range test at its end.
fn with_rates() -> Project {
    let project = Project::fresh();
    project.write_pipeline(&format!("{PIPELINE}{RATES}"));
    project
}

fn report(project: &Project) -> Value {
    serde_json::from_slice(&fs::read(project.path("cache/landcover/rates/rates.json")).unwrap()).unwrap()
}

#[test]
fn a_rate_is_found_told_and_drawn() {
    let project = with_rates();
    let ran = project.run(&["--until", "rates"]).ok();
    let mut stages = ran.stages();
    stages.sort();
    assert_eq!(stages, ["ingest", "patches", "rates"], "it trains nothing that is kept");
    let report = report(&project);
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap();
    let (lr, lowest) = (number("/optimizer_lr"), number("/suggestion/lowest"));
    assert_eq!((report["format"].as_str(), report["of"].as_str()), (Some("s2pipe.rates/1"), Some("train")));
    // Adam's first step moves every weight by the rate: what is at home below 1 is not to be moved by more.
    assert!((1e-4..0.3).contains(&lr) && (lr * 10.0 - lowest).abs() < 1e-9, "{report}");
    assert!(ran.stderr.contains(&format!("`train.optimizer.lr: {lr:.1e}`")), "{}", ran.stderr);
    let steps = report["steps"].as_array().unwrap();
    assert!((10..=40).contains(&steps.len()) && (number("/steps/0/lr") - 1e-5).abs() < 1e-12);
    let picture = image::open(project.path("cache/landcover/rates/rates.jpg")).unwrap();
    assert_eq!(picture.width(), 1800);
}

#[test]
fn only_what_decides_about_a_step_makes_a_test_anew() {
    let project = with_rates();
    project.run(&["--until", "rates"]).ok();
    let again = |set: &str| project.run(&["--until", "rates", "--set", set]).ok().stages();
    for set in ["train.optimizer.lr=0.5", "train.epochs=9", "train.schedule={kind: constant}", "train.ema={}"] {
        assert_eq!(again(set), [] as [&str; 0], "{set}");
    }
    for set in ["train.model.width=5", "train.loss={kind: dice}", "rates.steps=41", "seed=3"] {
        assert!(again(set).contains(&"rates".to_owned()), "{set}");
    }
}

#[test]
fn the_suggested_rate_is_that_before_scaling() {
    let project = with_rates();
    // What the stage is there to say needs no `-v`.
    project.s2pipe(&["run", "--until", "rates"]).ok().says(&["`train.optimizer.lr: "]);
    let plain = report(&project);
    project.run(&["--until", "rates", "--set", "train.scale_lr={from_batch: 2}"]).ok();
    let scaled = report(&project);
    assert_eq!(scaled["suggestion"], plain["suggestion"], "the same steps");
    let lr = |report: &Value| report["optimizer_lr"].as_f64().unwrap();
    // Batches of 8, found with 2: AdamW's rate is twice as high.
    assert!((lr(&scaled) * 2.0 - lr(&plain)).abs() < 1e-12);
}

#[test]
fn a_scaled_rate_trains_as_the_rate_that_it_comes_to() {
    let project = Project::fresh();
    let history = |set: &[&str]| {
        project.run(&[&["--until", "train"], set].concat()).ok();
        fs::read(project.path("cache/landcover/train/history.json")).unwrap()
    };
    let scaled = history(&["--set", "train.optimizer.lr=0.005", "--set", "train.scale_lr={from_batch: 2}"]);
    assert_eq!(scaled, history(&["--set", "train.optimizer.lr=0.01"]));
    assert_ne!(scaled, history(&["--set", "train.optimizer.lr=0.005"]));
}

#[test]
fn a_test_of_nothing_is_refused() {
    let project = with_rates();
    let told = |set: &str| project.run(&["-n", "--set", set]).exit(2).stderr;
    let error = told("rates.of=trian");
    assert!(error.contains("no stage is called so") && error.contains("did you mean `of: train`?"), "{error}");
    let error = told("rates.of=patches");
    assert!(error.contains("`patches` uses `patches`, and rates are those of `train`"), "{error}");
    let error = told("rates.to=1e-6");
    assert!(error.contains("to (0.000001) is not above from (0.00001)") && error.contains("raise `to`"), "{error}");
    let error = told("train.model={kind: random_forest}");
    assert!(error.contains("grows a random forest, which has no learning rate"), "{error}");
}
