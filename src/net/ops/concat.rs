//! Concatenation along the channels.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::chunks;
use super::element::{Element, dims4, host, same_dtype, slice, with_float};
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
    let mut y = vec![T::ZERO; a.len() + b.len()];
    y.par_chunks_mut(step * (ca + cb)).zip(a.par_chunks(step * ca)).zip(b.par_chunks(step * cb)).for_each(
        |((y, a), b)| {
            for ((y, a), b) in y.chunks_exact_mut(ca + cb).zip(a.chunks_exact(ca)).zip(b.chunks_exact(cb)) {
                y[..ca].copy_from_slice(a);
                y[ca..].copy_from_slice(b);
            }
        },
    );
    y
}

fn split<T: Element>(dy: &[T], ca: usize, cb: usize) -> (Vec<T>, Vec<T>) {
    let pixels = dy.len() / (ca + cb);
    let step = chunks::rows(ca + cb);
    let (mut da, mut db) = (vec![T::ZERO; pixels * ca], vec![T::ZERO; pixels * cb]);
    dy.par_chunks(step * (ca + cb)).zip(da.par_chunks_mut(step * ca)).zip(db.par_chunks_mut(step * cb)).for_each(
        |((dy, da), db)| {
            for ((dy, da), db) in dy.chunks_exact(ca + cb).zip(da.chunks_exact_mut(ca)).zip(db.chunks_exact_mut(cb)) {
                da.copy_from_slice(&dy[..ca]);
                db.copy_from_slice(&dy[ca..]);
            }
        },
    );
    (da, db)
}

impl CustomOp2 for ConcatChannels {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ([n, h, w, ca], [nb, hb, wb, cb]) = (dims4(NAME, al)?, dims4(NAME, bl)?);
        if [n, h, w] != [nb, hb, wb] {
            bail!("{NAME}: images of {:?} and {:?} do not lie on each other", al.dims(), bl.dims());
        }
        let y = with_float!(NAME, a.dtype(), T => {
            let y = join::<T>(slice(NAME, a, al)?, slice(NAME, b, bl)?, ca, cb);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, Shape::from((n, h, w, ca + cb))))
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ([.., ca], [.., cb]) = (dims4(NAME, a.layout())?, dims4(NAME, b.layout())?);
        let dy = dy.contiguous()?;
        let hdy = host(NAME, &dy);
        with_float!(NAME, a.dtype(), T => {
            let (da, db) = split::<T>(hdy.slice()?, ca, cb);
            Ok((
                Some(Tensor::from_vec(da, a.shape(), a.device())?),
                Some(Tensor::from_vec(db, b.shape(), b.device())?),
            ))
        })
    }
}
