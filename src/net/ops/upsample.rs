//! Nearest-neighbour doubling. candle's own overwrites gradients that other consumers of its input had added.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda::image;
use super::element::{Element, dims4, host, slice, with_float};
use super::tape;

const NAME: &str = "upsample_nearest2x";

/// Repeats each pixel of `x: [N, H, W, C]` twice along both axes; gives `[N, 2H, 2W, C]`.
///
/// # Errors
/// A tensor that is no image, or a type that is no float.
pub fn upsample_nearest2x(x: &Tensor) -> Result<Tensor> {
    tape::apply1(&x.contiguous()?, UpsampleNearest2x)
}

struct UpsampleNearest2x;

fn forward<T: Element>([n, h, w, c]: [usize; 4], x: &[T]) -> Vec<T> {
    let mut y = vec![T::ZERO; 4 * n * h * w * c];
    y.par_chunks_mut(4 * w * c).zip(x.par_chunks(w * c)).for_each(|(rows, x)| {
        let (top, bottom) = rows.split_at_mut(2 * w * c);
        for (pair, x) in top.chunks_exact_mut(2 * c).zip(x.chunks_exact(c)) {
            pair[..c].copy_from_slice(x);
            pair[c..].copy_from_slice(x);
        }
        bottom.copy_from_slice(top);
    });
    y
}

fn backward<T: Element>([n, h, w, c]: [usize; 4], dy: &[T]) -> Vec<T> {
    let mut dx = vec![T::ZERO; n * h * w * c];
    dx.par_chunks_mut(w * c).zip(dy.par_chunks(4 * w * c)).for_each(|(dx, rows)| {
        let (top, bottom) = rows.split_at(2 * w * c);
        for (pixel, dx) in dx.chunks_exact_mut(c).enumerate() {
            for (i, dx) in dx.iter_mut().enumerate() {
                let at = 2 * pixel * c + i;
                *dx = (top[at] + top[at + c]) + (bottom[at] + bottom[at + c]);
            }
        }
    });
    dx
}

impl CustomOp1 for UpsampleNearest2x {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let [n, h, w, c] = dims4(NAME, layout)?;
        let y = with_float!(NAME, x.dtype(), T => {
            let y = forward::<T>([n, h, w, c], slice(NAME, x, layout)?);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, Shape::from((n, 2 * h, 2 * w, c))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        image::nearest(NAME, x, layout, dims4(NAME, layout)?)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dims = dims4(NAME, x.layout())?;
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return image::nearest_gradient(NAME, x, &dy).map(Some);
        }
        let hdy = host(NAME, &dy);
        with_float!(NAME, x.dtype(), T => {
            Tensor::from_vec(backward::<T>(dims, hdy.slice()?), x.shape(), x.device()).map(Some)
        })
    }
}
