//! The losses: their gradients against central differences in f64, and what they make of pixels without a label.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod gradient_kit;

use candle_core::{DType, Device, Result, Tensor, Var};
use gradient_kit::{STEP, check, check_with, random};
use s2pipe::net::IGNORE;
use s2pipe::net::ops;

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
