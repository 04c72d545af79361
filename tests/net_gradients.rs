//! Every operator's gradient against central differences in f64.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod gradient_kit;

use candle_core::{DType, Device, Result, Tensor, Var};
use gradient_kit::{STEP, check, check_linear, check_with, random, spread};
use s2pipe::net::IGNORE;
use s2pipe::net::ops::{self, Conv2dConfig};

#[test]
fn convolution() {
    for (n, h, w, ci, co, k, stride, padding) in [
        (1, 1, 1, 1, 1, 3, 1, 1),
        (1, 5, 7, 1, 1, 3, 1, 1),
        (2, 4, 3, 37, 5, 3, 1, 1),
        (1, 3, 5, 2, 37, 3, 1, 1),
        (2, 5, 6, 3, 4, 3, 2, 1),
        (1, 7, 7, 2, 3, 3, 2, 0),
        (1, 6, 4, 2, 2, 5, 3, 2),
        (2, 3, 3, 4, 6, 1, 1, 0),
        (1, 5, 4, 3, 2, 1, 2, 0),
        // Kernels that tile the image, and once not quite; for one part of the sum and for several.
        (1, 2, 2, 1, 1, 2, 2, 0),
        (2, 6, 9, 5, 4, 3, 3, 0),
        (1, 7, 8, 2, 3, 2, 2, 0),
        (3, 36, 4, 2, 3, 2, 2, 0),
        // Large enough for several tiles, and for several groups of tiles.
        (2, 48, 41, 3, 4, 3, 1, 1),
    ] {
        let inputs = [random(1, &[n, h, w, ci]), random(2, &[k, k, ci, co]), random(3, &[co])];
        let config = Conv2dConfig { stride, padding, ..Conv2dConfig::default() };
        let name = format!("conv2d {n}x{h}x{w}x{ci} to {co}, kernel {k}, {config:?}");
        check_linear(&name, |v| ops::conv2d(&v[0], &v[1], Some(&v[2]), config), &inputs);
        check_linear(&name, |v| ops::conv2d(&v[0], &v[1], None, config), &inputs[..2]);
    }
}

#[test]
fn dilated_and_grouped_convolution() {
    for ([n, h, w, ci, co, k], [stride, padding, dilation, groups]) in [
        ([1, 1, 1, 1, 1, 3], [1, 2, 2, 1]),
        ([2, 7, 5, 3, 2, 3], [1, 3, 3, 1]),
        ([1, 9, 8, 2, 3, 3], [2, 2, 2, 1]),
        ([1, 7, 9, 37, 1, 3], [2, 0, 3, 1]),
        ([2, 5, 3, 6, 4, 3], [1, 1, 1, 2]),
        ([1, 6, 7, 4, 6, 5], [3, 4, 2, 2]),
        ([1, 5, 4, 74, 2, 1], [2, 1, 1, 2]),
        // Depthwise: in all block widths, with several outputs a channel, on several rows of partial sums.
        ([1, 1, 1, 2, 2, 3], [1, 1, 1, 2]),
        ([1, 5, 7, 37, 37, 3], [1, 1, 1, 37]),
        ([2, 6, 5, 41, 41, 3], [2, 2, 2, 41]),
        ([1, 7, 5, 5, 10, 3], [2, 1, 1, 5]),
        ([1, 4, 3, 37, 74, 1], [1, 0, 1, 37]),
        ([1, 8, 6, 3, 3, 2], [1, 3, 5, 3]),
        ([2, 37, 5, 2, 2, 5], [1, 2, 1, 2]),
    ] {
        let inputs = [random(1, &[n, h, w, ci]), random(2, &[k, k, ci / groups, co]), random(3, &[co])];
        let config = Conv2dConfig { stride, padding, dilation, groups };
        let name = format!("conv2d {n}x{h}x{w}x{ci} to {co}, kernel {k}, {config:?}");
        check_linear(&name, |v| ops::conv2d(&v[0], &v[1], Some(&v[2]), config), &inputs);
        check_linear(&name, |v| ops::conv2d(&inputs[0], &v[0], Some(&v[1]), config), &inputs[1..]);
    }
}

