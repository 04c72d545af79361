//! Models from files and back, and what they refuse.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use s2pipe::net::{Mode, Model, ModelConfig, NetError, UNetConfig, weights};

fn config(width: usize, depth: usize) -> ModelConfig {
    ModelConfig::UNet(UNetConfig::new(width, depth))
}

fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("classes".to_owned(), "urban, water".to_owned()), ("a".to_owned(), "æøå \"quoted\"".to_owned())])
}

fn image(height: usize, width: usize, bands: usize) -> Tensor {
    let values: Vec<f32> = (0..height * width * bands).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    Tensor::from_vec(values, (1, height, width, bands), &Device::Cpu).unwrap()
}

fn logits(model: &Model) -> Vec<f32> {
    let y = model.forward(&image(8, 12, model.bands()), Mode::Eval).unwrap();
    assert_eq!(y.dims(), [1, 8, 12, model.classes()]);
    y.flatten_all().unwrap().to_vec1().unwrap()
}

fn problem(path: &Path) -> String {
    match weights::load(path).unwrap_err() {
        NetError::Weights { path: named, problem } => {
            assert_eq!(named, path);
            problem
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_saved_model_comes_back_with_its_buffers_and_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = Model::new(&config(4, 2), 3, 5, 42).unwrap();
    // Moves the running statistics away from where a new model has them.
    model.forward(&image(8, 8, 3), Mode::Train).unwrap();
    weights::save(&model, &path, &metadata()).unwrap();
    let (loaded, header) = weights::load(&path).unwrap();
    assert_eq!(logits(&loaded), logits(&model));
    assert_ne!(logits(&loaded), logits(&Model::new(&config(4, 2), 3, 5, 42).unwrap()));
    assert_eq!((loaded.config(), loaded.bands(), loaded.classes()), (&config(4, 2), 3, 5));
    assert_eq!(header.metadata, metadata());
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let make = |seed| weights::to_bytes(&Model::new(&config(4, 2), 3, 5, seed).unwrap(), &metadata()).unwrap();
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn files_have_pytorchs_names_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights::save(&Model::new(&config(4, 2), 3, 5, 1).unwrap(), &path, &metadata()).unwrap();
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    for (name, dims) in [
        ("down.0.0.weight", vec![4, 3, 3, 3]),
        ("down.2.3.weight", vec![16, 16, 3, 3]),
        ("down.2.4.running_var", vec![16]),
        ("up.0.weight", vec![16, 8, 2, 2]),
        ("merge.0.0.weight", vec![8, 16, 3, 3]),
        ("merge.1.1.bias", vec![4]),
        ("head.weight", vec![5, 4, 1, 1]),
        ("head.bias", vec![5]),
    ] {
        assert_eq!(tensors[name].dims(), dims, "{name}");
    }
}

#[test]
fn kept_state_does_not_change_with_the_model() {
    let model = Model::new(&config(4, 1), 3, 5, 1).unwrap();
    let before = logits(&model);
    let kept = weights::state(&model).unwrap();
    for (_, var) in model.parameters() {
        var.set(&var.as_tensor().affine(2.0, 0.5).unwrap()).unwrap();
    }
    assert_ne!(logits(&model), before);
    weights::restore(&model, &kept).unwrap();
    assert_eq!(logits(&model), before);
}

#[test]
fn state_that_does_not_fit_is_refused_and_changes_nothing() {
    let model = Model::new(&config(4, 1), 3, 5, 1).unwrap();
    let before = logits(&model);
    let good = weights::state(&model).unwrap();

    let mut missing = weights::state(&Model::new(&config(4, 1), 3, 5, 2).unwrap()).unwrap();
    missing.pop();
    let mut extra = good.clone();
    extra.push(("tail.weight".to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap()));
    let wider = weights::state(&Model::new(&config(8, 1), 3, 5, 1).unwrap()).unwrap();
    for (bad, word) in [(missing, "up.0.weight"), (extra, "tail.weight"), (wider, "[4, 3, 3, 3]")] {
        let error = weights::restore(&model, &bad).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(logits(&model), before);
    }
}

#[test]
fn files_that_are_no_weights_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    assert!(matches!(weights::load(&path), Err(NetError::Io { .. })));

    let model = Model::new(&config(4, 1), 3, 5, 1).unwrap();
    let bytes = weights::to_bytes(&model, &metadata()).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(problem(&path).contains("not a safetensors file"), "{length}");
    }

    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "the header's length is in the file");
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, changed).unwrap();
        problem(&path)
    };
    assert!(text("\\\"format\\\":1", "\\\"format\\\":9").contains("format Some(9); this version reads format 1"));
    assert!(text("\"s2pipe\"", "\"others\"").contains("no `s2pipe` entry"));
    assert!(text("\\\"width\\\":4", "\\\"width\\\":8").contains("the model needs [8, 3, 3, 3], found [4, 3, 3, 3]"));
    assert!(text("\"head.weight\"", "\"head.weighs\"").contains("head.weight"));
    assert!(text("\\\"kind\\\":\\\"unet\\\"", "\\\"kind\\\":\\\"onet\\\"").contains("onet"));
}

