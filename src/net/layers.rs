//! Layers: parameters and the operators that use them.

use candle_core::{Result as CandleResult, Tensor, Var};
use candle_nn::{Module, ModuleT};

use super::models::parameters::{Axes, Init, Registry};
use super::ops::{self, Conv2dConfig, Running};
use super::types::Result;

/// Weight of the newest batch in the running statistics; PyTorch's default.
const MOMENTUM: f64 = 0.1;
/// Added to the variance before the root; PyTorch's default.
const EPS: f64 = 1e-5;

/// The value of a variable with (`train`) or without a graph behind it.
fn value(var: &Var, train: bool) -> Tensor {
    if train { var.as_tensor().clone() } else { var.as_detached_tensor() }
}

/// Convolution with a bias: `[N, H, W, Ci]` to `[N, OH, OW, Co]`.
#[derive(Debug)]
pub struct Conv2d {
    weight: Var,
    bias: Var,
    config: Conv2dConfig,
}

impl Conv2d {
    /// Of stride 1 and the same size. Parameters `{name}.weight` and `{name}.bias`, drawn as PyTorch draws them.
    pub(super) fn new(r: &mut Registry, name: &str, kernel: usize, ci: usize, co: usize) -> Result<Self> {
        Self::spaced(r, name, kernel, [ci, co], Conv2dConfig::same(kernel))
    }

    /// As [`Self::new`], with stride, border and groups of `config`.
    pub(super) fn spaced(
        r: &mut Registry,
        name: &str,
        kernel: usize,
        [ci, co]: [usize; 2],
        config: Conv2dConfig,
    ) -> Result<Self> {
        let shape = [kernel, kernel, ci / config.groups, co];
        let init = Init::FanIn(shape[..3].iter().product());
        Ok(Self {
            weight: r.parameter(&format!("{name}.weight"), &shape, Axes::Conv, init)?,
            bias: r.parameter(&format!("{name}.bias"), &[co], Axes::Same, init)?,
            config,
        })
    }
}

impl ModuleT for Conv2d {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        ops::conv2d(x, &value(&self.weight, train), Some(&value(&self.bias, train)), self.config)
    }
}

/// Convolution without bias and batch normalisation: `[N, H, W, Ci]` to `[N, H, W, Co]`.
#[derive(Debug)]
pub struct ConvNorm {
    weight: Var,
    norm: BatchNorm,
    config: Conv2dConfig,
}

impl ConvNorm {
    /// Parameters `{conv}.weight`, `{norm}.weight`, `{norm}.bias` and the buffers of `{norm}`.
    pub(super) fn new(
        r: &mut Registry,
        (conv, norm): (&str, &str),
        kernel: usize,
        ci: usize,
        co: usize,
    ) -> Result<Self> {
        let (shape, fan_in) = ([kernel, kernel, ci, co], kernel * kernel * ci);
        Ok(Self {
            weight: r.parameter(&format!("{conv}.weight"), &shape, Axes::Conv, Init::FanIn(fan_in))?,
            norm: BatchNorm::new(r, norm, co)?,
            config: Conv2dConfig::same(kernel),
        })
    }

    /// Only every `stride`-th pixel of the result along both axes, beginning with the first.
    pub(super) fn strided(mut self, stride: usize) -> Self {
        self.config.stride = stride;
        self
    }

    /// With fixed statistics normalisation is a scale and a shift a channel: they go into the convolution.
    fn folded(&self) -> CandleResult<(Tensor, Tensor)> {
        #[cfg(feature = "cuda")]
        if self.weight.device().is_cuda() {
            let BatchNorm { gamma, beta, running_mean, running_var } = &self.norm;
            return ops::cuda::conv::fold(&self.weight, [gamma, beta, running_mean, running_var], EPS);
        }
        let (scale, shift) = self.norm.scale_and_shift()?;
        Ok((self.weight.as_detached_tensor().broadcast_mul(&scale)?, shift))
    }
}

impl ModuleT for ConvNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        if train {
            return self.norm.train(&ops::conv2d(x, self.weight.as_tensor(), None, self.config)?, false);
        }
        let (weight, shift) = self.folded()?;
        ops::conv2d(&x.detach(), &weight, Some(&shift), self.config)
    }
}

/// [`ConvNorm`] and a rectifier.
#[derive(Debug)]
pub struct ConvNormRelu(ConvNorm);

impl ConvNormRelu {
    /// As [`ConvNorm::new`].
    pub(super) fn new(r: &mut Registry, names: (&str, &str), kernel: usize, ci: usize, co: usize) -> Result<Self> {
        Ok(Self(ConvNorm::new(r, names, kernel, ci, co)?))
    }

    /// As [`ConvNorm::strided`].
    pub(super) fn strided(self, stride: usize) -> Self {
        Self(self.0.strided(stride))
    }

    /// The kernel's taps `dilation` pixels apart.
    pub(super) fn dilated(mut self, dilation: usize) -> Self {
        self.0.config = self.0.config.dilated(dilation);
        self
    }

