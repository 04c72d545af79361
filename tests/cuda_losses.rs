//! Losses and probabilities on the GPU against those on the CPU.

#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod cuda_device;

use candle_core::{DType, Device, Result, Tensor, Var};
use s2pipe::net::IGNORE;
use s2pipe::net::ops::{self, GradientsOf};
use s2pipe::net::rng::Rng;

/// Pixels and classes: one class, few, more than a warp, more than a block has threads, and pixels for several blocks and
/// several chunks of a sort.
const SIZES: [([usize; 3], usize); 7] = [
    ([1, 1, 1], 2),
    ([2, 3, 5], 1),
    ([2, 9, 11], 6),
    ([1, 7, 5], 37),
    ([1, 3, 3], 300),
    ([2, 57, 41], 3),
    ([1, 80, 70], 8),
];

fn random(seed: u64, dims: &[usize]) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| 2.0 * rng.normal() as f32).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn logits([n, h, w]: [usize; 3], classes: usize, dtype: DType) -> Tensor {
    random(1, &[n, h, w, classes]).to_dtype(dtype).unwrap()
}

/// Some pixels without a label; the last class does not occur where there are more than two.
fn labels(dims: [usize; 3], classes: usize) -> Tensor {
    let used = if classes > 2 { classes.min(255) - 1 } else { classes };
    let mut rng = Rng::new(2);
    let label = |i: usize| if i % 7 == 3 { IGNORE } else { (rng.uniform() * used as f64) as u8 };
    Tensor::from_vec((0..dims.iter().product()).map(label).collect::<Vec<u8>>(), &dims, &Device::Cpu).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    let x = x.to_device(&Device::Cpu).unwrap();
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

type Loss<'a> = &'a dyn Fn(&Tensor, &Tensor) -> Result<Tensor>;

/// Loss and gradient on the CPU, in f32, times `factor`.
fn on_cpu(loss: Loss<'_>, logits: &Tensor, targets: &Tensor, factor: f64) -> (f64, Vec<f64>) {
    let logits = Var::from_tensor(&logits.to_dtype(DType::F32).unwrap()).unwrap();
    let loss = loss(&logits, targets).unwrap();
    let grads = (&loss * factor).unwrap().backward().unwrap();
    (numbers(&loss)[0], numbers(grads.get(&logits).unwrap()))
}

/// The same on the GPU.
fn on_gpu(device: &Device, loss: Loss<'_>, logits: &Tensor, targets: &Tensor, factor: f32) -> (f64, Vec<f64>) {
    let logits = Var::from_tensor(&logits.to_device(device).unwrap()).unwrap();
    let targets = targets.to_device(device).unwrap();
    let recorded = ops::record(&random(0, &[1]), || loss(logits.as_tensor(), &targets)).unwrap();
    let value = numbers(recorded.output())[0];
    let pull = Tensor::new(factor, device).unwrap();
    let gradients = recorded.backward(&pull).unwrap();
    let gradient = gradients.of(&logits).unwrap();
    assert_eq!(gradient.dtype(), logits.dtype());
    (value, numbers(gradient))
}

/// Values of a gradient that are further from each other than a part of the typical one.
fn far(found: &[f64], expected: &[f64], part: f64) -> usize {
    let typical = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64).sqrt();
    let bad = |(f, e): (&f64, &f64)| {
        let error = (f - e).abs();
        error.is_nan() || error > part * typical.max(e.abs()) + 1e-12
    };
    found.iter().zip(expected).filter(|pair| bad(*pair)).count()
}

fn check(name: &str, loss: Loss<'_>, ([n, h, w], classes): ([usize; 3], usize), may_differ: usize) {
    let Some(gpu) = cuda_device::open() else { return };
    let targets = labels([n, h, w], classes);
    for (dtype, part) in [(DType::F32, 1e-4), (DType::BF16, 0.5f64.powi(7))] {
        let name = format!("{name}, {n}x{h}x{w} pixels of {classes} classes, {dtype:?}");
        let logits = logits([n, h, w], classes, dtype);
        let (expected, slopes) = on_cpu(loss, &logits, &targets, 3.0);
        let (found, found_slopes) = on_gpu(&gpu.device(), loss, &logits, &targets, 3.0);
        eprintln!("{name}: {found} {expected}");
        assert!((found - expected).abs() <= 2e-6 * expected.abs(), "{name}: {found}, expected {expected}");
        let far = far(&found_slopes, &slopes, part);
        assert!(far <= may_differ, "{name}: {far} values of the gradient differ");
        let again = on_gpu(&gpu.device(), loss, &logits, &targets, 3.0);
        assert_eq!((found, found_slopes), again, "{name}: another run gives other bits");
    }
}

