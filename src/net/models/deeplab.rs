//! DeepLabv3+ (Chen et al. 2018), made small: dilated convolutions at several rates over the coarsest features, and a decoder
//! that sees the finest ones.
//!
//! The way down is that of the U-Net or a ResNet that halves to its end, not one that dilates instead, and so the rates are
//! taps on its coarsest level. The decoder works at full resolution and not at a quarter of it. There is no dropout. The
//! branch that sees the image as a whole has a bias in place of batch normalisation: with one value an image, the statistics
//! of a batch say little.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::Network;
use super::block::{BlockKind, Plain};
use super::config::check_range;
use super::encoder::{Encoder, EncoderKind, WayDown};
use super::parameters::Registry;
use crate::net::layers::{Conv2d, ConvNormRelu};
use crate::net::ops;
use crate::net::types::Result;

/// Sizes of a DeepLabv3+.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepLabConfig {
    /// Channels of the first level of the way down; each level below has twice as many. Of a ResNet: of its first
    /// convolution. The decoder has twice as many as the finest level.
    pub width: usize,
    /// Number of halvings. Images must be multiples of `2^depth` on both sides.
    pub depth: usize,
    /// Pixels of the coarsest level between the taps of each dilated convolution.
    pub rates: [usize; 3],
    /// Channels of each branch over the coarsest level, and of what they are joined to.
    pub aspp: usize,
    /// What a level of the way down does.
    #[serde(default, skip_serializing_if = "BlockKind::is_plain")]
    pub block: BlockKind,
    /// What the way down is made of.
    #[serde(default, skip_serializing_if = "EncoderKind::is_blocks")]
    pub encoder: EncoderKind,
}

impl DeepLabConfig {
    fn way_down(&self) -> WayDown {
        let Self { width, depth, block, encoder, .. } = *self;
        WayDown { encoder, block, width, depth }
    }

    /// Refuses sizes that make no network.
    pub(super) fn check(&self) -> Result<()> {
        const KIND: &str = "deeplabv3plus";
        self.way_down().check(KIND)?;
        check_range(KIND, "aspp", self.aspp, 1..=1024)?;
        self.rates.iter().try_for_each(|rate| check_range(KIND, "a rate", *rate, 1..=64))
    }

    /// What both sides of an image must be a multiple of.
    pub(super) fn multiple(&self) -> usize {
        self.way_down().multiple()
    }
}

/// Atrous spatial pyramid pooling: a pixel with its surroundings in several reaches, and with the image as a whole.
#[derive(Debug)]
struct Aspp {
    /// One that sees its pixel alone, then the dilated ones.
    convs: Vec<ConvNormRelu>,
    /// Of the mean over the image.
    pool: Conv2d,
    project: ConvNormRelu,
}

impl Aspp {
    fn new(config: &DeepLabConfig, r: &mut Registry, ci: usize) -> Result<Self> {
        let co = config.aspp;
        let conv = |r: &mut Registry, name: &str, kernel, ci| {
            ConvNormRelu::new(r, (&format!("aspp.{name}.0"), &format!("aspp.{name}.1")), kernel, ci, co)
        };
        let mut convs = vec![conv(r, "convs.0", 1, ci)?];
        for (i, rate) in config.rates.iter().enumerate() {
            convs.push(conv(r, &format!("convs.{}", i + 1), 3, ci)?.dilated(*rate));
        }
        let pool = Conv2d::new(r, "aspp.pool", 1, ci, co)?;
        let project = conv(r, "project", 1, (convs.len() + 1) * co)?;
        Ok(Self { convs, pool, project })
    }
}

impl ModuleT for Aspp {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let whole = ops::relu(&self.pool.forward_t(&ops::mean_pool(x)?, train)?)?;
        let mut branches = ops::upsample_bilinear(&whole, height, width, false)?;
        // From the last to the first, so that they lie as in the paper: the image as a whole comes last.
        for conv in self.convs.iter().rev() {
            branches = ops::concat_channels(&conv.forward_t(x, train)?, &branches)?;
        }
        self.project.forward_t(&branches, train)
    }
}

/// The network: `down`, `aspp` over its coarsest level, `low` over its finest, `decode` over both.
#[derive(Debug)]
pub(super) struct DeepLab {
    down: Encoder,
    aspp: Aspp,
    low: ConvNormRelu,
    decode: Plain,
    head: Conv2d,
}

impl DeepLab {
    pub(super) fn new(config: &DeepLabConfig, r: &mut Registry, bands: usize, classes: usize) -> Result<Self> {
        let way = config.way_down();
        let channels = way.channels();
        let fine = channels[0];
        Ok(Self {
            down: Encoder::new(&way, r, bands)?,
            aspp: Aspp::new(config, r, channels[config.depth])?,
            low: ConvNormRelu::new(r, ("low.0", "low.1"), 1, fine, fine)?,
            decode: Plain::new(r, "decode", fine + config.aspp, 2 * fine)?,
            head: Conv2d::new(r, "head", 1, 2 * fine, classes)?,
        })
    }
}

impl Network for DeepLab {
    fn forward(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let (skips, coarsest) = self.down.forward(x, train)?;
        let Some(finest) = skips.into_iter().next() else {
            candle_core::bail!("deeplabv3plus: a way down of one level")
        };
        let low = self.low.forward_t(&finest, train)?;
        let context = ops::upsample_bilinear(&self.aspp.forward_t(&coarsest, train)?, height, width, false)?;
        let decoded = self.decode.forward_joined(&low, &context, train)?;
        self.head.forward_t(&decoded, train)
    }
}
