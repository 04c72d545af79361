//! The operator that candle's graph sees.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType};

use super::super::chunks;
#[cfg(feature = "cuda")]
use super::super::cuda::{self, launch::address};
use super::super::element::{dims4, host, same_types, slice, with_float};
use super::super::lanes::Lanes;
use super::super::tape;
use super::geometry::{Conv2dConfig, Geometry};
use super::kernel::{self, Epilogue};

const NAME: &str = "conv2d";

/// Convolution of `x: [N, H, W, Ci]` with `w: [k, k, Ci / groups, Co]` and, if given, `bias: [Co]`; gives
/// `[N, OH, OW, Co]`, where `OH = (H + 2 * padding - dilation * (k - 1) - 1) / stride + 1`, rounded down.
///
/// # Errors
/// Shapes that do not fit, operands of different or non-float types.
pub fn conv2d(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, config: Conv2dConfig) -> Result<Tensor> {
    let op = Conv2d::new(config, tape::needs_gradient(x), Epilogue::None);
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    match bias {
        None => {
            same_types(NAME, &x, &[&w])?;
            tape::apply2(&x, &w, op)
        }
        Some(bias) => {
            same_types(NAME, &x, &[&w, bias])?;
            tape::apply3(&x, &w, &bias.contiguous()?, op)
        }
    }
}

/// `max(conv2d(x, w) + bias, 0)` in one pass, for inference: leaves no graph.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_relu(x: &Tensor, w: &Tensor, bias: &Tensor, config: Conv2dConfig) -> Result<Tensor> {
    same_types(NAME, x, &[w, bias])?;
    let op = Conv2d::new(config, false, Epilogue::Relu);
    x.contiguous()?.apply_op3_no_bwd(&w.contiguous()?, &bias.contiguous()?, &op)
}

struct Conv2d {
    config: Conv2dConfig,
    want_dx: bool,
    epilogue: Epilogue,
    /// The weights as cuDNN reads them, from the forward to the backward pass.
    #[cfg(feature = "cuda")]
    packed: std::sync::OnceLock<Tensor>,
}

impl Conv2d {
    fn new(config: Conv2dConfig, want_dx: bool, epilogue: Epilogue) -> Self {
        Self {
            config,
            want_dx,
            epilogue,
            #[cfg(feature = "cuda")]
            packed: std::sync::OnceLock::new(),
        }
    }

    fn forward(
        &self,
        (x, x_layout): (&CpuStorage, &Layout),
        (w, w_layout): (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(dims4(NAME, x_layout)?, dims4(NAME, w_layout)?, self.config)?;
        let shape = Shape::from((g.batch, g.out_height, g.out_width, g.out_channels));
        let y = with_float!(NAME, x.dtype(), T => {
            let bias = bias.map(|(b, l)| slice::<T>(NAME, b, l)).transpose()?;
            if bias.is_some_and(|b| b.len() != g.out_channels) {
                candle_core::bail!("{NAME}: the bias has not one value for each of {} output channels", g.out_channels);
            }
            let (x, w) = (slice::<T>(NAME, x, x_layout)?, slice::<T>(NAME, w, w_layout)?);
            T::to_cpu_storage_owned(kernel::forward(&g, x, w, bias, self.epilogue))
        });
        Ok((y, shape))
    }

    #[cfg(feature = "cuda")]
    fn forward_on_gpu(
        &self,
        (x, xl): (&CudaStorage, &Layout),
        (w, wl): (&CudaStorage, &Layout),
        bias: Option<(&CudaStorage, &Layout)>,
    ) -> Result<(CudaStorage, Shape)> {
        let g = Geometry::new(dims4(NAME, xl)?, dims4(NAME, wl)?, self.config)?;
        if bias.is_some_and(|(_, l)| l.dims() != [g.out_channels]) {
            candle_core::bail!("{NAME}: the bias has not one value for each of {} output channels", g.out_channels);
        }
        let gpu = cuda::Gpu::of(&x.device)?;
        let bias = bias.map(|(b, l)| address(NAME, b, l)).transpose()?;
        let (spec, relu) = (g.on_gpu(x.dtype()), matches!(self.epilogue, Epilogue::Relu));
        let (x, w) = (address(NAME, x, xl)?, address(NAME, w, wl)?);
        let (y, packed) = cuda::conv::forward(&gpu, &spec, x, w, bias, relu)?;
        if self.want_dx {
            self.packed.set(packed).ok();
        }
        Ok(y.into_storage())
    }

    fn backward(&self, x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let g = Geometry::new(dims4(NAME, x.layout())?, dims4(NAME, w.layout())?, self.config)?;
            let packed = match (self.want_dx, self.packed.get()) {
                (true, None) => candle_core::bail!("{NAME}: backward before forward"),
                (_, packed) => packed,
            };
            return cuda::conv::backward(&g.on_gpu(x.dtype()), x, w, &dy.contiguous()?, packed);
        }
        with_float!(NAME, x.dtype(), T => self.backward_as::<T>(x, w, dy))
    }

    fn backward_as<T: Lanes>(&self, x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
        let g = Geometry::new(dims4(NAME, x.layout())?, dims4(NAME, w.layout())?, self.config)?;
        let dy = dy.contiguous()?;
        let (hx, hw, hdy) = (host(NAME, x), host(NAME, w), host(NAME, &dy));
        let (dx, dw) = kernel::backward::<T>(&g, hx.slice()?, hw.slice()?, hdy.slice()?, self.want_dx);
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
        Ok((dx, Tensor::from_vec(dw, w.shape(), w.device())?))
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward((x, xl), (w, wl), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, w: &CudaStorage, wl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward_on_gpu((x, xl), (w, wl), None)
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, w, dy)?;
        Ok((dx, Some(dw)))
    }
}

impl CustomOp3 for Conv2d {
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
        self.forward((x, xl), (w, wl), Some((b, bl)))
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
        self.forward_on_gpu((x, xl), (w, wl), Some((b, bl)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.backward(x, w, dy)?;
        #[cfg(feature = "cuda")]
        if dy.device().is_cuda() {
            return Ok((dx, Some(dw), Some(cuda::conv::bias_gradient(dy)?)));
        }
        let db = chunks::column_sums_of(NAME, dy)?;
        Ok((dx, Some(dw), Some(db)))
    }
}
