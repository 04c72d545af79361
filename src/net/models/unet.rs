//! U-Net (Ronneberger et al. 2015) with batch normalisation, same-size convolutions and concatenated skips.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::Network;
use super::block::{Block, BlockKind};
use super::encoder::{Encoder, EncoderKind, WayDown};
use super::parameters::Registry;
use crate::net::layers::{Conv2d, ConvTranspose2x2};
use crate::net::types::Result;

/// Sizes of a U-Net.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// Channels of the first level; each level below has twice as many. Of a ResNet: of its first convolution.
    pub width: usize,
    /// Number of halvings. Images must be multiples of `2^depth` on both sides.
    pub depth: usize,
    /// What a level does.
    #[serde(default, skip_serializing_if = "BlockKind::is_plain")]
    pub block: BlockKind,
    /// What the way down is made of.
    #[serde(default, skip_serializing_if = "EncoderKind::is_blocks")]
    pub encoder: EncoderKind,
}

impl UNetConfig {
    /// With plain blocks.
    #[must_use]
    pub const fn new(width: usize, depth: usize) -> Self {
        Self { width, depth, block: BlockKind::Plain, encoder: EncoderKind::Blocks }
    }

    fn way_down(&self) -> WayDown {
        let Self { width, depth, block, encoder } = *self;
        WayDown { encoder, block, width, depth }
    }

    /// Refuses sizes that make no network.
    pub(super) fn check(&self) -> Result<()> {
        self.way_down().check("unet")
    }

    /// What both sides of an image must be a multiple of.
    pub(super) fn multiple(&self) -> usize {
        self.way_down().multiple()
    }
}

/// The network: `down` from fine to coarse, `up` and `merge` from coarse to fine.
#[derive(Debug)]
pub(super) struct UNet {
    down: Encoder,
    up: Vec<ConvTranspose2x2>,
    merge: Vec<Block>,
    head: Conv2d,
}

impl UNet {
    pub(super) fn new(config: &UNetConfig, r: &mut Registry, bands: usize, classes: usize) -> Result<Self> {
        let way = config.way_down();
        let down = Encoder::new(&way, r, bands)?;
        let channels = way.channels();
        // From coarse to fine: the channels that come up, and those that are beside them.
        let levels: Vec<(usize, usize)> = channels.windows(2).rev().map(|pair| (pair[1], pair[0])).collect();
        let up = levels.iter().enumerate();
        let up = up.map(|(i, (below, c))| ConvTranspose2x2::new(r, &format!("up.{i}"), *below, *c));
        let up = up.collect::<Result<_>>()?;
        let merge = levels.iter().enumerate();
        let merge = merge.map(|(i, (_, c))| Block::new(config.block, r, &format!("merge.{i}"), 2 * c, *c));
        let merge = merge.collect::<Result<_>>()?;
        Ok(Self { down, up, merge, head: Conv2d::new(r, "head", 1, channels[0], classes)? })
    }
}

impl Network for UNet {
    fn forward(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let (skips, mut x) = self.down.forward(x, train)?;
        for ((up, merge), skip) in self.up.iter().zip(&self.merge).zip(skips.into_iter().rev()) {
            x = merge.forward_joined(&skip, &up.forward_t(&x, train)?, train)?;
        }
        self.head.forward_t(&x, train)
    }
}
