//! Transposed 2x2 convolution with stride 2: doubles height and width. Its windows do not overlap, so it is one matrix
//! product and a rearrangement.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::chunks;
use super::element::{Element, dims4, host, same_dtype, slice, with_float};
use super::matmul::{Into, Mat, matmul};
use super::tape;

const NAME: &str = "conv_transpose2x2";

/// `y[n, 2h+i, 2w+j, :] = x[n, h, w, :] * W[:, i, j, :] + bias` from `x: [N, H, W, Ci]`, `w: [Ci, 2, 2, Co]` and
/// `bias: [Co]`; gives `[N, 2H, 2W, Co]`.
///
/// # Errors
/// Shapes that do not fit, operands of different or non-float types.
pub fn conv_transpose2x2(x: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    same_dtype(NAME, &[x, w, bias])?;
    let op = ConvTranspose2x2 { want_dx: tape::needs_gradient(x) };
    tape::apply3(&x.contiguous()?, &w.contiguous()?, &bias.contiguous()?, op)
}

struct ConvTranspose2x2 {
    want_dx: bool,
}

/// Sizes: `rows` counts the input's rows over the batch.
#[derive(Clone, Copy)]
struct Geometry {
    rows: usize,
    width: usize,
    channels: usize,
    out_channels: usize,
}

impl Geometry {
    fn new(x: [usize; 4], w: [usize; 4]) -> Result<Self> {
        let [n, height, width, channels] = x;
        match w {
            [ci, 2, 2, out_channels] if ci == channels => Ok(Self { rows: n * height, width, channels, out_channels }),
            _ => bail!("{NAME}: weights {w:?} ([in, 2, 2, out]) do not fit an input {x:?} ([N, H, W, in])"),
        }
    }

    /// Values of one input row, and of the two output rows below it.
    fn row_values(&self) -> (usize, usize) {
        (self.width * self.channels, 4 * self.width * self.out_channels)
    }

    /// Input rows in a tile of about 512 pixels.
    fn tile_rows(&self) -> usize {
        (512 / self.width.max(1)).max(1)
    }
}

fn forward<T: Element>(g: &Geometry, x: &[T], w: &[T], bias: &[T]) -> Vec<T> {
    let (in_row, out_row) = g.row_values();
    let weights = Mat::new(w, g.channels, 4 * g.out_channels);
    let tile = g.tile_rows();
    let mut y = vec![T::ZERO; g.rows * out_row];
    y.par_chunks_mut(tile * out_row).zip(x.par_chunks(tile * in_row)).for_each_init(Vec::new, |block, (y, x)| {
        block.resize(y.len(), T::ZERO);
        let pixels = x.len() / g.channels;
        matmul(block, Into::Set, Mat::new(x, pixels, g.channels), weights);
        spread(g, block, bias, y);
    });
    y
}

/// `[pixel, i, j, channel]` of some input rows to output rows `[row, i, pixel, j, channel]`, plus the bias.
fn spread<T: Element>(g: &Geometry, block: &[T], bias: &[T], y: &mut [T]) {
    let pair = 2 * g.out_channels;
    let (_, out_row) = g.row_values();
    for (block, y) in block.chunks_exact(out_row).zip(y.chunks_exact_mut(out_row)) {
        for (i, y) in y.chunks_exact_mut(g.width * pair).enumerate() {
            for (pixel, y) in y.chunks_exact_mut(pair).enumerate() {
                let src = &block[(2 * pixel + i) * pair..][..pair];
                for (y, src) in y.chunks_exact_mut(bias.len()).zip(src.chunks_exact(bias.len())) {
                    for ((y, s), b) in y.iter_mut().zip(src).zip(bias) {
                        *y = *s + *b;
                    }
                }
            }
        }
    }
}

/// The inverse of [`spread`], without the bias.
fn collect<T: Element>(g: &Geometry, dy: &[T], block: &mut [T]) {
    let pair = 2 * g.out_channels;
    let (_, out_row) = g.row_values();
    for (block, dy) in block.chunks_exact_mut(out_row).zip(dy.chunks_exact(out_row)) {
        for (i, dy) in dy.chunks_exact(g.width * pair).enumerate() {
            for (pixel, dy) in dy.chunks_exact(pair).enumerate() {
                block[(2 * pixel + i) * pair..][..pair].copy_from_slice(dy);
            }
        }
    }
}

/// Gradients of the input (zeros where not asked for) and of the weights.
fn backward<T: Element>(g: &Geometry, x: &[T], w: &[T], dy: &[T], want_dx: bool) -> (Vec<T>, Vec<T>) {
    let (in_row, out_row) = g.row_values();
    let weights = Mat::new(w, g.channels, 4 * g.out_channels);
    let tile = g.tile_rows();
    // Sixteen partial sums, however many threads there are: the order of the sum is part of the result.
    let group = g.rows.div_ceil(tile).div_ceil(16).max(1) * tile;
    let mut dx = vec![T::ZERO; g.rows * in_row];
    let partial = dx
        .par_chunks_mut(group * in_row)
        .zip(x.par_chunks(group * in_row))
        .zip(dy.par_chunks(group * out_row))
        .map(|((dx, x), dy)| {
            let mut block = Vec::new();
            let mut dw = vec![T::ZERO; w.len()];
            let tiles = dx.chunks_mut(tile * in_row).zip(x.chunks(tile * in_row)).zip(dy.chunks(tile * out_row));
            for ((dx, x), dy) in tiles {
                block.resize(dy.len(), T::ZERO);
                collect(g, dy, &mut block);
                let pixels = x.len() / g.channels;
                let block = Mat::new(&block, pixels, 4 * g.out_channels);
                if want_dx {
                    matmul(dx, Into::Set, block, weights.t());
                }
                matmul(&mut dw, Into::Add, Mat::new(x, pixels, g.channels).t(), block);
            }
            dw
        })
        .collect();
    (dx, chunks::sum(partial))
}

impl CustomOp3 for ConvTranspose2x2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let [n, height, width, _] = dims4(NAME, xl)?;
        let g = Geometry::new(dims4(NAME, xl)?, dims4(NAME, wl)?)?;
        if bl.dims() != [g.out_channels] {
            bail!("{NAME}: the bias is {:?}, expected one value for each of {} channels", bl.dims(), g.out_channels);
        }
        let shape = Shape::from((n, 2 * height, 2 * width, g.out_channels));
        let y = with_float!(NAME, x.dtype(), T => {
            let y = forward::<T>(&g, slice(NAME, x, xl)?, slice(NAME, w, wl)?, slice(NAME, b, bl)?);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = Geometry::new(dims4(NAME, x.layout())?, dims4(NAME, w.layout())?)?;
        let dy = dy.contiguous()?;
        let db = chunks::column_sums_of(NAME, &dy)?;
        let (hx, hw, hdy) = (host(NAME, x), host(NAME, w), host(NAME, &dy));
        with_float!(NAME, x.dtype(), T => {
            let (dx, dw) = backward::<T>(&g, hx.slice()?, hw.slice()?, hdy.slice()?, self.want_dx);
            let dx = if self.want_dx { Some(Tensor::from_vec(dx, x.shape(), x.device())?) } else { None };
            Ok((dx, Some(Tensor::from_vec(dw, w.shape(), w.device())?), Some(db)))
        })
    }
}
