//! What SegFormer does at one resolution (Xie et al. 2021, section 3.1): every pixel looks at the whole image, then at its
//! neighbours.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;

use super::parameters::Registry;
use crate::net::layers::{Conv2d, LayerNorm};
use crate::net::ops::{self, Conv2dConfig};
use crate::net::types::Result;

/// Sizes of the blocks of one resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockSizes {
    pub(super) channels: usize,
    /// Equal runs of the channels that attend by themselves.
    pub(super) heads: usize,
    /// Side of the squares of pixels that become one key, pixels.
    pub(super) reduction: usize,
    /// How many times as many channels the feed-forward part has inside.
    pub(super) ffn: usize,
}

/// A block, `[N, H, W, C]` to the same size: attention and a feed-forward part, each added to what it has read.
#[derive(Debug)]
pub(super) struct TransformerBlock {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    ffn: MixFfn,
}

impl TransformerBlock {
    /// Parameters `{name}.norm1`, `{name}.attn`, `{name}.norm2` and `{name}.ffn`.
    pub(super) fn new(r: &mut Registry, name: &str, sizes: BlockSizes) -> Result<Self> {
        Ok(Self {
            norm1: LayerNorm::new(r, &format!("{name}.norm1"), sizes.channels)?,
            attention: Attention::new(r, &format!("{name}.attn"), sizes)?,
            norm2: LayerNorm::new(r, &format!("{name}.norm2"), sizes.channels)?,
            ffn: MixFfn::new(r, &format!("{name}.ffn"), sizes)?,
        })
    }
}

impl ModuleT for TransformerBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let seen = self.attention.forward_t(&self.norm1.forward_t(x, train)?, train)?;
        let x = ops::add(x, &seen, false)?;
        let mixed = self.ffn.forward_t(&self.norm2.forward_t(&x, train)?, train)?;
        ops::add(&x, &mixed, false)
    }
}

/// Attention of every pixel to squares of pixels.
#[derive(Debug)]
struct Attention {
    q: Conv2d,
    k: Conv2d,
    v: Conv2d,
    proj: Conv2d,
    /// From pixels to squares of them, where they are not the same.
    reduce: Option<(Conv2d, LayerNorm)>,
    heads: usize,
}

impl Attention {
    fn new(r: &mut Registry, name: &str, sizes: BlockSizes) -> Result<Self> {
        let BlockSizes { channels, heads, reduction, .. } = sizes;
        let linear = |r: &mut Registry, part: &str| Conv2d::new(r, &format!("{name}.{part}"), 1, channels, channels);
        let reduce = match reduction {
            1 => None,
            side => {
                let config = Conv2dConfig { stride: side, ..Conv2dConfig::default() };
                let conv = Conv2d::spaced(r, &format!("{name}.reduce"), side, [channels, channels], config)?;
                Some((conv, LayerNorm::new(r, &format!("{name}.norm"), channels)?))
            }
        };
        Ok(Self { q: linear(r, "q")?, k: linear(r, "k")?, v: linear(r, "v")?, proj: linear(r, "proj")?, reduce, heads })
    }
}

impl ModuleT for Attention {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let squares = match &self.reduce {
            None => x.clone(),
            Some((conv, norm)) => norm.forward_t(&conv.forward_t(x, train)?, train)?,
        };
        let [q, k, v] = [(&self.q, x), (&self.k, &squares), (&self.v, &squares)].map(|(of, x)| of.forward_t(x, train));
        self.proj.forward_t(&ops::attention(&q?, &k?, &v?, self.heads)?, train)
    }
}

/// The feed-forward part. The zeros around the image in its depthwise convolution are also what tells pixels where they are:
/// there are no positions beside them.
#[derive(Debug)]
struct MixFfn {
    expand: Conv2d,
    depthwise: Conv2d,
    shrink: Conv2d,
}

impl MixFfn {
    fn new(r: &mut Registry, name: &str, sizes: BlockSizes) -> Result<Self> {
        let (channels, inside) = (sizes.channels, sizes.channels * sizes.ffn);
        let each = Conv2dConfig::same(3).grouped(inside);
        Ok(Self {
            expand: Conv2d::new(r, &format!("{name}.expand"), 1, channels, inside)?,
            depthwise: Conv2d::spaced(r, &format!("{name}.depthwise"), 3, [inside, inside], each)?,
            shrink: Conv2d::new(r, &format!("{name}.shrink"), 1, inside, channels)?,
        })
    }
}

impl ModuleT for MixFfn {
    fn forward_t(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let mixed = self.depthwise.forward_t(&self.expand.forward_t(x, train)?, train)?;
        self.shrink.forward_t(&ops::gelu(&mixed)?, train)
    }
}
