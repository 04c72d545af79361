//! U-Net (Ronneberger et al. 2015) with batch normalisation, same-size convolutions and concatenated skips.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::Network;
use super::parameters::Registry;
use crate::net::layers::{Conv2d, ConvNormRelu, ConvTranspose2x2, MaxPool2x2};
use crate::net::types::{NetError, Result};

/// Sizes of a U-Net.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// Channels of the first level; each level below has twice as many.
    pub width: usize,
    /// Number of poolings. Images must be multiples of `2^depth` on both sides.
    pub depth: usize,
}

impl UNetConfig {
    /// Refuses sizes that make no network.
    pub(super) fn check(&self) -> Result<()> {
        if self.width == 0 || self.width > 1024 {
            return Err(NetError::Config(format!("unet: width must lie in 1..=1024, found {}", self.width)));
        }
        if self.depth == 0 || self.depth > 8 {
            return Err(NetError::Config(format!("unet: depth must lie in 1..=8, found {}", self.depth)));
        }
        Ok(())
    }

    /// What both sides of an image must be a multiple of.
    pub(super) fn multiple(&self) -> usize {
        1 << self.depth
    }
}

/// Two 3x3 convolutions, each with normalisation and rectifier.
#[derive(Debug)]
struct Block {
    first: ConvNormRelu,
    second: ConvNormRelu,
}

impl Block {
    fn new(r: &mut Registry, name: &str, ci: usize, co: usize) -> Result<Self> {
        // The numbers are those of a PyTorch `Sequential(conv, norm, relu, conv, norm, relu)`.
        Ok(Self {
            first: ConvNormRelu::new(r, (&format!("{name}.0"), &format!("{name}.1")), 3, ci, co)?,
            second: ConvNormRelu::new(r, (&format!("{name}.3"), &format!("{name}.4")), 3, co, co)?,
        })
    }
}

impl Block {
    /// Of two images side by side.
    fn forward_joined(&self, a: &Tensor, b: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.second.forward_t(&self.first.forward_joined(a, b, train)?, train)
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.second.forward_t(&self.first.forward_t(x, train)?, train)
    }
}

/// The network: `down` from fine to coarse, `up` and `merge` from coarse to fine.
#[derive(Debug)]
pub(super) struct UNet {
    down: Vec<Block>,
    up: Vec<ConvTranspose2x2>,
    merge: Vec<Block>,
    head: Conv2d,
}

impl UNet {
    pub(super) fn new(config: &UNetConfig, r: &mut Registry, bands: usize, classes: usize) -> Result<Self> {
        let channels: Vec<usize> = (0..=config.depth).map(|level| config.width << level).collect();
        let inputs = std::iter::once(bands).chain(channels.iter().copied());
        let down = inputs.zip(&channels).enumerate().map(|(i, (ci, co))| Block::new(r, &format!("down.{i}"), ci, *co));
        let down = down.collect::<Result<_>>()?;
        let levels: Vec<usize> = (0..config.depth).rev().map(|level| channels[level]).collect();
        let up = levels.iter().enumerate().map(|(i, c)| ConvTranspose2x2::new(r, &format!("up.{i}"), 2 * c, *c));
        let up = up.collect::<Result<_>>()?;
        let merge = levels.iter().enumerate().map(|(i, c)| Block::new(r, &format!("merge.{i}"), 2 * c, *c));
        let merge = merge.collect::<Result<_>>()?;
        Ok(Self { down, up, merge, head: Conv2d::new(r, "head", 1, config.width, classes)? })
    }
}

impl Network for UNet {
    fn forward(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let mut skips = Vec::with_capacity(self.down.len());
        let mut x = x.clone();
        for (level, block) in self.down.iter().enumerate() {
            if level > 0 {
                skips.push(x.clone());
                x = MaxPool2x2.forward_t(&x, train)?;
            }
            x = block.forward_t(&x, train)?;
        }
        for ((up, merge), skip) in self.up.iter().zip(&self.merge).zip(skips.into_iter().rev()) {
            x = merge.forward_joined(&skip, &up.forward_t(&x, train)?, train)?;
        }
        self.head.forward_t(&x, train)
    }
}