#[test]
fn bilinear_resampling() {
    for ([n, h, w, c], [height, width]) in [
        ([1, 1, 1, 1], [3, 2]),
        ([1, 3, 5, 1], [6, 10]),
        ([2, 3, 2, 37], [7, 5]),
        ([1, 7, 9, 2], [3, 4]),
        ([1, 5, 4, 3], [1, 9]),
        ([1, 5, 4, 3], [5, 4]),
    ] {
        for corners in [false, true] {
            let name = format!("upsample_bilinear {n}x{h}x{w}x{c} to {height}x{width}, corners {corners}");
            check_linear(&name, |v| ops::upsample_bilinear(&v[0], height, width, corners), &[random(1, &[n, h, w, c])]);
        }
    }
}

#[test]
fn gaussian_error_unit() {
    for shape in [[1, 1, 1, 1], [2, 5, 7, 3], [1, 3, 2, 37]] {
        check("gelu", |v| ops::gelu(&v[0]), &[random(1, &shape).affine(2.0, 0.0).unwrap()]);
    }
}

#[test]
fn group_normalisation() {
    for (shape, groups) in [
        ([1, 3, 5, 1], 1),
        ([2, 4, 3, 37], 1),
        ([2, 3, 2, 37], 37),
        ([3, 1, 2, 6], 3),
        ([1, 1, 1, 8], 2),
        ([1, 60, 50, 6], 2),
    ] {
        let channels = shape[3];
        let x = random(1, &shape).affine(2.0, 5.0).unwrap();
        let inputs = [x.clone(), random(2, &[channels]), random(3, &[channels])];
        let name = format!("group_norm {shape:?}, {groups} groups");
        check(&name, |v| ops::group_norm(&v[0], &v[1], &v[2], groups, 1e-5, false), &inputs);
        // A shift that is large against the step keeps the rectifier's kink away from every value that is checked.
        let inputs = [x, random(2, &[channels]), random(4, &[channels]).affine(0.0, 0.1).unwrap()];
        check(&name, |v| ops::group_norm(&v[0], &v[1], &v[2], groups, 1e-5, true), &inputs);
    }
}

#[test]
fn convolution_of_an_input_that_needs_no_gradient() {
    let x = random(1, &[2, 33, 30, 3]);
    let inputs = [random(2, &[3, 3, 3, 4]), random(3, &[4])];
    check_linear("conv2d, weights only", |v| ops::conv2d(&x, &v[0], Some(&v[1]), Conv2dConfig::same(3)), &inputs);
}

#[test]
fn convolution_of_two_images() {
    for (n, h, w, ca, cb, co) in [(1, 5, 7, 16, 3, 2), (2, 6, 5, 32, 16, 5), (1, 4, 4, 3, 2, 37)] {
        let inputs = [random(1, &[n, h, w, ca]), random(2, &[n, h, w, cb]), random(3, &[3, 3, ca + cb, co])];
        check_linear("conv2d_joined", |v| ops::conv2d_joined(&v[0], &v[1], &v[2], Conv2dConfig::same(3)), &inputs);
    }
}

#[test]
fn transposed_convolution() {
    for (n, h, w, ci, co) in [
        (1, 1, 1, 1, 1),
        (2, 3, 5, 4, 3),
        (1, 2, 3, 37, 2),
        (1, 3, 1, 2, 37),
        (1, 40, 30, 2, 2),
        (1, 2, 8, 16, 8),
        (2, 1, 32, 8, 12),
    ] {
        let inputs = [random(1, &[n, h, w, ci]), random(2, &[ci, 2, 2, co]), random(3, &[co])];
        check_linear("conv_transpose2x2", |v| ops::conv_transpose2x2(&v[0], &v[1], &v[2]), &inputs);
    }
}

#[test]
fn pooling_upsampling_rectifier_concatenation() {
    for shape in [[1, 2, 2, 1], [2, 5, 7, 3], [1, 4, 6, 37]] {
        check("max_pool2x2", |v| ops::max_pool2x2(&v[0]), &[spread(1, &shape)]);
        check("upsample_nearest2x", |v| ops::upsample_nearest2x(&v[0]), &[random(1, &shape)]);
        check("relu", |v| ops::relu(&v[0]), &[spread(1, &shape)]);
        let [n, h, w, _] = shape;
        let inputs = [random(1, &shape), random(2, &[n, h, w, 5])];
        check("concat_channels", |v| ops::concat_channels(&v[0], &v[1]), &inputs);
    }
}

