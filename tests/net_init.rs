//! Weights from elsewhere: what fits goes into the encoder, and everything is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use s2pipe::net::{
    BlockKind, EncoderKind, FpnConfig, InitReport, MlpConfig, Model, ModelConfig, NetError, UNetConfig, init, weights,
};
use tempfile::TempDir;

type State = BTreeMap<String, Tensor>;

fn unet(width: usize, depth: usize) -> ModelConfig {
    ModelConfig::UNet(UNetConfig { encoder: EncoderKind::ResNet18, ..UNetConfig::new(width, depth) })
}

fn model(config: ModelConfig, bands: usize) -> Model {
    Model::new(&config, bands, 5, 1).unwrap()
}

fn state(model: &Model) -> State {
    weights::state(model).unwrap().into_iter().collect()
}

/// What torchvision would save of a whole ResNet-18 of width 4, for `bands` bands, each name after `prefix`.
fn torchvision(bands: usize, prefix: &str) -> State {
    let donor = state(&Model::new(&unet(4, 5), bands, 7, 99).unwrap());
    let of_encoder = donor.iter().filter_map(|(name, tensor)| {
        let bare = name.strip_prefix("encoder.")?;
        // Away from where a new model has its statistics, by name.
        let moved = if bare.contains("bn") { (tensor + bare.len() as f64 / 64.0).unwrap() } else { tensor.clone() };
        Some((format!("{prefix}{bare}"), moved))
    });
    let mut file: State = of_encoder.collect();
    for (name, shape) in [("fc.weight", vec![1000, 32]), ("fc.bias", vec![1000])] {
        file.insert(format!("{prefix}{name}"), Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap());
    }
    file.insert(format!("{prefix}bn1.num_batches_tracked"), Tensor::new(&[3i64], &Device::Cpu).unwrap());
    file
}

fn written(file: &State) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet18.safetensors");
    let tensors: HashMap<&str, Tensor> = file.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    (folder, path)
}

fn begin(model: &Model, file: &State) -> InitReport {
    let (_folder, path) = written(file);
    init(model, &path).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.dims() == b.dims() && values(a) == values(b)
}

#[test]
fn a_whole_network_fits_under_every_prefix_and_nothing_else_changes() {
    for prefix in ["", "encoder.", "backbone."] {
        let (model, file) = (model(unet(4, 5), 3), torchvision(3, prefix));
        let before = state(&model);
        let report = begin(&model, &file);
        assert_eq!((report.matched.len(), report.matched[0].as_str()), (100, "bn1.bias"));
        let rest = InitReport { matched: Vec::new(), ..report.clone() };
        assert_eq!(rest, InitReport::default(), "the classifier and the counters are no loss");
        assert_eq!(report.sentence("a.safetensors"), "init: 100 of 100 tensors of the encoder from a.safetensors");
        for (name, tensor) in state(&model) {
            match name.strip_prefix("encoder.") {
                Some(bare) => assert!(same(&tensor, &file[&format!("{prefix}{bare}")]), "{name}"),
                None => assert!(same(&tensor, &before[&name]), "{name}"),
            }
        }
    }
}

#[test]
fn a_model_of_our_own_passes_its_encoder_on() {
    let donor = Model::new(&unet(4, 2), 3, 7, 5).unwrap();
    let config = FpnConfig { width: 4, depth: 2, pyramid: 3, block: BlockKind::Plain, encoder: EncoderKind::ResNet18 };
    let heir = model(ModelConfig::Fpn(config), 3);
    let report = begin(&heir, &state(&donor));
    assert_eq!((report.matched.len(), report.unmatched.len()), (25, 0));
    assert!(report.unused.contains(&"head.weight".to_owned()) && report.unused.contains(&"up.0.bias".to_owned()));
    assert!(same(&state(&heir)["encoder.layer1.1.bn2.weight"], &state(&donor)["encoder.layer1.1.bn2.weight"]));
}

#[test]
fn the_first_convolution_is_adapted_to_any_number_of_bands() {
    let file = torchvision(3, "");
    let first = values(&file["conv1.weight"]);
    for bands in [1, 2, 4, 13] {
        let model = model(unet(4, 5), bands);
        let report = begin(&model, &file);
        assert_eq!((report.matched.len(), report.adapted.len(), report.unmatched.len()), (99, 1, 0));
        let adapted = &report.adapted[0];
        assert_eq!((adapted.tensor.as_str(), adapted.from_bands, adapted.to_bands), ("conv1.weight", 3, bands));
        let told = report.sentence("a.safetensors");
        assert!(told.ends_with(&format!("; conv1.weight adapted from 3 to {bands} bands")), "{told}");
        let found = &state(&model)["encoder.conv1.weight"];
        assert_eq!(found.dims(), [4, bands, 7, 7]);
        let found = values(found);
        for (out, tap) in (0..4).flat_map(|out| (0..49).map(move |tap| (out, tap))) {
            let at = |weights: &[f32], of: usize, band: usize| weights[(out * of + band) * 49 + tap];
            let sum: f32 = (0..3).map(|band| at(&first, 3, band)).sum();
            for band in 0..bands {
                assert!((at(&found, bands, band) - sum / bands as f32).abs() < 1e-6, "{out} {tap} {band}");
            }
        }
    }
    // As many bands as in the file are taken as they are, in the order of the file.
    let model = model(unet(4, 5), 6);
    let file = torchvision(6, "");
    assert!(begin(&model, &file).adapted.is_empty());
    assert!(same(&state(&model)["encoder.conv1.weight"], &file["conv1.weight"]));
}

