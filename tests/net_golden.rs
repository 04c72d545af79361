//! Operators and whole networks against PyTorch. `tests/golden/net_ops.py` made the values.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod golden_kit;

use candle_core::{Device, Result, Tensor, Var};
use golden_kit::{Net, TO_OIHW, assert_close, check_net, fill, golden, values};
use s2pipe::net::ops::{self, Conv2dConfig};
use s2pipe::net::{IGNORE, ModelConfig, UNetConfig};

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

/// `[out, in, kh, kw]` to `[kh, kw, in, out]`.
const FROM_OIHW: [usize; 4] = [2, 3, 1, 0];

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

fn unet(prefix: &'static str, config: UNetConfig, size: usize) -> Net {
    Net { file: "net_unet.safetensors", prefix, config: ModelConfig::UNet(config), size, whole: false }
}

#[test]
fn small_unet_equals_pytorch_in_logits_loss_and_all_gradients() {
    check_net(&Net { whole: true, ..unet("small", UNetConfig::new(4, 2), 16) });
}

#[test]
fn deep_unet_equals_pytorch() {
    check_net(&unet("deep", UNetConfig::new(2, 4), 32));
}