#[test]
fn sums_and_means() {
    for shape in [[1, 1, 1, 1], [2, 5, 7, 3], [1, 40, 37, 12]] {
        // Hundredths and a half of one: neither a sum nor a value of the second is nearer to 0 than that half.
        let inputs = [spread(1, &shape), spread(2, &shape).affine(2.0, 0.005).unwrap()];
        check_linear("add", |v| ops::add(&v[0], &v[1], false), &inputs);
        // Straight on both sides of the kink: a step that stays on one may be large.
        check_with("add, relu", |v| ops::add(&v[0], &v[1], true), &inputs, (1e-3, 1e-8));
        check_with("an image and itself", |v| ops::add(&v[0], &v[0], true), &inputs[1..], (1e-3, 1e-8));
        check_linear("mean_pool", |v| ops::mean_pool(&v[0]), &[random(1, &shape)]);
    }
}

#[test]
fn gradients_of_two_consumers_add_up() {
    let f = |v: &[Tensor]| {
        let up = ops::upsample_nearest2x(&v[0])?;
        ops::concat_channels(&ops::max_pool2x2(&up)?, &ops::relu(&v[0])?)
    };
    check("shared input", f, &[spread(1, &[1, 3, 5, 2])]);
}

#[test]
fn batch_normalisation() {
    for shape in [[1, 3, 5, 1], [2, 4, 3, 37], [3, 1, 2, 4], [1, 60, 50, 7]] {
        let channels = shape[3];
        let x = random(1, &shape).affine(2.0, 5.0).unwrap();
        let inputs = [x, random(2, &[channels]), random(3, &[channels])];
        check("batch_norm", |v| ops::batch_norm(&v[0], &v[1], &v[2], 1e-5, false).map(|r| r.0), &inputs);
        // A shift that is large against the step keeps the rectifier's kink away from every value that is checked.
        let beta = random(4, &[channels]).affine(0.0, 0.1).unwrap();
        let inputs = [inputs[0].clone(), inputs[1].clone(), beta];
        check("batch_norm, relu", |v| ops::batch_norm(&v[0], &v[1], &v[2], 1e-5, true).map(|r| r.0), &inputs);
    }
}

#[test]
fn cross_entropy() {
    for (classes, weights, smoothing) in [
        (6, None, 0.0),
        (2, Some(vec![0.3, 2.0]), 0.0),
        (6, Some(vec![1.0, 0.0, 2.0, 0.5, 1.0, 3.0]), 0.1),
        (1, None, 0.5),
    ] {
        let targets: Vec<u8> = (0..2 * 3 * 5u8).map(|i| if i % 7 == 3 { IGNORE } else { i % classes }).collect();
        let targets = Tensor::from_vec(targets, (2, 3, 5), &Device::Cpu).unwrap();
        let f = |v: &[Tensor]| ops::softmax_cross_entropy(&v[0], &targets, weights.as_deref(), smoothing);
        check("softmax_cross_entropy", f, &[random(1, &[2, 3, 5, classes.into()])]);
        // A loss that is a part of a sum: the fused gradient must scale.
        check("3 * softmax_cross_entropy", |v| f(v)? * 3.0, &[random(1, &[2, 3, 5, classes.into()])]);
    }
}

#[test]
fn without_a_label_the_loss_and_its_gradient_are_zero() {
    let logits = Var::from_tensor(&random(1, &[1, 2, 2, 3])).unwrap();
    let unlabelled = Tensor::from_vec(vec![IGNORE; 4], (1, 2, 2), &Device::Cpu).unwrap();
    let weightless = Tensor::from_vec(vec![1u8; 4], (1, 2, 2), &Device::Cpu).unwrap();
    for (targets, weights) in [(&unlabelled, None), (&weightless, Some([1.0, 0.0, 1.0].as_slice()))] {
        let loss = ops::softmax_cross_entropy(&logits, targets, weights, 0.1).unwrap();
        assert_eq!(loss.to_scalar::<f64>().unwrap(), 0.0);
        let grads = loss.backward().unwrap();
        let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(grad, vec![0.0; 12]);
    }
}

/// Class numbers of `2 * 3 * 5` pixels: some without a label, and none of the last class where there are more than two.
fn labels(classes: u8) -> Tensor {
    let used = if classes > 2 { classes - 1 } else { classes };
    let targets: Vec<u8> = (0..2 * 3 * 5u8).map(|i| if i % 7 == 3 { IGNORE } else { i / 2 % used }).collect();
    Tensor::from_vec(targets, (2, 3, 5), &Device::Cpu).unwrap()
}