#[test]
fn cross_entropy() {
    for size in SIZES {
        let weights: Vec<f32> = (0..size.1).map(|c| (c % 3) as f32 + 0.25).collect();
        check("cross-entropy", &|x, t| ops::softmax_cross_entropy(x, t, None, 0.0), size, 0);
        let f = |x: &Tensor, t: &Tensor| ops::softmax_cross_entropy(x, t, Some(&weights), 0.1);
        check("weighted, smoothed cross-entropy", &f, size, 0);
    }
}

#[test]
fn dice() {
    for size in SIZES {
        let weights: Vec<f32> = (0..size.1).map(|c| (c % 3) as f32 + 0.25).collect();
        check("dice", &|x, t| ops::dice_loss(x, t, None, 1.0), size, 0);
        check("weighted dice", &|x, t| ops::dice_loss(x, t, Some(&weights), 0.0), size, 0);
    }
}

#[test]
fn focal() {
    for size in SIZES {
        let weights: Vec<f32> = (0..size.1).map(|c| (c % 3) as f32 + 0.25).collect();
        check("focal", &|x, t| ops::focal_loss(x, t, None, 2.0), size, 0);
        check("weighted focal", &|x, t| ops::focal_loss(x, t, Some(&weights), 0.5), size, 0);
    }
}

#[test]
fn lovasz() {
    for size in SIZES {
        // Errors that are equal but for their last digit may be sorted in the other order.
        check("lovasz", &|x, t| ops::lovasz_softmax(x, t), size, 20);
    }
}

#[test]
fn equal_errors_count_in_the_order_of_the_pixels() {
    let Some(gpu) = cuda_device::open() else { return };
    let logits = Tensor::zeros((1, 1, 3, 2), DType::F32, &Device::Cpu).unwrap();
    let targets = Tensor::from_vec(vec![1u8, IGNORE, 0], (1, 1, 3), &Device::Cpu).unwrap();
    let (loss, gradient) = on_gpu(&gpu.device(), &|x, t| ops::lovasz_softmax(x, t), &logits, &targets, 1.0);
    assert_eq!((loss, gradient), (0.5, vec![0.1875, -0.1875, 0.0, 0.0, -0.0625, 0.0625]));
    // Thousands of them.
    let logits = Tensor::zeros((1, 70, 80, 3), DType::F32, &Device::Cpu).unwrap();
    let targets = labels([1, 70, 80], 3);
    let (_, expected) = on_cpu(&|x, t| ops::lovasz_softmax(x, t), &logits, &targets, 1.0);
    let (_, found) = on_gpu(&gpu.device(), &|x, t| ops::lovasz_softmax(x, t), &logits, &targets, 1.0);
    assert_eq!(far(&found, &expected, 1e-5), 0);
}

const LOSSES: [fn(&Tensor, &Tensor) -> Result<Tensor>; 4] = [
    |x, t| ops::softmax_cross_entropy(x, t, None, 0.1),
    |x, t| ops::dice_loss(x, t, None, 1.0),
    |x, t| ops::lovasz_softmax(x, t),
    |x, t| ops::focal_loss(x, t, None, 2.0),
];

#[test]
fn without_a_label_or_a_weight_loss_and_gradient_are_0() {
    let Some(gpu) = cuda_device::open() else { return };
    let zero = |loss: Loss<'_>, target: u8| {
        let targets = Tensor::from_vec(vec![target; 6], (1, 2, 3), &Device::Cpu).unwrap();
        let (loss, gradient) = on_gpu(&gpu.device(), loss, &random(1, &[1, 2, 3, 3]), &targets, 1.0);
        loss == 0.0 && gradient.iter().all(|g| *g == 0.0)
    };
    for (i, loss) in LOSSES.iter().enumerate() {
        assert!(zero(loss, IGNORE), "loss {i}");
    }
    assert!(zero(&|x, t| ops::softmax_cross_entropy(x, t, Some(&[1.0, 0.0, 1.0]), 0.1), 1));
    assert!(zero(&|x, t| ops::dice_loss(x, t, Some(&[1.0, 0.0, 1.0]), 0.1), 1));
}

#[test]
fn a_target_that_is_no_class_makes_the_loss_nan() {
    let Some(gpu) = cuda_device::open() else { return };
    for (i, loss) in LOSSES.iter().enumerate() {
        for bad in [3, 254] {
            let targets = Tensor::from_vec(vec![0u8, 1, bad, 2, IGNORE, 0], (1, 2, 3), &Device::Cpu).unwrap();
            let (loss, _) = on_gpu(&gpu.device(), loss, &random(1, &[1, 2, 3, 3]), &targets, 1.0);
            assert!(loss.is_nan(), "loss {i}, target {bad}: {loss}");
        }
    }
}

