//! Group normalisation, with the rectifier that follows it fused in.
//!
//! An image is normalised as a batch of its own (`batch_norm.rs`), with the statistics of a group's channels joined. With
//! `m` values in a group and `xhat = (x - mean) / sqrt(var + eps)` (Wu & He 2018, section 3):
//! `dx = (gamma * dy - mean of gamma * dy - xhat * mean of gamma * dy * xhat) / sqrt(var + eps)`, means over the group.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::batch_norm::{Affine, BatchStatistics, Saved, scale_and_shift, statistics};
use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda::norm::Norm;
use super::element::{Element, dims4, host, same_types, slice, with_float};
use super::simd;
use super::tape;

const NAME: &str = "group_norm";

/// Normalises each image of `x: [N, H, W, C]` over its pixels and over each of `groups` equal runs of channels (biased
/// variance, `eps` added to it), scales by `gamma: [C]`, shifts by `beta: [C]`, and with `relu` sets what is negative then
/// to 0.
///
/// # Errors
/// Groups that do not divide the channels, shapes that do not fit, operands of different or non-float types.
pub fn group_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, groups: usize, eps: f64, relu: bool) -> Result<Tensor> {
    same_types(NAME, x, &[gamma, beta])?;
    let op = GroupNorm {
        groups,
        eps,
        relu,
        statistics: OnceLock::new(),
        #[cfg(feature = "cuda")]
        on_gpu: OnceLock::new(),
    };
    tape::apply3(&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?, op)
}

struct GroupNorm {
    groups: usize,
    eps: f64,
    relu: bool,
    /// One an image: each channel has its group's.
    statistics: OnceLock<Vec<BatchStatistics>>,
    /// The same, where they stay on a GPU.
    #[cfg(feature = "cuda")]
    on_gpu: OnceLock<Tensor>,
}

/// Gives every channel the statistics of its group. Squares are around the group's mean: a mean far from 0 costs no
/// digits.
fn join_groups(found: &BatchStatistics, groups: usize) -> BatchStatistics {
    let per_group = found.mean.len() / groups;
    let (mut mean, mut variance) = (Vec::new(), Vec::new());
    for (means, variances) in found.mean.chunks_exact(per_group).zip(found.variance.chunks_exact(per_group)) {
        let centre = means.iter().sum::<f64>() / per_group as f64;
        let spread: f64 = means.iter().zip(variances).map(|(m, v)| v + (m - centre) * (m - centre)).sum();
        mean.resize(mean.len() + per_group, centre);
        variance.resize(variance.len() + per_group, spread / per_group as f64);
    }
    BatchStatistics { mean, variance, count: found.count * per_group }
}

/// Each group's sum of `scale * values`, divided by the values that a group has in an image: a value a group.
fn group_means<T: Element>(scale: &[T], values: &[T], groups: usize, count: usize) -> Vec<f64> {
    let products: Vec<f64> = scale.iter().zip(values).map(|(s, v)| s.to_f64() * v.to_f64()).collect();
    products.chunks_exact(scale.len() / groups).map(|group| group.iter().sum::<f64>() / count as f64).collect()
}

