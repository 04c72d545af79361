//! SegFormer (Xie et al. 2021), made small: transformer blocks at several resolutions, and a decoder of 1x1 convolutions.
//!
//! Every stage halves the image, where the paper's first one takes a quarter of it at once, so the finest features are those
//! of 2x2 pixels: a pixel of 10 m is as large as what is to be told apart. The last two levels of the paper are then one
//! bilinear stretch of the logits. In each stage the squares that are keys lie on the pixels of the coarsest level, as in the
//! paper; keys and values come from a convolution each, not from the halves of one. There is neither dropout nor stochastic
//! depth.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::Network;
use super::config::check_range;
use super::parameters::Registry;
use super::transformer::{BlockSizes, TransformerBlock};
use crate::net::layers::{Conv2d, ConvNormRelu, LayerNorm};
use crate::net::ops::{self, Conv2dConfig};
use crate::net::types::{NetError, Result};

/// Sizes of a SegFormer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegFormerConfig {
    /// Channels of the first stage; each stage further has twice as many.
    pub width: usize,
    /// Number of stages, each of which halves the image. Images must be multiples of `2^depth` on both sides.
    pub depth: usize,
    /// Transformer blocks of a stage.
    pub blocks: usize,
    /// Heads of the first stage's attention, a divisor of `width`; each stage further has twice as many, so that a head has
    /// `width / heads` channels everywhere, 128 at most.
    pub heads: usize,
    /// How many times as many channels the feed-forward part of a block has inside.
    pub ffn: usize,
    /// Channels of every stage in the decoder, and of what they are joined to.
    pub decoder: usize,
}

/// Channels of a head, at most: what the GPU's kernels hold in registers.
const HEAD_CHANNELS: usize = 128;

impl SegFormerConfig {
    /// Refuses sizes that make no network.
    pub(super) fn check(&self) -> Result<()> {
        const KIND: &str = "segformer";
        check_range(KIND, "width", self.width, 1..=1024)?;
        check_range(KIND, "depth", self.depth, 1..=5)?;
        check_range(KIND, "blocks", self.blocks, 1..=16)?;
        check_range(KIND, "heads", self.heads, 1..=64)?;
        check_range(KIND, "ffn", self.ffn, 1..=8)?;
        check_range(KIND, "decoder", self.decoder, 1..=1024)?;
        if !self.width.is_multiple_of(self.heads) || self.width / self.heads > HEAD_CHANNELS {
            return Err(NetError::Config(format!(
                "{KIND}: heads must cut the width into equal parts of at most {HEAD_CHANNELS} channels, found {} heads for \
                 {} channels",
                self.heads, self.width
            )));
        }
        Ok(())
    }

    /// What both sides of an image must be a multiple of.
    pub(super) fn multiple(&self) -> usize {
        1 << self.depth
    }

    /// Sizes of the blocks of a stage.
    fn sizes(&self, stage: usize) -> BlockSizes {
        BlockSizes {
            channels: self.width << stage,
            heads: self.heads << stage,
            reduction: 1 << (self.depth - 1 - stage),
            ffn: self.ffn,
        }
    }
}

/// A stage, `stages.{stage}`: from `[N, H, W, Ci]` to `[N, H/2, W/2, C]`.
#[derive(Debug)]
struct Stage {
    embed: Conv2d,
    embed_norm: LayerNorm,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
}

impl Stage {
    fn new(r: &mut Registry, name: &str, blocks: usize, ci: usize, sizes: BlockSizes) -> Result<Self> {
        let channels = sizes.channels;
        let halving = Conv2dConfig { stride: 2, ..Conv2dConfig::same(3) };
        let embed = Conv2d::spaced(r, &format!("{name}.embed"), 3, [ci, channels], halving)?;
        let embed_norm = LayerNorm::new(r, &format!("{name}.embed_norm"), channels)?;
        let blocks = (0..blocks).map(|block| TransformerBlock::new(r, &format!("{name}.blocks.{block}"), sizes));
        let blocks = blocks.collect::<Result<_>>()?;
        Ok(Self { embed, embed_norm, blocks, norm: LayerNorm::new(r, &format!("{name}.norm"), channels)? })
    }
}

impl ModuleT for Stage {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let mut x = self.embed_norm.forward_t(&self.embed.forward_t(x, train)?, train)?;
        for block in &self.blocks {
            x = block.forward_t(&x, train)?;
        }
        self.norm.forward_t(&x, train)
    }
}

/// The network: `stages`, a 1x1 convolution `lateral` out of each, and `fuse` over all of them.
#[derive(Debug)]
pub(super) struct SegFormer {
    stages: Vec<Stage>,
    lateral: Vec<Conv2d>,
    fuse: ConvNormRelu,
    head: Conv2d,
}

impl SegFormer {
    pub(super) fn new(config: &SegFormerConfig, r: &mut Registry, bands: usize, classes: usize) -> Result<Self> {
        let SegFormerConfig { depth, blocks, decoder, .. } = *config;
        let (mut stages, mut lateral) = (Vec::with_capacity(depth), Vec::with_capacity(depth));
        let mut ci = bands;
        for stage in 0..depth {
            let sizes = config.sizes(stage);
            stages.push(Stage::new(r, &format!("stages.{stage}"), blocks, ci, sizes)?);
            ci = sizes.channels;
        }
        for stage in 0..depth {
            lateral.push(Conv2d::new(r, &format!("lateral.{stage}"), 1, config.sizes(stage).channels, decoder)?);
        }
        Ok(Self {
            stages,
            lateral,
            fuse: ConvNormRelu::new(r, ("fuse.0", "fuse.1"), 1, depth * decoder, decoder)?,
            head: Conv2d::new(r, "head", 1, decoder, classes)?,
        })
    }
}

impl Network for SegFormer {
    fn forward(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let (mut x, mut joined) = (x.clone(), None);
        for (stage, lateral) in self.stages.iter().zip(&self.lateral) {
            x = stage.forward_t(&x, train)?;
            let part = lateral.forward_t(&x, train)?;
            joined = Some(match joined {
                None => part,
                // The coarsest stage comes first, as in the paper's code.
                Some(finer) => {
                    ops::concat_channels(&ops::upsample_bilinear(&part, height / 2, width / 2, false)?, &finer)?
                }
            });
        }
        let Some(joined) = joined else { candle_core::bail!("segformer: a network without stages") };
        let logits = self.head.forward_t(&self.fuse.forward_t(&joined, train)?, train)?;
        ops::upsample_bilinear(&logits, height, width, false)
    }
}