#[test]
fn first_values_depend_on_the_seed_and_have_pytorchs_spread() {
    let model = Model::new(&config(32, 1), 6, 5, 3).unwrap();
    let (name, var) = &model.parameters()[3];
    assert_eq!(name, "down.0.3.weight");
    let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bound = 1.0 / (9.0f32 * 32.0).sqrt();
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
    assert!(values.iter().all(|v| v.abs() <= bound));
    assert!(mean.abs() < 0.03 * bound, "{mean}");
    assert!((variance - bound * bound / 3.0).abs() < 0.03 * bound * bound, "{variance}");
    let other = Model::new(&config(32, 1), 6, 5, 4).unwrap();
    assert_ne!(other.parameters()[3].1.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values);
}

#[test]
fn images_that_do_not_fit_are_refused_with_what_would_fit() {
    let model = Model::new(&config(4, 3), 3, 5, 1).unwrap();
    assert_eq!(model.config().multiple(), 8);
    let error = model.forward(&image(16, 20, 3), Mode::Eval).unwrap_err();
    assert!(matches!(&error, NetError::Config(text) if text.contains("multiples of 8, found 16x20")), "{error}");
    let error = model.forward(&image(16, 16, 4), Mode::Eval).unwrap_err();
    assert!(matches!(&error, NetError::Config(text) if text.contains("made for 3 bands, but the image has 4")));
}

#[test]
fn sizes_that_make_no_network_are_refused() {
    for (width, depth, bands, classes) in
        [(0, 4, 3, 5), (4, 0, 3, 5), (4, 9, 3, 5), (4, 2, 0, 5), (4, 2, 3, 0), (4, 2, 3, 256)]
    {
        assert!(matches!(Model::new(&config(width, depth), bands, classes, 1), Err(NetError::Config(_))));
    }
}

#[test]
fn evaluation_leaves_no_graph_and_no_trace() {
    let model = Model::new(&config(4, 1), 3, 5, 1).unwrap();
    let before = weights::to_bytes(&model, &metadata()).unwrap();
    assert!(!model.forward(&image(8, 8, 3), Mode::Eval).unwrap().track_op());
    assert_eq!(weights::to_bytes(&model, &metadata()).unwrap(), before);
    assert!(model.forward(&image(8, 8, 3), Mode::Train).unwrap().track_op());
    assert_ne!(weights::to_bytes(&model, &metadata()).unwrap(), before);
}

#[test]
fn configurations_read_as_the_pipeline_writes_them() {
    let parse = serde_json::from_str::<ModelConfig>;
    assert_eq!(parse(r#"{"kind":"unet","width":24,"depth":4}"#).unwrap(), config(24, 4));
    assert_eq!(serde_json::to_string(&config(24, 4)).unwrap(), r#"{"kind":"unet","width":24,"depth":4}"#);
    for bad in [r#"{"kind":"unet","width":24}"#, r#"{"kind":"unet","width":24,"depth":4,"dept":1}"#, r#"{"kind":"x"}"#]
    {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