impl GroupNorm {
    /// Refuses groups that do not divide the channels.
    fn check(&self, channels: usize) -> Result<()> {
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            bail!("{NAME}: {channels} channels cannot be cut into {} equal groups", self.groups);
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn norm(&self, dims: [usize; 4]) -> Norm {
        Norm::of_groups(NAME, dims, self.groups, self.eps, self.relu)
    }

    fn forward<T: Element>(&self, x: &[T], image: usize, gamma: &[T], beta: &[T]) -> Vec<T> {
        let find = |x: &[T]| join_groups(&statistics(x, gamma.len()), self.groups);
        let found = self.statistics.get_or_init(|| x.par_chunks_exact(image).map(find).collect());
        let mut y = vec![T::ZERO; x.len()];
        y.par_chunks_exact_mut(image).zip(x.par_chunks_exact(image)).zip(found).for_each(|((y, x), found)| {
            let (scale, shift) = scale_and_shift(found, &found.inverse_deviation(self.eps), gamma, beta);
            let (affine, step) = (Affine::new(&scale, &shift, self.relu), chunks::rows(gamma.len()) * gamma.len());
            y.par_chunks_mut(step).zip(x.par_chunks(step)).for_each(|(y, x)| affine.write(x, y));
        });
        y
    }

    /// One image's gradient into `dx`; gives what the image adds to those of `gamma` and `beta`.
    fn backward_image<T: Element>(
        &self,
        operands: [&[T]; 2],
        found: &BatchStatistics,
        (gamma, beta): (&[T], &[T]),
        dx: &mut [T],
    ) -> (Vec<T>, Vec<T>) {
        let inverse = found.inverse_deviation::<T>(self.eps);
        let (scale, shift) = scale_and_shift(found, &inverse, gamma, beta);
        let saved = Saved::new(operands, found, (&scale, &shift), self.relu);
        let (dbeta, dot) = saved.sums();
        let mean_dy = group_means(&scale, &dbeta, self.groups, found.count);
        let mean_dot = group_means(&scale, &dot, self.groups, found.count);
        let per_group = gamma.len() / self.groups;
        let b = |(c, i): (usize, &T)| T::from_f64(-mean_dot[c / per_group] * i.to_f64() * i.to_f64());
        let b: Vec<T> = inverse.iter().enumerate().map(b).collect();
        let c: Vec<T> = (0..gamma.len()).map(|c| T::from_f64(-mean_dy[c / per_group])).collect();
        let (slopes, step) = ([&scale, &b, &c].map(|v| simd::repeat(v)), chunks::rows(gamma.len()) * gamma.len());
        dx.par_chunks_mut(step).enumerate().for_each(|(number, dx)| saved.write_dx(&slopes, number * step, dx));
        (dot.iter().zip(&inverse).map(|(d, i)| *d * *i).collect(), dbeta)
    }

    fn backward<T: Element>(&self, x: &Tensor, gamma: &Tensor, beta: &Tensor, dy: &Tensor) -> Result<[Tensor; 3]> {
        let Some(found) = self.statistics.get() else { bail!("{NAME}: backward before forward") };
        let image = x.elem_count() / found.len();
        let (hx, hg, hb, hdy) = (host(NAME, x), host(NAME, gamma), host(NAME, beta), host(NAME, dy));
        let (hx, hdy, parameters) = (hx.slice::<T>()?, hdy.slice::<T>()?, (hg.slice::<T>()?, hb.slice::<T>()?));
        let mut dx = vec![T::ZERO; hx.len()];
        let images = hx.par_chunks_exact(image).zip(hdy.par_chunks_exact(image)).zip(found);
        let parts = dx.par_chunks_exact_mut(image).zip(images);
        let (dgamma, dbeta) = parts
            .map(|(dx, ((x, dy), found))| self.backward_image([x, dy], found, parameters, dx))
            .collect::<(Vec<_>, Vec<_>)>();
        Ok([
            Tensor::from_vec(dx, x.shape(), x.device())?,
            Tensor::from_vec(chunks::sum(dgamma), gamma.shape(), x.device())?,
            Tensor::from_vec(chunks::sum(dbeta), gamma.shape(), x.device())?,
        ])
    }
}

impl CustomOp3 for GroupNorm {
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
        let [n, h, w, channels] = dims4(NAME, xl)?;
        if n * h * w * channels == 0 || gl.dims() != [channels] || bl.dims() != [channels] {
            bail!("{NAME}: gamma {:?} and beta {:?} do not fit an input {:?}", gl.dims(), bl.dims(), xl.dims());
        }
        self.check(channels)?;
        let image = h * w * channels;
        let y = with_float!(NAME, x.dtype(), T => {
            let (gamma, beta) = (slice::<T>(NAME, gamma, gl)?, slice::<T>(NAME, beta, bl)?);
            T::to_cpu_storage_owned(self.forward(slice(NAME, x, xl)?, image, gamma, beta))
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
        let dims = dims4(NAME, xl)?;
        self.check(dims[3])?;
        self.norm(dims).forward((x, xl), (gamma, gl), (beta, bl), &self.on_gpu)
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dgamma, dbeta] = self.norm(dims4(NAME, x.layout())?).backward(x, &dy, &self.on_gpu)?;
            return Ok((Some(dx), Some(dgamma), Some(dbeta)));
        }
        let [dx, dgamma, dbeta] = with_float!(NAME, x.dtype(), T => self.backward::<T>(x, gamma, beta, &dy))?;
        Ok((Some(dx), Some(dgamma), Some(dbeta)))
    }
}
