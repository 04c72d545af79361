//! Operators and whole networks against PyTorch. `tests/golden/net_ops.py` made the values.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use candle_core::{DType, Device, Result, Tensor, Var};
use s2pipe::net::ops::{self, Conv2dConfig};
use s2pipe::net::{CrossEntropy, IGNORE, Mode, Model, ModelConfig, UNetConfig, weights};

/// The same numbers as `fill` in the script.
fn fill(seed: u64, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product::<usize>() as u64)
        .map(|i| {
            let h = (i * 2_654_435_761 + seed * 40_503 + 12_345) % (1 << 32);
            let h = (h ^ (h >> 15)) * 2_246_822_519 % (1 << 32);
            h as f64 / (1u64 << 31) as f64 - 1.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn golden(file: &str) -> std::collections::HashMap<String, Tensor> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(name: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{name}");
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= tolerance * scale, "{name}[{i}]: {f}, PyTorch has {e}");
    }
}

/// Compares output and gradients of `sum(y * fill(99))` with the record called `name`.
fn check(name: &str, f: impl Fn(&[Var]) -> Result<Tensor>, leaves: &[(&str, Tensor)], to_torch: &[Option<[usize; 4]>]) {
    let golden = golden("net_ops.safetensors");
    let vars: Vec<Var> = leaves.iter().map(|(_, t)| Var::from_tensor(&t.contiguous().unwrap()).unwrap()).collect();
    let y = f(&vars).unwrap();
    assert_close(name, &y, &golden[&format!("{name}.y")], 1e-12);
    let grads = y.mul(&fill(99, y.dims())).unwrap().sum_all().unwrap().backward().unwrap();
    for (((key, _), var), axes) in leaves.iter().zip(&vars).zip(to_torch) {
        let grad = grads.get(var).unwrap();
        let grad = axes.map_or_else(|| grad.clone(), |axes| grad.permute(axes.as_slice()).unwrap());
        assert_close(&format!("{name}.d{key}"), &grad, &golden[&format!("{name}.d{key}")], 1e-11);
    }
}

/// `[out, in, kh, kw]` to `[kh, kw, in, out]` and back.
const FROM_OIHW: [usize; 4] = [2, 3, 1, 0];
const TO_OIHW: [usize; 4] = [3, 2, 0, 1];

#[test]
fn convolutions_equal_pytorch() {
    for (name, [n, h, w, ci, co, k], stride, padding) in [
        ("conv3x3", [2, 5, 7, 3, 4, 3], 1, 1),
        ("conv3x3_one", [1, 1, 1, 1, 1, 3], 1, 1),
        ("conv3x3_stride2", [2, 7, 6, 3, 4, 3], 2, 1),
        ("conv5x5", [1, 6, 5, 2, 3, 5], 1, 2),
        ("conv1x1", [2, 3, 5, 5, 6, 1], 1, 0),
    ] {
        let weight = fill(2, &[co, ci, k, k]).permute(FROM_OIHW.as_slice()).unwrap();
        let leaves = [("x", fill(1, &[n, h, w, ci])), ("w", weight), ("b", fill(3, &[co]))];
        let config = Conv2dConfig { stride, padding, ..Conv2dConfig::default() };
        let f = |v: &[Var]| ops::conv2d(&v[0], &v[1], Some(&v[2]), config);
        check(name, f, &leaves, &[None, Some(TO_OIHW), None]);
    }
}

#[test]
fn dilated_and_grouped_convolutions_equal_pytorch() {
    for (name, [n, h, w, ci, co, k], [stride, padding, dilation, groups]) in [
        ("conv_dilated", [1, 7, 6, 2, 3, 3], [1, 2, 2, 1]),
        ("conv_dilated_stride2", [1, 8, 7, 2, 2, 3], [2, 3, 3, 1]),
        ("conv_grouped", [1, 4, 5, 4, 6, 3], [1, 1, 1, 2]),
        ("conv_grouped_dilated_stride2", [1, 7, 6, 6, 3, 3], [2, 2, 2, 3]),
        ("conv_depthwise", [2, 4, 3, 9, 9, 3], [1, 1, 1, 9]),
        ("conv_depthwise_dilated_stride2", [1, 7, 6, 3, 6, 3], [2, 2, 2, 3]),
    ] {
        let weight = fill(2, &[co, ci / groups, k, k]).permute(FROM_OIHW.as_slice()).unwrap();
        let leaves = [("x", fill(1, &[n, h, w, ci])), ("w", weight), ("b", fill(3, &[co]))];
        let config = Conv2dConfig { stride, padding, dilation, groups };
        let f = |v: &[Var]| ops::conv2d(&v[0], &v[1], Some(&v[2]), config);
        check(name, f, &leaves, &[None, Some(TO_OIHW), None]);
    }
}