    /// Of two images side by side, `[N, H, W, A]` and `[N, H, W, Ci - A]`.
    pub(super) fn forward_joined(&self, a: &Tensor, b: &Tensor, train: bool) -> CandleResult<Tensor> {
        let ConvNorm { weight, norm, config } = &self.0;
        if train {
            return norm.train(&ops::conv2d_joined(a, b, weight.as_tensor(), *config)?, true);
        }
        let (weight, shift) = self.0.folded()?;
        ops::conv2d_relu_joined((&a.detach(), &b.detach()), &weight, &shift, *config)
    }
}

impl ModuleT for ConvNormRelu {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let ConvNorm { weight, norm, config } = &self.0;
        if train {
            return norm.train(&ops::conv2d(x, weight.as_tensor(), None, *config)?, true);
        }
        let (weight, shift) = self.0.folded()?;
        ops::conv2d_relu(&x.detach(), &weight, &shift, *config)
    }
}

/// Batch normalisation over all dimensions but the last.
#[derive(Debug)]
pub struct BatchNorm {
    gamma: Var,
    beta: Var,
    running_mean: Var,
    running_var: Var,
}

impl BatchNorm {
    /// Parameters `{name}.weight` (1) and `{name}.bias` (0); buffers `{name}.running_mean` (0) and `{name}.running_var` (1).
    pub(super) fn new(r: &mut Registry, name: &str, channels: usize) -> Result<Self> {
        let shape = [channels];
        Ok(Self {
            gamma: r.parameter(&format!("{name}.weight"), &shape, Axes::Same, Init::Constant(1.0))?,
            beta: r.parameter(&format!("{name}.bias"), &shape, Axes::Same, Init::Constant(0.0))?,
            running_mean: r.buffer(&format!("{name}.running_mean"), &shape, 0.0)?,
            running_var: r.buffer(&format!("{name}.running_var"), &shape, 1.0)?,
        })
    }

    /// Normalises with the batch's statistics and moves the running ones towards them.
    fn train(&self, x: &Tensor, relu: bool) -> CandleResult<Tensor> {
        let running = Running { mean: &self.running_mean, variance: &self.running_var, momentum: MOMENTUM };
        ops::batch_norm_running(x, self.gamma.as_tensor(), self.beta.as_tensor(), EPS, relu, running)
    }

    /// `(scale, shift)` such that the normalised value is `x * scale + shift` under the running statistics.
    fn scale_and_shift(&self) -> CandleResult<(Tensor, Tensor)> {
        let scale = self.gamma.as_detached_tensor().div(&(self.running_var.as_detached_tensor() + EPS)?.sqrt()?)?;
        let shift = (self.beta.as_detached_tensor() - (self.running_mean.as_detached_tensor() * &scale)?)?;
        Ok((scale, shift))
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        if train {
            return self.train(x, false);
        }
        let (scale, shift) = self.scale_and_shift()?;
        x.detach().broadcast_mul(&scale)?.broadcast_add(&shift)
    }
}

/// Layer normalisation: each pixel over its channels.
#[derive(Debug)]
pub struct LayerNorm {
    gamma: Var,
    beta: Var,
}

impl LayerNorm {
    /// Parameters `{name}.weight` (1) and `{name}.bias` (0).
    pub(super) fn new(r: &mut Registry, name: &str, channels: usize) -> Result<Self> {
        let mut parameter =
            |part: &str, value| r.parameter(&format!("{name}.{part}"), &[channels], Axes::Same, Init::Constant(value));
        Ok(Self { gamma: parameter("weight", 1.0)?, beta: parameter("bias", 0.0)? })
    }
}

impl ModuleT for LayerNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        ops::layer_norm(x, &value(&self.gamma, train), &value(&self.beta, train), EPS)
    }
}

/// Transposed 2x2 convolution with stride 2: `[N, H, W, Ci]` to `[N, 2H, 2W, Co]`.
#[derive(Debug)]
pub struct ConvTranspose2x2 {
    weight: Var,
    bias: Var,
}

impl ConvTranspose2x2 {
    /// Parameters `{name}.weight` and `{name}.bias`, drawn as PyTorch draws them.
    pub(super) fn new(r: &mut Registry, name: &str, ci: usize, co: usize) -> Result<Self> {
        // PyTorch counts the fan of a transposed convolution over its output channels.
        let init = Init::FanIn(4 * co);
        Ok(Self {
            weight: r.parameter(&format!("{name}.weight"), &[ci, 2, 2, co], Axes::ConvTranspose, init)?,
            bias: r.parameter(&format!("{name}.bias"), &[co], Axes::Same, init)?,
        })
    }
}

impl ModuleT for ConvTranspose2x2 {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        ops::conv_transpose2x2(x, &value(&self.weight, train), &value(&self.bias, train))
    }
}

/// 2x2 maximum with stride 2: `[N, H, W, C]` to `[N, H/2, W/2, C]`.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2x2;

impl Module for MaxPool2x2 {
    fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        ops::max_pool2x2(x)
    }
}
