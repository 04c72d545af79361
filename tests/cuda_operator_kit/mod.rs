//! An operator on the GPU against itself on the CPU.
#![allow(dead_code, reason = "each test file uses a part of this")]

use candle_core::{DType, Device, Result, Tensor, Var};
use s2pipe::net::ops::{self, GradientsOf};
use s2pipe::net::rng::Rng;

use crate::cuda_device;

pub(crate) fn random(seed: u64, dims: &[usize]) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| rng.normal() as f32).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// The same numbers for both sides: what `dtype` can hold.
pub(crate) fn rounded(x: &Tensor, dtype: DType) -> Tensor {
    x.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap()
}

pub(crate) fn numbers(x: &Tensor) -> Vec<f32> {
    let x = x.to_device(&Device::Cpu).unwrap();
    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Root of the mean square.
pub(crate) fn typical(values: &[f32]) -> f64 {
    (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

pub(crate) fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 1e-4 } else { 0.5f64.powi(7) }
}

/// The largest error, against a typical value or the value itself, whichever is larger.
pub(crate) fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let typical = typical(expected).max(f64::MIN_POSITIVE);
    let errors = found.iter().zip(expected).map(|(f, e)| {
        let scale = typical.max(f64::from(e.abs()));
        if f.is_nan() == e.is_nan() { (f64::from(*f) - f64::from(*e)).abs() / scale } else { f64::INFINITY }
    });
    errors.fold(0.0, |worst, error| if error > worst { error } else { worst })
}

pub(crate) type Network<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// The result, and the gradients of the inputs given that of the result.
pub(crate) fn run(f: Network<'_>, inputs: &[Tensor], pull: Option<&Tensor>) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let recorded = ops::record(&random(0, &[1]), || f(&tensors)).unwrap();
    let y = recorded.output().clone();
    let pull = match pull {
        Some(pull) => pull.clone(),
        None => random(99, y.dims()).to_dtype(y.dtype()).unwrap().to_device(y.device()).unwrap(),
    };
    let gradients = recorded.backward(&pull).unwrap();
    let gradients = vars.iter().map(|var| gradients.of(var).unwrap().clone());
    std::iter::once(y).chain(gradients).collect()
}

/// Compares result and gradients of an operator on images (the first `images` inputs, of `dtype` on the GPU) and f32
/// parameters. Errors may be `factor` times as large as those of one rounding.
pub(crate) fn check_as(name: &str, f: Network<'_>, inputs: &[Tensor], images: usize, (dtype, factor): (DType, f64)) {
    let Some(gpu) = cuda_device::open() else { return };
    let types = |i: usize| if i < images { dtype } else { DType::F32 };
    let cpu: Vec<Tensor> = inputs.iter().enumerate().map(|(i, t)| rounded(t, types(i))).collect();
    let on_gpu = |(i, t): (usize, &Tensor)| t.to_dtype(types(i)).unwrap().to_device(&gpu.device()).unwrap();
    let on_gpu: Vec<Tensor> = cpu.iter().enumerate().map(on_gpu).collect();
    let dims = f(&cpu).unwrap().dims().to_vec();
    let pull = random(99, &dims).to_dtype(dtype).unwrap();
    let expected = run(f, &cpu, Some(&pull.to_dtype(DType::F32).unwrap()));
    let pull = pull.to_device(&gpu.device()).unwrap();
    let found = run(f, &on_gpu, Some(&pull));
    for (which, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.dims(), expected.dims());
        let error = error(&numbers(found), &numbers(expected));
        eprintln!("{name} {dtype:?}, result {which}: {error:.1e}");
        assert!(error < factor * tolerance(dtype), "{name} {dtype:?}, result {which}: {error:.1e}");
    }
    let again = run(f, &on_gpu, Some(&pull));
    for (first, second) in found.iter().zip(&again) {
        assert_eq!(bits(first), bits(second), "{name} {dtype:?}: another run gives other bits");
    }
}

pub(crate) fn bits(x: &Tensor) -> Vec<u32> {
    numbers(x).iter().map(|v| v.to_bits()).collect()
}

pub(crate) fn check(name: &str, f: Network<'_>, inputs: &[Tensor], images: usize) {
    for dtype in [DType::F32, DType::BF16] {
        check_as(name, f, inputs, images, (dtype, 1.0));
    }
}