#[test]
fn dice() {
    for (classes, weights, smooth) in
        [(6, None, 1.0), (2, Some(vec![0.3, 2.0]), 0.0), (3, Some(vec![0.0, 2.0, 1.0]), 0.5), (1, None, 0.0)]
    {
        let targets = labels(classes);
        let f = |v: &[Tensor]| ops::dice_loss(&v[0], &targets, weights.as_deref(), smooth);
        check_with("dice_loss", f, &[random(1, &[2, 3, 5, classes.into()])], (1e-4, 1e-8));
        check("30 * dice_loss", |v| f(v)? * 30.0, &[random(1, &[2, 3, 5, classes.into()])]);
    }
}

#[test]
fn focal() {
    for (classes, weights, gamma) in [
        (6, None, 2.0),
        (2, Some(vec![0.3, 2.0]), 0.5),
        (3, Some(vec![0.0, 2.0, 1.0]), 1.0),
        (6, None, 0.0),
        (1, None, 2.0),
    ] {
        let targets = labels(classes);
        let f = |v: &[Tensor]| ops::focal_loss(&v[0], &targets, weights.as_deref(), gamma);
        check("focal_loss", f, &[random(1, &[2, 3, 5, classes.into()])]);
        check("30 * focal_loss", |v| f(v)? * 30.0, &[random(1, &[2, 3, 5, classes.into()])]);
    }
}