#[test]
fn transposed_convolution_equals_pytorch() {
    let weight = fill(2, &[4, 3, 2, 2]).permute((0, 2, 3, 1)).unwrap();
    let leaves = [("x", fill(1, &[2, 3, 5, 4])), ("w", weight), ("b", fill(3, &[3]))];
    let f = |v: &[Var]| ops::conv_transpose2x2(&v[0], &v[1], &v[2]);
    check("conv_transpose", f, &leaves, &[None, Some([0, 3, 1, 2]), None]);
}

#[test]
fn max_pool_with_ties_and_odd_sides_equals_pytorch() {
    let x = (fill(1, &[2, 5, 7, 3]) * 3.0).unwrap();
    let x: Vec<f64> = values(&x).iter().map(|v| v.round_ties_even()).collect();
    let x = Tensor::from_vec(x, (2, 5, 7, 3), &Device::Cpu).unwrap();
    check("max_pool", |v| ops::max_pool2x2(&v[0]), &[("x", x)], &[None]);
}

#[test]
fn upsampling_equals_pytorch() {
    check("upsample", |v| ops::upsample_nearest2x(&v[0]), &[("x", fill(1, &[2, 3, 4, 3]))], &[None]);
}

#[test]
fn bilinear_resampling_equals_pytorch() {
    for (name, [h, w, height, width]) in [
        ("double", [3, 4, 6, 8]),
        ("odd", [3, 5, 8, 7]),
        ("smaller", [5, 7, 3, 2]),
        ("one", [1, 3, 4, 1]),
        ("same", [3, 2, 3, 2]),
    ] {
        for (name, corners) in [(format!("bilinear_{name}"), false), (format!("bilinear_{name}_corners"), true)] {
            let f = |v: &[Var]| ops::upsample_bilinear(&v[0], height, width, corners);
            check(&name, f, &[("x", fill(1, &[1, h, w, 2]))], &[None]);
        }
    }
}

#[test]
fn gelu_equals_pytorch() {
    let mut x: Vec<f64> = values(&fill(1, &[40])).iter().map(|v| v * 8.0).collect();
    x.extend([0.0, -0.0, 1e-9, -1e-300, 6.5, -6.5, 40.0, -40.0]);
    check("gelu", |v| ops::gelu(&v[0]), &[("x", Tensor::new(x, &Device::Cpu).unwrap())], &[None]);
}

#[test]
fn group_norm_equals_pytorch() {
    for (name, [n, h, w, c], groups, relu) in [
        ("group_norm", [2, 3, 4, 6], 3, false),
        ("group_norm_relu", [2, 3, 4, 6], 2, true),
        ("group_norm_whole", [1, 2, 3, 5], 1, false),
    ] {
        let x = fill(1, &[n, h, w, c]).affine(3.0, 10.0).unwrap();
        let leaves = [("x", x), ("g", fill(2, &[c])), ("b", fill(3, &[c]))];
        let f = |v: &[Var]| ops::group_norm(&v[0], &v[1], &v[2], groups, 1e-5, relu);
        check(name, f, &leaves, &[None, None, None]);
    }
}

#[test]
fn batch_norm_equals_pytorch() {
    let x = fill(1, &[2, 5, 3, 4]).affine(3.0, 10.0).unwrap();
    let leaves = [("x", x.clone()), ("g", fill(2, &[4])), ("b", fill(3, &[4]))];
    for (name, relu) in [("batch_norm", false), ("batch_norm_relu", true)] {
        let f = |v: &[Var]| ops::batch_norm(&v[0], &v[1], &v[2], 1e-5, relu).map(|r| r.0);
        check(name, f, &leaves, &[None, None, None]);
    }
    let (_, batch) = ops::batch_norm(&x, &leaves[1].1, &leaves[2].1, 1e-5, false).unwrap();
    let golden = golden("net_ops.safetensors");
    let mean: Vec<f64> = batch.mean.iter().map(|m| 0.1 * m).collect();
    assert_close("mean", &Tensor::new(mean, &Device::Cpu).unwrap(), &golden["batch_norm.running_mean"], 1e-12);
    let variance: Vec<f64> = batch.variance.iter().map(|v| 0.9 + 0.1 * v * 30.0 / 29.0).collect();
    assert_close("variance", &Tensor::new(variance, &Device::Cpu).unwrap(), &golden["batch_norm.running_var"], 1e-12);
}

