//! Perceptron of single pixels: what can be told without looking around.

use candle_core::{Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

use super::Network;
use super::config::check_range;
use super::parameters::Registry;
use crate::net::layers::{Conv2d, ConvNormRelu};
use crate::net::types::Result;

/// Sizes of a perceptron. Images may have any size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Units of a hidden layer.
    pub width: usize,
    /// Hidden layers; with 0 of them the network is a logistic regression.
    pub depth: usize,
}

impl MlpConfig {
    /// Refuses sizes that make no network.
    pub(super) fn check(&self) -> Result<()> {
        check_range("mlp", "width", self.width, 1..=1024)?;
        check_range("mlp", "depth", self.depth, 0..=8)
    }
}

/// The network: hidden layers, each a 1x1 convolution with batch normalisation and rectifier, and a last one without.
#[derive(Debug)]
pub(super) struct Mlp {
    layers: Vec<ConvNormRelu>,
    head: Conv2d,
}

impl Mlp {
    pub(super) fn new(config: &MlpConfig, r: &mut Registry, bands: usize, classes: usize) -> Result<Self> {
        let inputs = std::iter::once(bands).chain(std::iter::repeat(config.width));
        // The numbers are those of a PyTorch `Sequential(conv, norm, relu, conv, norm, relu, ..)`.
        let layer = |(i, ci): (usize, usize)| {
            let (conv, norm) = (format!("layers.{}", 3 * i), format!("layers.{}", 3 * i + 1));
            ConvNormRelu::new(r, (&conv, &norm), 1, ci, config.width)
        };
        let layers = inputs.take(config.depth).enumerate().map(layer).collect::<Result<_>>()?;
        let last = if config.depth == 0 { bands } else { config.width };
        Ok(Self { layers, head: Conv2d::new(r, "head", 1, last, classes)? })
    }
}

impl Network for Mlp {
    fn forward(&self, x: &Tensor, train: bool) -> CandleResult<Tensor> {
        let mut x = x.clone();
        for layer in &self.layers {
            x = layer.forward_t(&x, train)?;
        }
        self.head.forward_t(&x, train)
    }
}
