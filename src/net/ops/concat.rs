//! Concatenation along the channels.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda::image;
use super::element::{Element, dims4, host, same_dtype, slice, with_float};
use super::scratch::in_chunks;
use super::tape;

const NAME: &str = "concat_channels";

/// `[N, H, W, A]` and `[N, H, W, B]` to `[N, H, W, A + B]`.
///
/// # Errors
/// Images of different sizes, operands of different or non-float types.
pub fn concat_channels(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    same_dtype(NAME, &[a, b])?;
    tape::apply2(&a.contiguous()?, &b.contiguous()?, ConcatChannels)
}

struct ConcatChannels;

fn join<T: Element>(a: &[T], b: &[T], ca: usize, cb: usize) -> Vec<T> {
    let step = chunks::rows(ca + cb);
    in_chunks(a.len() + b.len(), step * (ca + cb), |number, y| {
        let (a, b) = (&a[number * step * ca..], &b[number * step * cb..]);
        for ((y, a), b) in y.chunks_exact_mut(ca + cb).zip(a.chunks_exact(ca)).zip(b.chunks_exact(cb)) {
            y[..ca].copy_from_slice(a);
            y[ca..].copy_from_slice(b);
        }
    })
}

/// Channels `from..from + count` of `dy`, which has `channels`.
fn part<T: Element>(dy: &[T], channels: usize, (from, count): (usize, usize)) -> Vec<T> {
    let step = chunks::rows(channels);
    in_chunks(dy.len() / channels * count, step * count, |number, part| {
        let dy = &dy[number * step * channels..];
        for (part, dy) in part.chunks_exact_mut(count).zip(dy.chunks_exact(channels)) {
            part.copy_from_slice(&dy[from..from + count]);
        }
    })
}

/// Refuses images that do not lie on each other.
fn same_size(a: [usize; 3], b: [usize; 3]) -> Result<()> {
    if a != b {
        bail!("{NAME}: images of {a:?} and {b:?} do not lie on each other");
    }
    Ok(())
}

impl CustomOp2 for ConcatChannels {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ([n, h, w, ca], [nb, hb, wb, cb]) = (dims4(NAME, al)?, dims4(NAME, bl)?);
        same_size([n, h, w], [nb, hb, wb])?;
        let y = with_float!(NAME, a.dtype(), T => {
            let y = join::<T>(slice(NAME, a, al)?, slice(NAME, b, bl)?, ca, cb);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, Shape::from((n, h, w, ca + cb))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        let (dims, [nb, hb, wb, cb]) = (dims4(NAME, al)?, dims4(NAME, bl)?);
        let [n, h, w, _] = dims;
        same_size([n, h, w], [nb, hb, wb])?;
        image::concat(NAME, (a, al), (b, bl), dims, cb)
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ([.., ca], [.., cb]) = (dims4(NAME, a.layout())?, dims4(NAME, b.layout())?);
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if dy.device().is_cuda() {
            let (da, db) = image::split(NAME, a, b, &dy)?;
            return Ok((Some(da), Some(db)));
        }
        let hdy = host(NAME, &dy);
        with_float!(NAME, a.dtype(), T => {
            let dy = hdy.slice()?;
            let (da, db) = (part::<T>(dy, ca + cb, (0, ca)), part::<T>(dy, ca + cb, (ca, cb)));
            Ok((
                Some(Tensor::from_vec(da, a.shape(), a.device())?),
                Some(Tensor::from_vec(db, b.shape(), b.device())?),
            ))
        })
    }
}
