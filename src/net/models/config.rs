//! Which network, or forest, and how large.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::deeplab::DeepLabConfig;
use super::fpn::FpnConfig;
use super::mlp::MlpConfig;
use super::segformer::SegFormerConfig;
use super::unet::UNetConfig;
use crate::net::forest::ForestConfig;
use crate::net::types::{NetError, Result};

/// A network's kind and sizes, as the pipeline file has them: `{kind: unet, width: 24, depth: 4}`. A new kind is a file in
/// this folder and an arm here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// [`UNetConfig`].
    #[serde(rename = "unet")]
    UNet(UNetConfig),
    /// [`MlpConfig`].
    Mlp(MlpConfig),
    /// [`FpnConfig`].
    Fpn(FpnConfig),
    /// [`DeepLabConfig`].
    #[serde(rename = "deeplabv3plus")]
    DeepLab(DeepLabConfig),
    /// [`SegFormerConfig`].
    #[serde(rename = "segformer")]
    SegFormer(SegFormerConfig),
    /// [`ForestConfig`]: no network, trained and stored in ways of its own (`net::forest`).
    #[serde(rename = "random_forest")]
    RandomForest(ForestConfig),
}

impl ModelConfig {
    /// What height and width of an image must be a multiple of: a power of 2.
    #[must_use]
    pub fn multiple(&self) -> usize {
        match self {
            Self::UNet(config) => config.multiple(),
            Self::Mlp(_) => 1,
            Self::Fpn(config) => config.multiple(),
            Self::DeepLab(config) => config.multiple(),
            Self::SegFormer(config) => config.multiple(),
            Self::RandomForest(_) => 1,
        }
    }

    /// The name in the pipeline file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UNet(_) => "unet",
            Self::Mlp(_) => "mlp",
            Self::Fpn(_) => "fpn",
            Self::DeepLab(_) => "deeplabv3plus",
            Self::SegFormer(_) => "segformer",
            Self::RandomForest(_) => "random_forest",
        }
    }

    /// Whether the network goes down by a ResNet, whose weights may come from elsewhere.
    #[must_use]
    pub fn has_resnet(&self) -> bool {
        match self {
            Self::UNet(config) => !config.encoder.is_blocks(),
            Self::Fpn(config) => !config.encoder.is_blocks(),
            Self::DeepLab(config) => !config.encoder.is_blocks(),
            Self::Mlp(_) | Self::SegFormer(_) | Self::RandomForest(_) => false,
        }
    }

    /// Refuses sizes that make no network.
    ///
    /// # Errors
    /// [`NetError::Config`] with the value and the range that it must lie in.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::UNet(config) => config.check(),
            Self::Mlp(config) => config.check(),
            Self::Fpn(config) => config.check(),
            Self::DeepLab(config) => config.check(),
            Self::SegFormer(config) => config.check(),
            Self::RandomForest(config) => config.check(),
        }
    }
}

/// Refuses a size outside of `range`.
pub(super) fn check_range(kind: &str, name: &str, value: usize, range: RangeInclusive<usize>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(NetError::Config(format!("{kind}: {name} must lie in {range:?}, found {value}")))
}
