//! The seam between training and the networks: what a trainer or a predictor asks of one.

use candle_core::{Device, Tensor, Var};

use super::ops::Recorded;
use super::{Mode, Model, Result};

/// A network from bands to class logits.
pub trait Segmenter: Sync {
    /// Trainable parameters by name, in a fixed order.
    fn parameters(&self) -> &[(String, Var)];

    /// Running statistics by name, in a fixed order.
    fn buffers(&self) -> &[(String, Var)];

    /// Logits `[n, height, width, classes]` of normalised bands `[n, height, width, bands]`.
    ///
    /// # Errors
    /// [`super::NetError`] when the shape does not fit the network.
    fn forward(&self, bands: &Tensor, mode: Mode) -> Result<Tensor>;

    /// As `forward` in [`Mode::Train`], with the record of it, to go back over.
    ///
    /// # Errors
    /// As `forward`.
    fn record(&self, bands: &Tensor) -> Result<Recorded>;

    /// Bands of an input pixel.
    fn bands(&self) -> usize;

    /// Classes, the channels of the logits.
    fn classes(&self) -> usize;

    /// What height and width of an input must be multiples of.
    fn multiple(&self) -> usize;

    /// Where the parameters live.
    fn device(&self) -> Device {
        self.parameters().first().map_or(Device::Cpu, |(_, var)| var.device().clone())
    }
}

impl Segmenter for Model {
    fn parameters(&self) -> &[(String, Var)] {
        self.parameters()
    }

    fn buffers(&self) -> &[(String, Var)] {
        self.buffers()
    }

    fn forward(&self, bands: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward(bands, mode)
    }

    fn record(&self, bands: &Tensor) -> Result<Recorded> {
        self.record(bands)
    }

    fn bands(&self) -> usize {
        self.bands()
    }

    fn classes(&self) -> usize {
        self.classes()
    }

    fn multiple(&self) -> usize {
        self.config().multiple()
    }
}
