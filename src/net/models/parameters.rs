//! Named parameters and buffers of a model, in the order in which its layers ask for them.

use candle_core::{Device, Tensor, Var};

use crate::net::rng::Rng;
use crate::net::types::Result;

/// How a tensor here lies to the same tensor in PyTorch. Inside, the output channel comes last, so that a convolution is a
/// product with contiguous rows; files have PyTorch's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Axes {
    /// The same.
    Same,
    /// `[kh, kw, in, out]` here, `[out, in, kh, kw]` there.
    Conv,
    /// `[in, kh, kw, out]` here, `[in, out, kh, kw]` there.
    ConvTranspose,
}

impl Axes {
    /// From here to PyTorch's order, contiguous.
    pub(crate) fn export(self, tensor: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Same => tensor.contiguous()?,
            Self::Conv => tensor.permute((3, 2, 0, 1))?.contiguous()?,
            Self::ConvTranspose => tensor.permute((0, 3, 1, 2))?.contiguous()?,
        })
    }

    /// From PyTorch's order, contiguous.
    pub(crate) fn import(self, tensor: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Same => tensor.contiguous()?,
            Self::Conv => tensor.permute((2, 3, 1, 0))?.contiguous()?,
            Self::ConvTranspose => tensor.permute((0, 2, 3, 1))?.contiguous()?,
        })
    }
}

/// First values of a parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Init {
    /// All the same.
    Constant(f64),
    /// Uniform in `±1/sqrt(fan_in)`: what PyTorch's `Conv2d` does (Kaiming uniform with `a = sqrt(5)`).
    FanIn(usize),
}

/// Collects what layers register.
pub(crate) struct Registry {
    rng: Rng,
    device: Device,
    pub(crate) parameters: Vec<(String, Var)>,
    pub(crate) buffers: Vec<(String, Var)>,
    /// Of the parameters, then of the buffers.
    pub(crate) axes: Vec<Axes>,
}

impl Registry {
    /// For tensors on `device`.
    pub(crate) fn new(seed: u64, device: &Device) -> Self {
        let (rng, device) = (Rng::new(seed).fork("parameters"), device.clone());
        Self { rng, device, parameters: Vec::new(), buffers: Vec::new(), axes: Vec::new() }
    }

    /// A trainable tensor. Its values depend on the seed and its name, not on what was registered before.
    pub(crate) fn parameter(&mut self, name: &str, shape: &[usize], axes: Axes, init: Init) -> Result<Var> {
        let count = shape.iter().product();
        let mut rng = self.rng.fork(name);
        let values: Vec<f32> = match init {
            Init::Constant(value) => vec![value as f32; count],
            Init::FanIn(fan_in) => {
                let bound = 1.0 / (fan_in as f64).sqrt();
                (0..count).map(|_| ((2.0 * rng.uniform() - 1.0) * bound) as f32).collect()
            }
        };
        let var = Var::from_vec(values, shape, &self.device)?;
        self.parameters.push((name.to_owned(), var.clone()));
        self.axes.push(axes);
        Ok(var)
    }

    /// A tensor that training changes without a gradient.
    pub(crate) fn buffer(&mut self, name: &str, shape: &[usize], value: f32) -> Result<Var> {
        let count: usize = shape.iter().product();
        let var = Var::from_vec(vec![value; count], shape, &self.device)?;
        self.buffers.push((name.to_owned(), var.clone()));
        Ok(var)
    }
}