/// Class numbers as in the script, row 1 of the first image without a label.
fn loss_targets() -> Tensor {
    let mut targets: Vec<u8> =
        values(&fill(4, &[2, 3, 5])).iter().map(|v| (v * 3.0 + 3.0).floor().clamp(0.0, 5.0) as u8).collect();
    targets[5..10].fill(IGNORE);
    Tensor::from_vec(targets, (2, 3, 5), &Device::Cpu).unwrap()
}

#[test]
fn cross_entropy_equals_pytorch() {
    let golden = golden("net_ops.safetensors");
    let weight: Vec<f64> = values(&fill(5, &[6])).iter().map(|w| w.abs()).collect();
    for (name, weighted, smoothing) in
        [("plain", false, 0.0), ("weights", true, 0.0), ("smoothing", false, 0.1), ("both", true, 0.2)]
    {
        let x = Var::from_tensor(&(fill(1, &[2, 3, 5, 6]) * 4.0).unwrap()).unwrap();
        let weights: Option<Vec<f32>> = weighted.then(|| weight.iter().map(|w| *w as f32).collect());
        let loss = ops::softmax_cross_entropy(&x, &loss_targets(), weights.as_deref(), smoothing).unwrap();
        let grads = loss.backward().unwrap();
        // Weights and smoothing are f32 here, f64 there.
        let name = format!("cross_entropy_{name}");
        assert_close(&name, &loss.reshape(1).unwrap(), &golden[&format!("{name}.y")], 1e-7);
        assert_close(&name, grads.get(&x).unwrap(), &golden[&format!("{name}.dx")], 1e-7);
    }
}

/// Compares a loss of logits of seven classes, and its gradient, with the record called `name`.
fn check_loss(name: &str, tolerance: f64, loss: impl Fn(&Tensor) -> Result<Tensor>) {
    let golden = golden("net_ops.safetensors");
    let x = Var::from_tensor(&(fill(1, &[2, 3, 5, 7]) * 4.0).unwrap()).unwrap();
    let y = loss(&x).unwrap();
    let grads = y.backward().unwrap();
    assert_close(name, &y.reshape(1).unwrap(), &golden[&format!("{name}.y")], tolerance);
    assert_close(name, grads.get(&x).unwrap(), &golden[&format!("{name}.dx")], tolerance);
}

#[test]
fn dice_equals_pytorch() {
    let weight: Vec<f32> = values(&fill(5, &[7])).iter().map(|w| w.abs() as f32).collect();
    check_loss("dice_plain", 1e-13, |x| ops::dice_loss(x, &loss_targets(), None, 0.0));
    check_loss("dice_smooth", 1e-13, |x| ops::dice_loss(x, &loss_targets(), None, 1.0));
    // Weights are f32 here, f64 there.
    check_loss("dice_both", 1e-7, |x| ops::dice_loss(x, &loss_targets(), Some(&weight), 0.5));
}

#[test]
fn lovasz_softmax_equals_pytorch() {
    check_loss("lovasz", 1e-13, |x| ops::lovasz_softmax(x, &loss_targets()));
}

struct Net {
    prefix: &'static str,
    config: UNetConfig,
    size: usize,
    /// Whole gradients are recorded, not only their product with a vector and their norm.
    whole: bool,
}

/// Parameters by the script's formula, through the same door as a weights file.
fn formula_model(net: &Net) -> Model {
    let model = Model::new(&ModelConfig::UNet(net.config), 3, 5, 1).unwrap();
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

fn check_net(net: &Net) {
    let golden = golden("net_unet.safetensors");
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

#[test]
fn small_unet_equals_pytorch_in_logits_loss_and_all_gradients() {
    check_net(&Net { prefix: "small", config: UNetConfig { width: 4, depth: 2 }, size: 16, whole: true });
}

#[test]
fn deep_unet_equals_pytorch() {
    check_net(&Net { prefix: "deep", config: UNetConfig { width: 2, depth: 4 }, size: 32, whole: false });
}
