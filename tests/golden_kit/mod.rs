//! What PyTorch's records in `tests/golden` are compared with.
#![allow(dead_code, reason = "each test file uses a part of this")]

use candle_core::{DType, Device, Tensor};
use s2pipe::net::{CrossEntropy, IGNORE, Mode, Model, ModelConfig, weights};

/// The same numbers as `fill` in the scripts.
pub(crate) fn fill(seed: u64, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product::<usize>() as u64)
        .map(|i| {
            let h = (i * 2_654_435_761 + seed * 40_503 + 12_345) % (1 << 32);
            let h = (h ^ (h >> 15)) * 2_246_822_519 % (1 << 32);
            h as f64 / (1u64 << 31) as f64 - 1.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub(crate) fn golden(file: &str) -> std::collections::HashMap<String, Tensor> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

pub(crate) fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
pub(crate) fn assert_close(name: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{name}");
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= tolerance * scale, "{name}[{i}]: {f}, PyTorch has {e}");
    }
}

/// `[kh, kw, in, out]` to `[out, in, kh, kw]`.
pub(crate) const TO_OIHW: [usize; 4] = [3, 2, 0, 1];

/// A network with its record.
pub(crate) struct Net {
    /// The file of the record.
    pub(crate) file: &'static str,
    /// What its keys begin with.
    pub(crate) prefix: &'static str,
    pub(crate) config: ModelConfig,
    /// Side of the images, pixels.
    pub(crate) size: usize,
    /// Whole gradients are recorded, not only their product with a vector and their norm.
    pub(crate) whole: bool,
}

/// Parameters by the script's formula, through the same door as a weights file.
pub(crate) fn formula_model(net: &Net) -> Model {
    let model = Model::new(&net.config, 3, 5, 1).unwrap();
    let mut state = weights::state(&model).unwrap();
    let parameters = state.iter_mut().filter(|(name, _)| !name.contains("running"));
    for (i, (_, tensor)) in parameters.enumerate() {
        let dims = tensor.dims().to_vec();
        let (scale, shift) = match dims.len() {
            1 => (1.7, 1.0),
            _ => (1.7 / (dims[1..].iter().product::<usize>() as f64).sqrt(), 0.0),
        };
        *tensor = fill(100 + i as u64, &dims).affine(scale, shift).unwrap().to_dtype(DType::F32).unwrap();
    }
    weights::restore(&model, &state).unwrap();
    model
}

fn every(t: &Tensor, step: usize) -> Tensor {
    let (_, h, w, _) = t.dims4().unwrap();
    let pick = |n: usize| Tensor::new((0..n as u32).step_by(step).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    t.index_select(&pick(h), 1).unwrap().index_select(&pick(w), 2).unwrap()
}

/// Compares logits, loss, gradients and running statistics of a network with its record.
pub(crate) fn check_net(net: &Net) {
    let golden = golden(net.file);
    let expect = |key: &str| golden[&format!("{}.{key}", net.prefix)].clone();
    let (size, step) = (net.size, if net.whole { 1 } else { 4 });
    let model = formula_model(net);
    let x = fill(1, &[2, size, size, 3]).to_dtype(DType::F32).unwrap();
    let mut targets: Vec<u8> =
        values(&fill(4, &[2, size, size])).iter().map(|v| (v * 2.5 + 2.5).floor().clamp(0.0, 4.0) as u8).collect();
    for image in targets.chunks_exact_mut(size * size) {
        image[..2 * size].fill(IGNORE);
    }
    let targets = Tensor::from_vec(targets, (2, size, size), &Device::Cpu).unwrap();

    let logits = model.forward(&x, Mode::Train).unwrap();
    assert_close("logits", &every(&logits, step), &expect("train_logits"), 1e-4);
    let loss = CrossEntropy::new(None, 0.0).unwrap().loss(&logits, &targets).unwrap();
    assert_close("loss", &loss.reshape(1).unwrap(), &expect("loss"), 1e-5);

    let grads = loss.backward().unwrap();
    for (name, var) in model.parameters() {
        let grad = grads.get(var).unwrap();
        let grad = match (grad.rank(), name.starts_with("up.")) {
            (4, true) => grad.permute((0, 3, 1, 2)).unwrap(),
            (4, false) => grad.permute(TO_OIHW.as_slice()).unwrap(),
            _ => grad.clone(),
        };
        let expected = expect(&format!("grad.{name}"));
        if net.whole {
            assert_close(name, &grad, &expected, 1e-4);
        } else {
            let grad = grad.to_dtype(DType::F64).unwrap();
            let dot = (&grad * fill(7, grad.dims())).unwrap().sum_all().unwrap();
            let norm = grad.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
            assert_close(name, &Tensor::stack(&[dot, norm], 0).unwrap(), &expected, 1e-4);
        }
    }
    for (name, var) in model.buffers() {
        assert_close(name, var, &expect(&format!("buffer.{name}")), 1e-5);
    }
    let logits = model.forward(&x, Mode::Eval).unwrap();
    assert_close("eval logits", &every(&logits, 4), &expect("eval_logits"), 1e-4);
}
