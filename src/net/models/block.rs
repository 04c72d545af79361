//! What a network does at one resolution: two 3x3 convolutions, with or without a way around them.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::parameters::Registry;
use crate::net::layers::{ConvNorm, ConvNormRelu};
use crate::net::ops;
use crate::net::types::Result;

/// How the two convolutions of a level are put together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// One after the other, each with normalisation and rectifier.
    #[default]
    Plain,
    /// The basic block of He et al. 2016: the input is added to what the convolutions make of it, before the last
    /// rectifier; by a 1x1 convolution with normalisation where the numbers of channels differ.
    Residual,
}

impl BlockKind {
    /// What is not written into records, so that those from before residual blocks stay what they were.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// From `[N, H, W, Ci]` to `[N, H, W, Co]`.
#[derive(Debug)]
pub(super) enum Block {
    /// [`BlockKind::Plain`].
    Plain(Plain),
    /// [`BlockKind::Residual`].
    Residual(Residual),
}

impl Block {
    pub(super) fn new(kind: BlockKind, r: &mut Registry, name: &str, ci: usize, co: usize) -> Result<Self> {
        Ok(match kind {
            BlockKind::Plain => Self::Plain(Plain::new(r, name, ci, co)?),
            BlockKind::Residual => Self::Residual(Residual::new(r, name, ci, co, 1)?),
        })
    }

    /// Of two images side by side.
    pub(super) fn forward_joined(&self, a: &Tensor, b: &Tensor, train: bool) -> CandleResult<Tensor> {
        match self {
            Self::Plain(block) => block.forward_joined(a, b, train),
            // Two convolutions read them: joined once.
            Self::Residual(block) => block.forward_t(&ops::concat_channels(a, b)?, train),
        }
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        match self {
            Self::Plain(block) => block.forward_t(x, train),
            Self::Residual(block) => block.forward_t(x, train),
        }
    }
}

/// Two 3x3 convolutions, each with normalisation and rectifier.
#[derive(Debug)]
pub(super) struct Plain {
    first: ConvNormRelu,
    second: ConvNormRelu,
}

impl Plain {
    pub(super) fn new(r: &mut Registry, name: &str, ci: usize, co: usize) -> Result<Self> {
        // The numbers are those of a PyTorch `Sequential(conv, norm, relu, conv, norm, relu)`.
        Ok(Self {
            first: ConvNormRelu::new(r, (&format!("{name}.0"), &format!("{name}.1")), 3, ci, co)?,
            second: ConvNormRelu::new(r, (&format!("{name}.3"), &format!("{name}.4")), 3, co, co)?,
        })
    }

    /// Of two images side by side.
    pub(super) fn forward_joined(&self, a: &Tensor, b: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.second.forward_t(&self.first.forward_joined(a, b, train)?, train)
    }
}

impl ModuleT for Plain {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.second.forward_t(&self.first.forward_t(x, train)?, train)
    }
}

/// Two 3x3 convolutions and a way around them.
#[derive(Debug)]
pub(super) struct Residual {
    first: ConvNormRelu,
    second: ConvNorm,
    /// The way around, where it is not the image itself.
    around: Option<ConvNorm>,
}

impl Residual {
    /// Of every `stride`-th pixel along both axes.
    pub(super) fn new(r: &mut Registry, name: &str, ci: usize, co: usize, stride: usize) -> Result<Self> {
        // The names are those of torchvision's `BasicBlock`.
        let named = |part: &str| format!("{name}.{part}");
        let first = ConvNormRelu::new(r, (&named("conv1"), &named("bn1")), 3, ci, co)?.strided(stride);
        let second = ConvNorm::new(r, (&named("conv2"), &named("bn2")), 3, co, co)?;
        let around = match ci == co && stride == 1 {
            true => None,
            false => {
                let names = (&*named("downsample.0"), &*named("downsample.1"));
                Some(ConvNorm::new(r, names, 1, ci, co)?.strided(stride))
            }
        };
        Ok(Self { first, second, around })
    }
}

impl ModuleT for Residual {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let y = self.second.forward_t(&self.first.forward_t(x, train)?, train)?;
        match &self.around {
            Some(around) => ops::add(&y, &around.forward_t(x, train)?, true),
            None => ops::add(&y, x, true),
        }
    }
}
