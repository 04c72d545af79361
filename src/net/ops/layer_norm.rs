//! Layer normalisation: each pixel over its own channels.
//!
//! With `m` channels and `xhat = (x - mean) / sqrt(var + eps)`, statistics over a pixel's channels (Ba, Kiros, Hinton 2016):
//! `y = gamma * xhat + beta`, `dgamma = sum dy * xhat`, `dbeta = sum dy`, both over the pixels, and
//! `dx = (gamma * dy - mean of gamma * dy - xhat * mean of gamma * dy * xhat) / sqrt(var + eps)`, means over the channels.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda;
use super::element::{Element, host, same_types, slice, with_float};
use super::scratch::in_chunks;
use super::simd;
use super::tape;

const NAME: &str = "layer_norm";

/// Normalises each pixel of `x: [.., C]` over its channels (biased variance, `eps` added to it), scales by `gamma: [C]` and
/// shifts by `beta: [C]`.
///
/// # Errors
/// Shapes that do not fit, operands of different or non-float types.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    same_types(NAME, x, &[gamma, beta])?;
    let op = LayerNorm {
        eps,
        #[cfg(feature = "cuda")]
        statistics: std::sync::OnceLock::new(),
    };
    tape::apply3(&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?, op)
}

struct LayerNorm {
    eps: f64,
    /// Of every pixel, where it is on a GPU.
    #[cfg(feature = "cuda")]
    statistics: std::sync::OnceLock<Tensor>,
}

/// Sum of `f` over the places of a row. By lanes in a fixed order: one sum after the other would wait for each.
#[inline(always)]
fn total<T: Element>(count: usize, f: impl Fn(usize) -> T) -> T {
    const LANES: usize = 16;
    let mut lanes = [T::ZERO; LANES];
    let whole = count / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(first + lane);
        }
    }
    (whole..count).fold(lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane), |sum, at| sum + f(at))
}

/// Mean and inverse deviation of one pixel. Squares are around the mean: a mean far from 0 costs no digits.
#[inline(always)]
fn statistics<T: Element>(x: &[T], eps: f64) -> (T, T) {
    let share = T::from_f64(1.0 / x.len() as f64);
    let mean = total(x.len(), |c| x[c]) * share;
    let variance = total(x.len(), |c| (x[c] - mean) * (x[c] - mean)) * share;
    (mean, T::from_f64(1.0 / (variance.to_f64() + eps).sqrt()))
}

fn forward<T: Element>(x: &[T], gamma: &[T], beta: &[T], eps: f64) -> Vec<T> {
    let channels = gamma.len();
    let step = chunks::rows(channels) * channels;
    in_chunks(x.len(), step, |number, y| {
        simd::dispatch(|| {
            for (y, x) in y.chunks_exact_mut(channels).zip(x[number * step..].chunks_exact(channels)) {
                let (mean, inverse) = statistics(x, eps);
                for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                    *y = (*x - mean) * inverse * *gamma + *beta;
                }
            }
        });
    })
}

/// One pixel's gradient, and what the pixel adds to those of gamma and beta.
#[inline(always)]
fn backward_pixel<T: Element>([x, dy, gamma]: [&[T]; 3], eps: f64, dx: &mut [T], [dgamma, dbeta]: [&mut [T]; 2]) {
    let (mean, inverse) = statistics(x, eps);
    let share = T::from_f64(1.0 / x.len() as f64);
    let mean_dy = total(x.len(), |c| gamma[c] * dy[c]) * share;
    let mean_dot = total(x.len(), |c| gamma[c] * dy[c] * ((x[c] - mean) * inverse)) * share;
    let inputs = x.iter().zip(dy).zip(gamma);
    for (((dx, ((x, dy), gamma)), dgamma), dbeta) in dx.iter_mut().zip(inputs).zip(dgamma).zip(dbeta) {
        let normal = (*x - mean) * inverse;
        *dx = (*gamma * *dy - mean_dy - normal * mean_dot) * inverse;
        *dgamma += *dy * normal;
        *dbeta += *dy;
    }
}

/// Gradients of the image, of gamma and of beta.
fn backward<T: Element>(x: &[T], gamma: &[T], dy: &[T], eps: f64) -> [Vec<T>; 3] {
    let channels = gamma.len();
    let step = chunks::rows(channels) * channels;
    let mut dx = vec![T::ZERO; x.len()];
    let parts = dx.par_chunks_mut(step).zip(x.par_chunks(step)).zip(dy.par_chunks(step)).map(|((dx, x), dy)| {
        let mut sums = vec![T::ZERO; 2 * channels];
        let (dgamma, dbeta) = sums.split_at_mut(channels);
        simd::dispatch(|| {
            let pixels = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
            for (dx, (x, dy)) in dx.chunks_exact_mut(channels).zip(pixels) {
                backward_pixel([x, dy, gamma], eps, dx, [&mut *dgamma, &mut *dbeta]);
            }
        });
        sums
    });
    let mut dgamma = chunks::sum(parts.collect());
    let dbeta = dgamma.split_off(channels);
    [dx, dgamma, dbeta]
}

/// Refuses parameters that are not a value a channel.
fn check(x: &Layout, gamma: &Layout, beta: &Layout) -> Result<()> {
    let channels = x.dims().last().copied().unwrap_or(0);
    if x.shape().elem_count() == 0 || gamma.dims() != [channels] || beta.dims() != [channels] {
        bail!("{NAME}: gamma {:?} and beta {:?} do not fit an input {:?}", gamma.dims(), beta.dims(), x.dims());
    }
    Ok(())
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gl: &Layout,
        beta: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        check(xl, gl, bl)?;
        let y = with_float!(NAME, x.dtype(), T => {
            let (gamma, beta) = (slice::<T>(NAME, gamma, gl)?, slice::<T>(NAME, beta, bl)?);
            T::to_cpu_storage_owned(forward(slice(NAME, x, xl)?, gamma, beta, self.eps))
        });
        Ok((y, xl.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        gamma: &CudaStorage,
        gl: &Layout,
        beta: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        check(xl, gl, bl)?;
        cuda::layer_norm::forward((x, xl), (gamma, gl), (beta, bl), self.eps, &self.statistics)
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        _beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dgamma, dbeta] = cuda::layer_norm::backward(x, gamma, &dy, &self.statistics)?;
            return Ok((Some(dx), Some(dgamma), Some(dbeta)));
        }
        let (hx, hgamma, hdy) = (host(NAME, x), host(NAME, gamma), host(NAME, &dy));
        with_float!(NAME, x.dtype(), T => {
            let [dx, dgamma, dbeta] = backward::<T>(hx.slice()?, hgamma.slice()?, hdy.slice()?, self.eps);
            let parameter = |values| Tensor::from_vec(values, gamma.shape(), x.device()).map(Some);
            let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
            Ok((Some(dx), parameter(dgamma)?, parameter(dbeta)?))
        })
    }
}