#[test]
fn what_is_no_number_is_seen_at_labelled_pixels_alone() {
    let Some(gpu) = cuda_device::open() else { return };
    let targets = Tensor::from_vec(vec![0u8, IGNORE, 1], (1, 1, 3), &Device::Cpu).unwrap();
    for (i, loss) in LOSSES.iter().enumerate() {
        let at = |bad: usize, value: f32| {
            let mut logits = [0.5f32, 1.0, -1.0, 0.0, 2.0, 1.0];
            logits[bad] = value;
            let logits = Tensor::from_vec(logits.to_vec(), (1, 1, 3, 2), &Device::Cpu).unwrap();
            on_gpu(&gpu.device(), loss, &logits, &targets, 1.0)
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
fn cross_entropy_with_its_gradient_equals_that_of_the_operator() {
    let Some(gpu) = cuda_device::open() else { return };
    let (size, classes) = SIZES[2];
    let (logits, targets) = (logits(size, classes, DType::BF16), labels(size, classes));
    let operator = on_gpu(&gpu.device(), &|x, t| ops::softmax_cross_entropy(x, t, None, 0.1), &logits, &targets, 1.0);
    let [logits, targets] = [logits, targets].map(|t| t.to_device(&gpu.device()).unwrap());
    let (loss, gradient) = ops::softmax_cross_entropy_with_gradient(&logits, &targets, None, 0.1).unwrap();
    assert_eq!((loss.dtype(), gradient.dtype()), (DType::F32, DType::BF16));
    assert_eq!((numbers(&loss)[0], numbers(&gradient)), operator);
}

#[test]
fn a_weighted_sum_is_that_of_the_cpu() {
    let Some(gpu) = cuda_device::open() else { return };
    let terms = |device: &Device| {
        [(1.0, 1), (0.5, 2), (3.0, 3)]
            .map(|(weight, seed)| (weight, random(seed, &[2, 5, 7]).to_device(device).unwrap()))
    };
    let expected = ops::weighted_sum(&terms(&Device::Cpu)).unwrap();
    assert_eq!(numbers(&ops::weighted_sum(&terms(&gpu.device())).unwrap()), numbers(&expected));
}

#[test]
fn probabilities() {
    let Some(gpu) = cuda_device::open() else { return };
    for (size, classes) in SIZES {
        for dtype in [DType::F32, DType::BF16] {
            let logits = logits(size, classes, dtype);
            let expected = numbers(&ops::softmax_channels(&logits.to_dtype(DType::F32).unwrap()).unwrap());
            let found = ops::softmax_channels(&logits.to_device(&gpu.device()).unwrap()).unwrap();
            assert_eq!(found.dtype(), DType::F32);
            let worst = numbers(&found).iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-6, "{classes} classes, {dtype:?}: {worst:.1e}");
        }
    }
}

/// The class of the highest logit, the first of equals.
fn best(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}

#[test]
fn the_confusion_matrix_counts_as_on_the_cpu() {
    let Some(gpu) = cuda_device::open() else { return };
    // The last has more counters than a block has for itself.
    for (pixels, classes) in [(1, 1), (1000, 3), (3000, 6), (500, 70)] {
        for dtype in [DType::F32, DType::BF16] {
            let mut rng = Rng::new(7);
            let logits: Vec<f32> = (0..pixels * classes).map(|_| (rng.uniform() * 8.0).floor() as f32).collect();
            let truth = (0..pixels).map(|i| if i % 5 == 3 { IGNORE } else { (rng.uniform() * classes as f64) as u8 });
            let truth: Vec<u8> = truth.collect();
            let mut expected = vec![0u32; classes * classes];
            for (row, truth) in logits.chunks(classes).zip(&truth).filter(|(_, truth)| **truth != IGNORE) {
                expected[usize::from(*truth) * classes + best(row)] += 2;
            }
            let counts = Tensor::zeros((classes, classes), DType::U32, &gpu.device()).unwrap();
            let logits = Tensor::from_vec(logits, (pixels, classes), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let logits = logits.to_device(&gpu.device()).unwrap();
            let truth = Tensor::from_vec(truth, pixels, &gpu.device()).unwrap();
            for _ in 0..2 {
                ops::count_confusion(&logits, &truth, &counts).unwrap();
            }
            let counts: Vec<u32> = counts.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(counts, expected, "{pixels} pixels, {classes} classes, {dtype:?}");
        }
    }
}
