//! Feature pyramid network (Lin et al. 2017) for semantic segmentation (Kirillov et al. 2019, section 3), made small.
//!
//! The pyramid goes down to the full resolution, where Kirillov et al. stop at a quarter of it and stretch the logits, since
//! a pixel of 10 m is as large as what is to be told apart. Each level of the pyramid goes through one 3x3 convolution and
//! one bilinear stretch to the finest level, where they have one of each for every doubling, and batch normalisation stands
//! for group normalisation.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::Network;
use super::block::BlockKind;
use super::config::check_range;
use super::encoder::{Encoder, EncoderKind, WayDown};
use super::parameters::Registry;
use crate::net::layers::{Conv2d, ConvNormRelu};
use crate::net::ops;
use crate::net::types::Result;

/// Sizes of a feature pyramid network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FpnConfig {
    /// Channels of the first level of the way down; each level below has twice as many. Of a ResNet: of its first
    /// convolution.
    pub width: usize,
    /// Number of halvings. Images must be multiples of `2^depth` on both sides.
    pub depth: usize,
    /// Channels of every level of the pyramid.
    pub pyramid: usize,
    /// What a level of the way down does.
    #[serde(default, skip_serializing_if = "BlockKind::is_plain")]
    pub block: BlockKind,
    /// What the way down is made of.
    #[serde(default, skip_serializing_if = "EncoderKind::is_blocks")]
    pub encoder: EncoderKind,
}

impl FpnConfig {
    fn way_down(&self) -> WayDown {
        let Self { width, depth, block, encoder, .. } = *self;
        WayDown { encoder, block, width, depth }
    }

    /// Refuses sizes that make no network.
    pub(super) fn check(&self) -> Result<()> {
        self.way_down().check("fpn")?;
        check_range("fpn", "pyramid", self.pyramid, 1..=1024)
    }

    /// What both sides of an image must be a multiple of.
    pub(super) fn multiple(&self) -> usize {
        self.way_down().multiple()
    }
}

/// A level of the pyramid: `lateral.{level}` into it, `smooth.{level}` out of it.
#[derive(Debug)]
struct Level {
    lateral: Conv2d,
    smooth: ConvNormRelu,
}

impl Level {
    fn new(r: &mut Registry, level: usize, ci: usize, co: usize) -> Result<Self> {
        let (conv, norm) = (format!("smooth.{level}.0"), format!("smooth.{level}.1"));
        Ok(Self {
            lateral: Conv2d::new(r, &format!("lateral.{level}"), 1, ci, co)?,
            smooth: ConvNormRelu::new(r, (&conv, &norm), 3, co, co)?,
        })
    }
}

/// The network: `down`, and a level of the pyramid for each of its levels, from fine to coarse.
#[derive(Debug)]
pub(super) struct Fpn {
    down: Encoder,
    pyramid: Vec<Level>,
    head: Conv2d,
}

impl Fpn {
    pub(super) fn new(config: &FpnConfig, r: &mut Registry, bands: usize, classes: usize) -> Result<Self> {
        let way = config.way_down();
        let down = Encoder::new(&way, r, bands)?;
        let channels = way.channels();
        let levels = channels.iter().enumerate().map(|(level, ci)| Level::new(r, level, *ci, config.pyramid));
        let pyramid = levels.collect::<Result<_>>()?;
        Ok(Self { down, pyramid, head: Conv2d::new(r, "head", 1, config.pyramid, classes)? })
    }
}

impl Network for Fpn {
    fn forward(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let (mut features, coarsest) = self.down.forward(x, train)?;
        features.push(coarsest);
        let (mut above, mut sum): (Option<Tensor>, Option<Tensor>) = (None, None);
        for (number, (level, features)) in self.pyramid.iter().zip(features).enumerate().rev() {
            let doubled = above.as_ref().map(ops::upsample_nearest2x).transpose()?;
            let joined = total(level.lateral.forward_t(&features, train)?, doubled)?;
            let mut part = level.smooth.forward_t(&joined, train)?;
            if number > 0 {
                part = ops::upsample_bilinear(&part, height, width, false)?;
            }
            (above, sum) = (Some(joined), Some(total(part, sum)?));
        }
        let Some(sum) = sum else { candle_core::bail!("fpn: a pyramid without levels") };
        self.head.forward_t(&sum, train)
    }
}

/// `x` and what there is beside it.
fn total(x: Tensor, beside: Option<Tensor>) -> CandleResult<Tensor> {
    beside.map_or(Ok(x.clone()), |beside| ops::add(&beside, &x, false))
}
