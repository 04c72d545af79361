//! Sizes of an attention, and what does not fit.

use candle_core::{Result, bail};

/// Every size that a kernel needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    /// Images, which do not see each other.
    pub(crate) batch: usize,
    /// Pixels of one image that ask.
    pub(crate) queries: usize,
    /// Pixels of one image that are asked.
    pub(crate) keys: usize,
    pub(crate) channels: usize,
    /// Equal runs of the channels, which do not see each other.
    pub(crate) heads: usize,
}

impl Sizes {
    /// From `q: [N, H, W, C]`, `k: [N, h, w, C]` and `v`, as `k`.
    pub(super) fn new(op: &str, [q, k, v]: [[usize; 4]; 3], heads: usize) -> Result<Self> {
        let [batch, height, width, channels] = q;
        let [key_batch, key_height, key_width, key_channels] = k;
        if k != v || (key_batch, key_channels) != (batch, channels) || q.contains(&0) || k.contains(&0) {
            bail!(
                "{op}: needs queries [batch, height, width, channel] and keys and values of one size, of the same batch and \
                 channels, got {q:?}, {k:?} and {v:?}"
            );
        }
        if heads == 0 || !channels.is_multiple_of(heads) {
            bail!("{op}: {channels} channels cannot be cut into {heads} equal heads");
        }
        Ok(Self { batch, queries: height * width, keys: key_height * key_width, channels, heads })
    }

    /// Channels of a head.
    pub(crate) fn depth(&self) -> usize {
        self.channels / self.heads
    }

    /// What the products of queries and keys are multiplied with, so that they do not grow with the channels.
    pub(crate) fn scale(&self) -> f64 {
        1.0 / (self.depth() as f64).sqrt()
    }
}
