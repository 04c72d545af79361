//! The way down that several networks share: from fine to coarse, with more channels at every level.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::block::{Block, BlockKind, Plain};
use super::config::check_range;
use super::parameters::Registry;
use super::resnet::{self, ResNet};
use crate::net::layers::MaxPool2x2;
use crate::net::types::{NetError, Result};

/// What a network goes down by.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderKind {
    /// A block a level, [`BlockKind`], and a 2x2 maximum between each and the next.
    #[default]
    Blocks,
    /// ResNet-18 (He et al. 2016).
    ResNet18,
    /// ResNet-34.
    ResNet34,
}

impl EncoderKind {
    /// What is not written into records, so that those from before ResNets stay what they were.
    pub(super) fn is_blocks(&self) -> bool {
        *self == Self::Blocks
    }

    /// Blocks in each layer of the ResNet, where it is one.
    fn resnet_blocks(self) -> Option<[usize; resnet::MAX_DEPTH - 1]> {
        match self {
            Self::Blocks => None,
            Self::ResNet18 => Some([2, 2, 2, 2]),
            Self::ResNet34 => Some([3, 4, 6, 3]),
        }
    }
}

/// Kind and sizes of a way down, as the configurations of the networks have them.
#[derive(Clone, Copy, Debug)]
pub(super) struct WayDown {
    pub(super) encoder: EncoderKind,
    /// What a level does, where it is a block.
    pub(super) block: BlockKind,
    /// Channels of the first level of blocks, or of a ResNet's first convolution.
    pub(super) width: usize,
    /// How often the image is halved.
    pub(super) depth: usize,
}

impl WayDown {
    /// Refuses sizes that make no way down for a network of this `kind`.
    pub(super) fn check(&self, kind: &str) -> Result<()> {
        check_range(kind, "width", self.width, 1..=1024)?;
        if self.encoder.is_blocks() {
            return check_range(kind, "depth", self.depth, 1..=8);
        }
        check_range(kind, "depth of a ResNet", self.depth, 1..=resnet::MAX_DEPTH)?;
        match self.block {
            BlockKind::Plain => Ok(()),
            BlockKind::Residual => Err(NetError::Config(format!(
                "{kind}: block says what the levels of `encoder: blocks` do, and a ResNet has residual blocks of its own: \
                 leave block out"
            ))),
        }
    }

    /// What both sides of an image must be a multiple of.
    pub(super) fn multiple(&self) -> usize {
        1 << self.depth
    }

    /// Channels of each level, from fine to coarse: one at full resolution, and one after each halving.
    pub(super) fn channels(&self) -> Vec<usize> {
        match self.encoder {
            EncoderKind::Blocks => (0..=self.depth).map(|level| self.width << level).collect(),
            // What lies at full resolution costs most and sees least: a quarter of what the first convolution has.
            EncoderKind::ResNet18 | EncoderKind::ResNet34 => {
                std::iter::once((self.width / 4).max(1)).chain(resnet::channels(self.width, self.depth)).collect()
            }
        }
    }
}

/// The way down itself.
#[derive(Debug)]
pub(super) enum Encoder {
    /// [`EncoderKind::Blocks`]: `down.{level}`.
    Blocks(Vec<Block>),
    /// A ResNet, `encoder`, whose first convolution halves the image, and so two convolutions beside it that see it as fine
    /// as it is, `fine`.
    ResNet {
        /// At full resolution.
        fine: Box<Plain>,
        /// From half of it on.
        down: Box<ResNet>,
    },
}

impl Encoder {
    /// For images of `bands` channels, with the levels of [`WayDown::channels`].
    pub(super) fn new(way: &WayDown, r: &mut Registry, bands: usize) -> Result<Self> {
        let channels = way.channels();
        if let Some(blocks) = way.encoder.resnet_blocks() {
            let fine = Plain::new(r, "fine", bands, channels[0])?;
            let down = ResNet::new(r, blocks, bands, (way.width, way.depth))?;
            return Ok(Self::ResNet { fine: Box::new(fine), down: Box::new(down) });
        }
        let inputs = std::iter::once(bands).chain(channels.iter().copied());
        let levels = inputs.zip(&channels).enumerate();
        let blocks = levels.map(|(level, (ci, co))| Block::new(way.block, r, &format!("down.{level}"), ci, *co));
        Ok(Self::Blocks(blocks.collect::<Result<_>>()?))
    }

    /// What all levels but the last make of the image, from fine to coarse, and what the last one does.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> CandleResult<(Vec<Tensor>, Tensor)> {
        let mut levels = match self {
            Self::Blocks(blocks) => down_by_blocks(blocks, x, train)?,
            Self::ResNet { fine, down } => {
                let mut levels = vec![fine.forward_t(x, train)?];
                levels.extend(down.forward(x, train)?);
                levels
            }
        };
        match levels.pop() {
            Some(coarsest) => Ok((levels, coarsest)),
            None => candle_core::bail!("a way down without levels"),
        }
    }
}

/// What every block makes of the image, with a 2x2 maximum between each and the next.
fn down_by_blocks(blocks: &[Block], x: &Tensor, train: bool) -> CandleResult<Vec<Tensor>> {
    let mut levels: Vec<Tensor> = Vec::with_capacity(blocks.len());
    for block in blocks {
        let level = match levels.last() {
            None => block.forward_t(x, train)?,
            Some(finer) => block.forward_t(&MaxPool2x2.forward_t(finer, train)?, train)?,
        };
        levels.push(level);
    }
    Ok(levels)
}
