//! The way down of a ResNet (He et al. 2016) with the basic blocks of its smaller variants, under torchvision's names: so
//! that weights that were trained elsewhere fit.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;

use super::block::Residual;
use super::parameters::Registry;
use crate::net::layers::ConvNormRelu;
use crate::net::ops;
use crate::net::types::Result;

/// What stands before torchvision's names.
pub(crate) const PREFIX: &str = "encoder.";
/// Halvings of the whole network: the first convolution, the maximum, and three of its four layers.
pub(super) const MAX_DEPTH: usize = 5;

/// The first convolution, a maximum, and up to four layers of residual blocks.
#[derive(Debug)]
pub(super) struct ResNet {
    stem: ConvNormRelu,
    layers: Vec<Vec<Residual>>,
}

/// Channels after each of `depth` halvings of a network whose first convolution has `width`.
pub(super) fn channels(width: usize, depth: usize) -> impl Iterator<Item = usize> {
    (0..depth).map(move |level| width << level.saturating_sub(1))
}

impl ResNet {
    /// For images of `bands` channels, with so many `blocks` in each layer, as deep as to halve the image `depth` times.
    pub(super) fn new(
        r: &mut Registry,
        blocks: [usize; MAX_DEPTH - 1],
        bands: usize,
        (width, depth): (usize, usize),
    ) -> Result<Self> {
        let named = |part: &str| format!("{PREFIX}{part}");
        let stem = ConvNormRelu::new(r, (&named("conv1"), &named("bn1")), 7, bands, width)?.strided(2);
        let mut layers = Vec::new();
        let mut ci = width;
        for (number, (co, blocks)) in channels(width, depth).skip(1).zip(blocks).enumerate() {
            let mut layer = Vec::new();
            for block in 0..blocks {
                // The maximum halves before the first layer; the others halve with their first block.
                let stride = if number > 0 && block == 0 { 2 } else { 1 };
                layer.push(Residual::new(r, &named(&format!("layer{}.{block}", number + 1)), ci, co, stride)?);
                ci = co;
            }
            layers.push(layer);
        }
        Ok(Self { stem, layers })
    }

    /// What is made of the image after each halving, from fine to coarse.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> CandleResult<Vec<Tensor>> {
        let mut x = self.stem.forward_t(x, train)?;
        let mut levels = vec![x.clone()];
        for (number, layer) in self.layers.iter().enumerate() {
            if number == 0 {
                x = ops::max_pool3x3(&x)?;
            }
            for block in layer {
                x = block.forward_t(&x, train)?;
            }
            levels.push(x.clone());
        }
        Ok(levels)
    }
}
