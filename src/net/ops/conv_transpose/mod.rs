//! Transposed 2x2 convolution with stride 2: doubles height and width.
//!
//! Its windows do not overlap, and the two output pixels of one input pixel in one output row lie side by side: each output row
//! is a matrix product by itself (`rows`). Sizes that do not fit whole vectors take a detour (`general`).

mod general;
mod rows;

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda::conv::transposed;
use super::element::{dims4, host, same_types, slice, with_float};
use super::tape;

const NAME: &str = "conv_transpose2x2";

/// `y[n, 2h+i, 2w+j, :] = x[n, h, w, :] * W[:, i, j, :] + bias` from `x: [N, H, W, Ci]`, `w: [Ci, 2, 2, Co]` and
/// `bias: [Co]`; gives `[N, 2H, 2W, Co]`.
///
/// # Errors
/// Shapes that do not fit, operands of different or non-float types.
pub fn conv_transpose2x2(x: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    same_types(NAME, x, &[w, bias])?;
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

    fn check_bias(&self, bias: &Layout) -> Result<()> {
        if bias.dims() != [self.out_channels] {
            bail!(
                "{NAME}: the bias is {:?}, expected one value for each of {} channels",
                bias.dims(),
                self.out_channels
            );
        }
        Ok(())
    }

    /// Values of one input row, and of the two output rows below it.
    fn row_values(&self) -> (usize, usize) {
        (self.width * self.channels, 4 * self.width * self.out_channels)
    }

    /// Input rows in a tile of about 512 pixels.
    fn tile_rows(&self) -> usize {
        (512 / self.width.max(1)).max(1)
    }

    /// Input rows in each of sixteen groups of tiles, however many threads there are: the order of a sum over pixels is
    /// part of the result.
    fn group_rows(&self) -> usize {
        self.rows.div_ceil(self.tile_rows()).div_ceil(16).max(1) * self.tile_rows()
    }
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
        g.check_bias(bl)?;
        let shape = Shape::from((n, 2 * height, 2 * width, g.out_channels));
        let y = with_float!(NAME, x.dtype(), T => {
            let y = rows::forward::<T>(&g, slice(NAME, x, xl)?, slice(NAME, w, wl)?, slice(NAME, b, bl)?);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let g = Geometry::new(dims4(NAME, xl)?, dims4(NAME, wl)?)?;
        g.check_bias(bl)?;
        transposed::forward((x, xl), (w, wl), (b, bl))
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
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dw, db] = transposed::backward(x, w, &dy)?;
            return Ok((Some(dx), Some(dw), Some(db)));
        }
        let db = chunks::column_sums_of(NAME, &dy)?;
        let (hx, hw, hdy) = (host(NAME, x), host(NAME, w), host(NAME, &dy));
        with_float!(NAME, x.dtype(), T => {
            let (x_values, dy) = (hx.slice::<T>()?, hdy.slice::<T>()?);
            let dx = if self.want_dx { Some(rows::input_gradient(&g, hw.slice()?, dy)) } else { None };
            let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
            let dw = rows::kernel_gradient(&g, x_values, dy);
            Ok((dx, Some(Tensor::from_vec(dw, w.shape(), w.device())?), Some(db)))
        })
    }
}
