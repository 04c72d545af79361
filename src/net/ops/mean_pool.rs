//! Mean over all pixels of an image: what a network knows of the whole of it.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda::image;
use super::element::{Element, dims4, host, slice, with_float};
use super::scratch::in_chunks;
use super::tape;

const NAME: &str = "mean_pool";

/// Mean of each channel over all pixels of an image: `[N, H, W, C]` to `[N, 1, 1, C]`.
///
/// # Errors
/// A tensor that is no image, an image without pixels, a type that is no float.
pub fn mean_pool(x: &Tensor) -> Result<Tensor> {
    tape::apply1(&x.contiguous()?, MeanPool)
}

struct MeanPool;

/// Sums come from chunks of rows, so that a large image costs no more digits than a row of it.
fn forward<T: Element>([n, h, w, c]: [usize; 4], x: &[T]) -> Vec<T> {
    let share = T::from_f64(1.0 / (h * w) as f64);
    let mean = |image: &[T]| chunks::column_sums(image, c).into_iter().map(|sum| sum * share).collect::<Vec<T>>();
    let means: Vec<Vec<T>> = x.par_chunks(h * w * c).map(mean).collect();
    debug_assert_eq!(means.len(), n, "an image a chunk");
    means.concat()
}

/// Every pixel has the same share in the mean.
fn backward<T: Element>([n, h, w, c]: [usize; 4], dy: &[T]) -> Vec<T> {
    let share = T::from_f64(1.0 / (h * w) as f64);
    let scaled: Vec<T> = dy.iter().map(|d| *d * share).collect();
    in_chunks(n * h * w * c, w * c, |row, dx| {
        let of_image = &scaled[row / h * c..][..c];
        dx.chunks_exact_mut(c).for_each(|pixel| pixel.copy_from_slice(of_image));
    })
}

/// Refuses images that have no mean.
fn check(dims: [usize; 4]) -> Result<()> {
    if dims.contains(&0) {
        bail!("{NAME}: needs pixels to take the mean of, got an image {dims:?} ([batch, height, width, channel])");
    }
    Ok(())
}

impl CustomOp1 for MeanPool {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dims = dims4(NAME, layout)?;
        check(dims)?;
        let y = with_float!(NAME, x.dtype(), T => {
            T::to_cpu_storage_owned(forward::<T>(dims, slice(NAME, x, layout)?))
        });
        Ok((y, Shape::from((dims[0], 1, 1, dims[3]))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let dims = dims4(NAME, layout)?;
        check(dims)?;
        image::mean_pool(NAME, x, layout, dims)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dims = dims4(NAME, x.layout())?;
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return image::mean_pool_gradient(NAME, x, &dy).map(Some);
        }
        let hdy = host(NAME, &dy);
        with_float!(NAME, x.dtype(), T => {
            Tensor::from_vec(backward::<T>(dims, hdy.slice()?), x.shape(), x.device()).map(Some)
        })
    }
}