#[test]
fn focal_loss_of_pixels_that_are_right_is_0_and_of_those_that_are_wrong_finite() {
    // More certain than the type can tell from 1; for a gamma below 1 the second power of the slope is then infinite.
    for (target, gamma) in [(0u8, 0.5), (0, 2.0), (1, 0.5), (1, 2.0)] {
        for dtype in [DType::F32, DType::F64] {
            let logits = Tensor::new(&[[1000.0f64, 0.0]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let targets = Tensor::new(&[target], &Device::Cpu).unwrap();
            let (loss, gradient) = both(|x| ops::focal_loss(x, &targets, None, gamma), &logits);
            let expected = if target == 0 { (0.0, [0.0, 0.0]) } else { (1000.0, [1.0, -1.0]) };
            assert_eq!((loss, gradient), (expected.0, expected.1.to_vec()), "{target} {gamma} {dtype:?}");
        }
    }
}

#[test]
fn losses_with_their_gradient_have_the_bits_of_the_operators() {
    let (logits, targets) = (random(1, &[2, 3, 5, 6]), labels(6));
    let weights = [1.0, 0.5, 3.0, 0.0, 1.0, 2.0].as_slice();
    type Pair = Result<(Tensor, Tensor)>;
    let same = |found: Pair, operator: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let (loss, gradient) = found.unwrap();
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!((loss.to_scalar::<f64>().unwrap(), gradient), both(operator, &logits));
    };
    let x = &logits;
    same(ops::softmax_cross_entropy_with_gradient(x, &targets, Some(weights), 0.1), &|x| {
        ops::softmax_cross_entropy(x, &targets, Some(weights), 0.1)
    });
    same(ops::focal_loss_with_gradient(x, &targets, Some(weights), 1.5), &|x| {
        ops::focal_loss(x, &targets, Some(weights), 1.5)
    });
    same(ops::dice_loss_with_gradient(x, &targets, None, 1.0), &|x| ops::dice_loss(x, &targets, None, 1.0));
    same(ops::lovasz_softmax_with_gradient(x, &targets), &|x| ops::lovasz_softmax(x, &targets));
}

#[test]
fn lovasz_softmax() {
    for classes in [6, 2, 3, 1] {
        let targets = labels(classes);
        // Random errors are far enough from each other that a step changes no order.
        let f = |v: &[Tensor]| ops::lovasz_softmax(&v[0], &targets);
        check_with("lovasz_softmax", f, &[random(1, &[2, 3, 5, classes.into()])], (STEP, 1e-8));
        check("30 * lovasz_softmax", |v| f(v)? * 30.0, &[random(1, &[2, 3, 5, classes.into()])]);
    }
}

/// Value and gradient of a loss.
fn both(loss: impl Fn(&Tensor) -> Result<Tensor>, logits: &Tensor) -> (f64, Vec<f64>) {
    let logits = Var::from_tensor(logits).unwrap();
    let loss = loss(&logits).unwrap();
    let grads = loss.backward().unwrap();
    let numbers = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    (numbers(&loss)[0], numbers(grads.get(&logits).unwrap()))
}

#[test]
fn overlap_losses_without_labels_or_choice_are_zero() {
    let all_zero = |(loss, gradient): (f64, Vec<f64>)| loss == 0.0 && gradient.iter().all(|g| *g == 0.0);
    let logits = random(1, &[1, 2, 2, 3]);
    let unlabelled = Tensor::from_vec(vec![IGNORE; 4], (1, 2, 2), &Device::Cpu).unwrap();
    assert!(all_zero(both(|x| ops::dice_loss(x, &unlabelled, None, 0.0), &logits)));
    assert!(all_zero(both(|x| ops::focal_loss(x, &unlabelled, None, 2.0), &logits)));
    assert!(all_zero(both(|x| ops::lovasz_softmax(x, &unlabelled), &logits)));
    let ones = Tensor::from_vec(vec![1u8; 4], (1, 2, 2), &Device::Cpu).unwrap();
    assert!(all_zero(both(|x| ops::dice_loss(x, &ones, Some(&[1.0, 0.0, 1.0]), 1.0), &logits)));
    // With one class every pixel is right.
    let single = random(1, &[2, 3, 5, 1]);
    assert!(all_zero(both(|x| ops::dice_loss(x, &labels(1), None, 1.0), &single)));
    assert!(all_zero(both(|x| ops::lovasz_softmax(x, &labels(1)), &single)));
}

#[test]
fn overlap_losses_of_equal_errors_are_known() {
    // Both classes have probability 1/2 everywhere: all errors are equal, and pixels count in their order.
    let logits = Tensor::zeros((1, 1, 3, 2), DType::F64, &Device::Cpu).unwrap();
    let targets = Tensor::from_vec(vec![1u8, IGNORE, 0], (1, 1, 3), &Device::Cpu).unwrap();
    let (loss, gradient) = both(|x| ops::lovasz_softmax(x, &targets), &logits);
    assert!((loss - 0.5).abs() < 1e-15, "{loss}");
    // Class 0 sees its false pixel first (1 / 2), then its own (1 / 2); class 1 its own (1), then nothing more.
    let expected = [0.1875, -0.1875, 0.0, 0.0, -0.0625, 0.0625];
    assert!(gradient.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{gradient:?}");
    let (loss, _) = both(|x| ops::dice_loss(x, &targets, None, 0.0), &logits);
    assert!((loss - 0.5).abs() < 1e-15, "{loss}");
}

#[test]
fn losses_see_what_is_no_number_at_labelled_pixels_alone() {
    let targets = Tensor::from_vec(vec![0u8, IGNORE, 1], (1, 1, 3), &Device::Cpu).unwrap();
    let losses: [fn(&Tensor, &Tensor) -> Result<Tensor>; 4] = [
        |x, t| ops::softmax_cross_entropy(x, t, None, 0.1),
        |x, t| ops::dice_loss(x, t, None, 1.0),
        |x, t| ops::focal_loss(x, t, None, 2.0),
        |x, t| ops::lovasz_softmax(x, t),
    ];
    for (i, loss) in losses.iter().enumerate() {
        let at = |bad: usize, value: f32| {
            let mut logits = [0.5f32, 1.0, -1.0, 0.0, 2.0, 1.0];
            logits[bad] = value;
            let logits = Tensor::from_vec(logits.to_vec(), (1, 1, 3, 2), &Device::Cpu).unwrap();
            both(|x| loss(x, &targets), &logits)
        };
        for bad in [0, 1, 4, 5] {
            assert!(at(bad, f32::NAN).0.is_nan(), "loss {i}, value {bad}");
            let (loss, gradient) = at(bad, 1e30);
            assert!(loss.is_finite() && gradient.iter().all(|g| g.is_finite()), "loss {i}, value {bad}");
        }
        let (loss, gradient) = at(2, f32::NAN);
        assert!(loss.is_finite() && gradient.iter().all(|g| g.is_finite()), "loss {i}");
        assert_eq!(gradient[2..4], [0.0, 0.0], "loss {i}");
    }
}

#[test]
fn f32_losses_are_near_those_of_f64() {
    let logits = random(1, &[2, 60, 50, 7]).affine(5.0, 0.0).unwrap();
    let targets: Vec<u8> = (0..6000u32).map(|i| if i % 11 == 3 { IGNORE } else { (i * i % 6) as u8 }).collect();
    let targets = Tensor::from_vec(targets, (2, 60, 50), &Device::Cpu).unwrap();
    let losses: [fn(&Tensor, &Tensor) -> Result<Tensor>; 5] = [
        |x, t| ops::softmax_cross_entropy(x, t, None, 0.0),
        |x, t| ops::softmax_cross_entropy(x, t, Some(&[1.0, 0.5, 3.0, 0.0, 1.0, 2.0, 1.0]), 0.1),
        |x, t| ops::dice_loss(x, t, None, 1.0),
        |x, t| ops::focal_loss(x, t, None, 2.0),
        |x, t| ops::lovasz_softmax(x, t),
    ];
    for (i, loss) in losses.iter().enumerate() {
        // The same numbers in both types.
        let single = logits.to_dtype(DType::F32).unwrap();
        let (expected, slopes) = both(|x| loss(x, &targets), &single.to_dtype(DType::F64).unwrap());
        let (found, found_slopes) = both(|x| loss(x, &targets), &single);
        assert!((found - expected).abs() < 1e-6 * expected, "loss {i}: {found} {expected}");
        let largest = slopes.iter().fold(0.0f64, |m, s| m.max(s.abs()));
        // Where two errors are equal in f32 alone, the orders differ.
        let far = slopes.iter().zip(&found_slopes).filter(|(a, b)| (*a - *b).abs() > 1e-5 * largest).count();
        assert!(far <= if i == 3 { 60 } else { 0 }, "loss {i}: {far} values of the gradient differ");
    }
}

#[test]
fn overlap_losses_refuse_what_does_not_fit() {
    let logits = random(1, &[1, 1, 2, 3]);
    let targets = |values: [u8; 2]| Tensor::from_vec(values.to_vec(), (1, 1, 2), &Device::Cpu).unwrap();
    for (expected, result) in [
        ("dice_loss: a target is 7", ops::dice_loss(&logits, &targets([0, 7]), None, 1.0)),
        ("dice_loss: needs 3 class weights", ops::dice_loss(&logits, &targets([0, 1]), Some(&[1.0]), 1.0)),
        ("dice_loss: smooth must be", ops::dice_loss(&logits, &targets([0, 1]), None, -1.0)),
        ("dice_loss: smooth must be", ops::dice_loss(&logits, &targets([0, 1]), None, f32::NAN)),
        ("focal_loss: a target is 7", ops::focal_loss(&logits, &targets([0, 7]), None, 1.0)),
        ("focal_loss: needs 3 class weights", ops::focal_loss(&logits, &targets([0, 1]), Some(&[1.0]), 1.0)),
        ("focal_loss: gamma must be", ops::focal_loss(&logits, &targets([0, 1]), None, -0.5)),
        ("focal_loss: gamma must be", ops::focal_loss(&logits, &targets([0, 1]), None, f32::INFINITY)),
        ("lovasz_softmax: a target is 3", ops::lovasz_softmax(&logits, &targets([3, 0]))),
        ("lovasz_softmax: targets are", ops::lovasz_softmax(&logits, &logits)),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn cross_entropy_of_huge_logits_stays_finite() {
    let logits = Tensor::from_vec(vec![1e30f32, -1e30, 0.0, 3e4, 3e4, -3e4], (1, 1, 2, 3), &Device::Cpu).unwrap();
    let logits = Var::from_tensor(&logits).unwrap();
    let targets = Tensor::from_vec(vec![0u8, 2], (1, 1, 2), &Device::Cpu).unwrap();
    let loss = ops::softmax_cross_entropy(&logits, &targets, None, 0.0).unwrap();
    let expected = (6e4 + 2f64.ln()) / 2.0;
    assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - expected).abs() < 1e-2);
    let grads = loss.backward().unwrap();
    let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(grad, [0.0, 0.0, 0.0, 0.25, 0.25, -0.5]);
}

#[test]
fn targets_beyond_the_classes_are_refused() {
    let logits = random(1, &[1, 1, 2, 3]);
    let targets = Tensor::from_vec(vec![0u8, 3], (1, 1, 2), &Device::Cpu).unwrap();
    let error = ops::softmax_cross_entropy(&logits, &targets, None, 0.0).unwrap_err().to_string();
    assert!(error.contains("a target is 3") && error.contains("only 3 classes"), "{error}");
}
