//! Gaussian error linear unit, in its exact form.
//!
//! `y = x * F(x)` with the normal distribution `F(x) = erfc(-x / sqrt(2)) / 2`, and `dy/dx = F(x) + x * f(x)` with its
//! density `f(x) = exp(-x^2 / 2) / sqrt(2 pi)` (Hendrycks & Gimpel 2016, section 2).

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda::pointwise;
use super::element::{Element, host, slice, with_float};
use super::simd;
use super::tape;

const NAME: &str = "gelu";

/// `x * F(x)` of any shape, `F` the standard normal distribution; PyTorch's `gelu` without approximation.
///
/// # Errors
/// A type that is no float.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    tape::apply1(&x.contiguous()?, Gelu)
}

struct Gelu;

/// `F(x)`. By the complement of the error function: `1 + erf` has no digits left where `x` is far below 0.
#[inline(always)]
fn distribution<T: Element>(x: T) -> T {
    (x * T::from_f64(-FRAC_1_SQRT_2)).erfc() * T::from_f64(0.5)
}

fn forward<T: Element>(x: &[T]) -> Vec<T> {
    let step = chunks::rows(1);
    let mut y = vec![T::ZERO; x.len()];
    y.par_chunks_mut(step).zip(x.par_chunks(step)).for_each(|(y, x)| {
        simd::dispatch(|| {
            for (y, x) in y.iter_mut().zip(x) {
                *y = *x * distribution(*x);
            }
        });
    });
    y
}

fn backward<T: Element>(x: &[T], dy: &[T]) -> Vec<T> {
    let (step, height) = (chunks::rows(1), T::from_f64(1.0 / (2.0 * PI).sqrt()));
    let mut dx = vec![T::ZERO; x.len()];
    dx.par_chunks_mut(step).zip(x.par_chunks(step)).zip(dy.par_chunks(step)).for_each(|((dx, x), dy)| {
        simd::dispatch(|| {
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                let density = (*x * *x * T::from_f64(-0.5)).exp() * height;
                *dx = *dy * (distribution(*x) + *x * density);
            }
        });
    });
    dx
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = with_float!(NAME, x.dtype(), T => {
            T::to_cpu_storage_owned(forward::<T>(slice(NAME, x, layout)?))
        });
        Ok((y, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        pointwise::map(NAME, "gelu", x, layout)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return pointwise::gradient(NAME, "gelu_gradient", x, &dy).map(Some);
        }
        let (hx, hdy) = (host(NAME, x), host(NAME, &dy));
        with_float!(NAME, x.dtype(), T => {
            Tensor::from_vec(backward::<T>(hx.slice()?, hdy.slice()?), x.shape(), x.device()).map(Some)
        })
    }
}
