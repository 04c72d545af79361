//! A network with its parameters.

use std::fmt;

use candle_core::{Device, Tensor, Var};

use super::Network;
use super::config::ModelConfig;
use super::deeplab::DeepLab;
use super::fpn::Fpn;
use super::mlp::Mlp;
use super::parameters::{Axes, Registry};
use super::segformer::SegFormer;
use super::unet::UNet;
use crate::net::ops::{Recorded, tape};
use crate::net::types::{Mode, NetError, Result};
use crate::net::values::{copy_in, copy_out};

/// A network that turns images into logits, and all its tensors by name.
pub struct Model {
    config: ModelConfig,
    bands: usize,
    classes: usize,
    network: Box<dyn Network>,
    parameters: Vec<(String, Var)>,
    buffers: Vec<(String, Var)>,
    axes: Vec<Axes>,
}

impl Model {
    /// A model for images of `bands` channels and `classes` classes. Its first values are drawn as PyTorch draws them, from
    /// a generator of our own: they depend on `seed` and the tensors' names alone.
    ///
    /// # Errors
    /// Sizes that make no network.
    pub fn new(config: &ModelConfig, bands: usize, classes: usize, seed: u64) -> Result<Self> {
        Self::build(config, bands, classes, Registry::new(seed, &Device::Cpu))
    }

    /// The same model on `device`: a copy of its tensors.
    ///
    /// # Errors
    /// candle's: a device that has no room for it.
    pub fn on(&self, device: &Device) -> Result<Self> {
        // The seed does not matter: every value is copied over.
        let copy = Self::build(&self.config, self.bands, self.classes, Registry::new(0, device))?;
        copy_in(&copy.parameters, &copy_out(&self.parameters)?)?;
        copy_in(&copy.buffers, &copy_out(&self.buffers)?)?;
        Ok(copy)
    }

    fn build(config: &ModelConfig, bands: usize, classes: usize, mut registry: Registry) -> Result<Self> {
        config.check()?;
        if bands == 0 || classes == 0 || classes > 255 {
            return Err(NetError::Config(format!(
                "a model needs at least 1 band and 1 to 255 classes, found {bands} bands and {classes} classes"
            )));
        }
        let network: Box<dyn Network> = match config {
            ModelConfig::UNet(config) => Box::new(UNet::new(config, &mut registry, bands, classes)?),
            ModelConfig::Mlp(config) => Box::new(Mlp::new(config, &mut registry, bands, classes)?),
            ModelConfig::Fpn(config) => Box::new(Fpn::new(config, &mut registry, bands, classes)?),
            ModelConfig::DeepLab(config) => Box::new(DeepLab::new(config, &mut registry, bands, classes)?),
            ModelConfig::SegFormer(config) => Box::new(SegFormer::new(config, &mut registry, bands, classes)?),
            ModelConfig::RandomForest(_) => {
                return Err(NetError::Config(
                    "a random forest is no network: it has no weights to train or load".into(),
                ));
            }
        };
        let Registry { parameters, buffers, axes, .. } = registry;
        Ok(Self { config: *config, bands, classes, network, parameters, buffers, axes })
    }

    /// Logits `[N, H, W, classes]` of images `[N, H, W, bands]`. [`Mode::Train`] leaves a graph for the backward pass and
    /// updates the buffers; [`Mode::Eval`] leaves neither.
    ///
    /// # Errors
    /// A band count other than the model's; a side that is no multiple of [`ModelConfig::multiple`].
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.check_image(x)?;
        Ok(match mode {
            Mode::Train => tape::as_one_node(x, &self.parameters, || self.network.forward(x, true))?,
            Mode::Eval => self.network.forward(x, false)?,
        })
    }

    /// As [`Self::forward`] in [`Mode::Train`], for a training that goes back itself. The only way to train on a GPU.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn record(&self, x: &Tensor) -> Result<Recorded> {
        self.check_image(x)?;
        Ok(tape::record(x, || self.network.forward(x, true))?)
    }

    fn check_image(&self, x: &Tensor) -> Result<()> {
        let (_, height, width, bands) = x.dims4()?;
        if bands != self.bands {
            return Err(NetError::Config(format!(
                "the model was made for {} bands, but the image has {bands}",
                self.bands
            )));
        }
        let multiple = self.config.multiple();
        if height == 0 || width == 0 || !height.is_multiple_of(multiple) || !width.is_multiple_of(multiple) {
            return Err(NetError::Config(format!(
                "{} needs images whose height and width are multiples of {multiple}, found {height}x{width}",
                self.config.kind()
            )));
        }
        Ok(())
    }

    /// Trainable tensors by their PyTorch names, in the order of the layers.
    #[must_use]
    pub fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    /// Running statistics by their PyTorch names, in the order of the layers.
    #[must_use]
    pub fn buffers(&self) -> &[(String, Var)] {
        &self.buffers
    }

    /// Kind and sizes.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Channels of an input image.
    #[must_use]
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// Channels of the logits.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Parameters, then buffers, each with how it lies to PyTorch's.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &Var, Axes)> {
        let axes = self.axes.iter().copied().chain(std::iter::repeat(Axes::Same));
        self.parameters.iter().chain(&self.buffers).zip(axes).map(|((name, var), axes)| (name.as_str(), var, axes))
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.config)
            .field("bands", &self.bands)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}
