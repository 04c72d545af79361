//! Gradients against central differences in f64.
#![allow(dead_code, reason = "each test file uses a part of this")]

use candle_core::{Device, Result, Tensor, Var};
use s2pipe::net::rng::Rng;

/// How far a value is moved where nothing else is said.
pub(crate) const STEP: f64 = 1e-6;

pub(crate) fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Values at least 0.01 from 0 and from each other, so that a step crosses no kink of a rectifier or a maximum.
pub(crate) fn spread(seed: u64, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let mut values: Vec<f64> = (0..count).map(|i| (i as f64 - count as f64 / 2.0 + 0.5) * 0.02).collect();
    let mut rng = Rng::new(seed);
    for i in (1..count).rev() {
        values.swap(i, (rng.uniform() * (i + 1) as f64) as usize);
    }
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// `sum(f(inputs) * fixed random)`: a scalar that every output value moves.
pub(crate) fn score(f: &impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) -> Result<Tensor> {
    let y = f(inputs)?;
    (&y * random(1234, y.dims()))?.sum_all()
}

/// Compares each input's gradient, value by value, with `(score(v + h) - score(v - h)) / 2h`.
pub(crate) fn check(name: &str, f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    check_with(name, f, inputs, (STEP, 1e-6));
}

/// For what is linear in each input: differences are then exact for any step, and a large one drowns no digits.
pub(crate) fn check_linear(name: &str, f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    check_with(name, f, inputs, (0.5, 1e-10));
}

pub(crate) fn check_with(
    name: &str,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    (step, tolerance): (f64, f64),
) {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let grads = score(&f, &tracked).unwrap().backward().unwrap();
    for (which, var) in vars.iter().enumerate() {
        let grad = grads.get(var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let base = inputs[which].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let at = |i: usize, h: f64| {
            let mut moved = base.clone();
            moved[i] += h;
            let mut inputs = inputs.to_vec();
            inputs[which] = Tensor::from_vec(moved, inputs[which].shape(), &Device::Cpu).unwrap();
            score(&f, &inputs).unwrap().to_scalar::<f64>().unwrap()
        };
        // Every value of small inputs, an even sample of large ones.
        for i in (0..base.len()).step_by(base.len().div_ceil(150)) {
            let expected = (at(i, step) - at(i, -step)) / (2.0 * step);
            let error = (grad[i] - expected).abs() / expected.abs().max(1.0);
            assert!(error < tolerance, "{name}, input {which}, value {i}: {} but differences say {expected}", grad[i]);
        }
    }
}
