//! The way down that several networks share: from fine to coarse, with more channels at every level.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;

use super::block::{Block, BlockKind};
use super::parameters::Registry;
use crate::net::layers::MaxPool2x2;
use crate::net::types::Result;

/// A block a level, `down.{level}`, and a 2x2 maximum between each and the next.
#[derive(Debug)]
pub(super) struct Encoder(Vec<Block>);

/// Channels of each level: `width`, then twice as many at each of `depth` further ones.
pub(super) fn channels(width: usize, depth: usize) -> Vec<usize> {
    (0..=depth).map(|level| width << level).collect()
}

impl Encoder {
    /// For images of `bands` channels, with a level for each of `channels`.
    pub(super) fn new(kind: BlockKind, r: &mut Registry, bands: usize, channels: &[usize]) -> Result<Self> {
        let inputs = std::iter::once(bands).chain(channels.iter().copied());
        let levels = inputs.zip(channels).enumerate();
        let blocks = levels.map(|(level, (ci, co))| Block::new(kind, r, &format!("down.{level}"), ci, *co));
        Ok(Self(blocks.collect::<Result<_>>()?))
    }

    /// What all levels but the last make of the image, from fine to coarse, and what the last one does.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> CandleResult<(Vec<Tensor>, Tensor)> {
        let mut skips = Vec::with_capacity(self.0.len());
        let mut x = x.clone();
        for (level, block) in self.0.iter().enumerate() {
            if level > 0 {
                skips.push(x.clone());
                x = MaxPool2x2.forward_t(&x, train)?;
            }
            x = block.forward_t(&x, train)?;
        }
        Ok((skips, x))
    }
}