#[test]
fn half_precision_is_read() {
    let file = torchvision(3, "");
    for dtype in [DType::F16, DType::BF16] {
        let narrow: State = file.iter().map(|(name, tensor)| (name.clone(), tensor.to_dtype(dtype).unwrap())).collect();
        let model = model(unet(4, 5), 3);
        assert_eq!(begin(&model, &narrow).matched.len(), 100);
        let expected = narrow["layer2.0.conv1.weight"].to_dtype(DType::F32).unwrap();
        assert!(same(&state(&model)["encoder.layer2.0.conv1.weight"], &expected));
    }
}

#[test]
fn what_does_not_fit_is_left_as_drawn_and_told() {
    let mut file = torchvision(3, "");
    file.remove("layer1.0.bn1.weight");
    file.insert("layer1.1.conv2.weight".into(), Tensor::zeros((4, 4, 1, 1), DType::F32, &Device::Cpu).unwrap());
    file.insert("projection.weight".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
    let model = model(unet(4, 2), 3);
    let before = state(&model);
    let report = begin(&model, &file);
    assert_eq!(
        (report.matched.len(), report.unmatched.as_slice()),
        (23, ["layer1.0.bn1.weight".to_owned()].as_slice())
    );
    let mismatch = &report.mismatched[0];
    assert_eq!((report.mismatched.len(), mismatch.tensor.as_str()), (1, "layer1.1.conv2.weight"));
    assert_eq!(
        (mismatch.model.as_slice(), mismatch.file.as_slice()),
        ([4, 4, 3, 3].as_slice(), [4, 4, 1, 1].as_slice())
    );
    // Layers that a shallower network does not have.
    assert_eq!(report.unused.len(), 76);
    assert!(report.unused.contains(&"projection.weight".to_owned()) && !report.unused.iter().any(|n| n.contains("fc")));
    for name in ["encoder.layer1.0.bn1.weight", "encoder.layer1.1.conv2.weight"] {
        assert!(same(&state(&model)[name], &before[name]), "{name}");
    }
    let told = report.sentence("a.safetensors");
    for phrase in [
        "init: 23 of 25 tensors of the encoder from a.safetensors;",
        "of another shape: layer1.1.conv2.weight ([4, 4, 1, 1] in the file, [4, 4, 3, 3] here);",
        "not in the file: layer1.0.bn1.weight;",
        "not used of the file: layer2.0.bn1.bias, layer2.0.bn1.running_mean, layer2.0.bn1.running_var and 73 more",
    ] {
        assert!(told.contains(phrase), "{phrase:?} is not in {told}");
    }
}

/// What is wrong with a file; nothing of it was taken.
fn problem(config: ModelConfig, file: &State) -> String {
    let (_folder, path) = written(file);
    let model = model(config, 3);
    let before = state(&model);
    let NetError::Weights { path: named, problem } = init(&model, &path).unwrap_err() else { panic!("another error") };
    assert_eq!(named, path);
    assert!(state(&model).iter().all(|(name, tensor)| same(tensor, &before[name])));
    problem
}

#[test]
fn a_file_in_which_nothing_fits_says_what_was_wanted_and_what_is_there() {
    let other: State =
        [("stem.weight".to_owned(), Tensor::zeros((8, 3, 3, 3), DType::F32, &Device::Cpu).unwrap())].into();
    let told = problem(unet(4, 5), &other);
    for phrase in
        ["such as bn1.bias [4], ", " and 97 more", "`encoder.` or `backbone.`", "found stem.weight [8, 3, 3, 3]"]
    {
        assert!(told.contains(phrase), "{phrase:?} is not in {told}");
    }
    let told = problem(unet(8, 5), &torchvision(3, ""));
    assert!(told.ends_with("; its network has a width of 4 and the model one of 8: make them the same"), "{told}");
    assert!(problem(unet(4, 5), &State::new()).contains("found no tensor at all"));
}

#[test]
fn files_that_cannot_be_trained_from_are_refused() {
    let with = |name: &str, tensor: Tensor| {
        let mut file = torchvision(3, "");
        file.insert(name.to_owned(), tensor);
        problem(unet(4, 5), &file)
    };
    let nan = Tensor::from_vec(vec![1.0, f32::NAN, 0.0, 2.0], 4, &Device::Cpu).unwrap();
    assert_eq!(with("bn1.running_var", nan), "tensor bn1.running_var holds NaN: training cannot begin with it");
    let wide = Tensor::zeros(4, DType::F64, &Device::Cpu).unwrap();
    assert_eq!(with("bn1.bias", wide), "tensor bn1.bias is F64, expected F32, F16 or BF16");
    let twice = with("encoder.bn1.bias", Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap());
    assert_eq!(
        twice,
        "bn1.bias and encoder.bn1.bias are both bn1.bias of an encoder: leave one of them out of the file"
    );
    let (_folder, path) = written(&torchvision(3, ""));
    std::fs::write(&path, b"no tensors").unwrap();
    let error = init(&model(unet(4, 5), 3), &path).unwrap_err().to_string();
    assert!(error.contains("resnet18.safetensors: not a safetensors file"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(init(&model(unet(4, 5), 3), &path), Err(NetError::Io { path: named, .. }) if named == path));
}

#[test]
fn networks_without_a_resnet_have_no_use_for_it() {
    let (_folder, path) = written(&torchvision(3, ""));
    for (kind, config) in [
        ("unet", ModelConfig::UNet(UNetConfig::new(4, 2))),
        ("mlp", ModelConfig::Mlp(MlpConfig { width: 4, depth: 1 })),
    ] {
        let NetError::Config(told) = init(&model(config, 3), &path).unwrap_err() else { panic!("another error") };
        assert!(told.contains(&format!("`{kind}` has none")) && told.contains("`encoder: resnet18`"), "{told}");
    }
}
