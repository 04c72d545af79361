//! Operators, layers, models, losses, optimiser, trainer. Inside this room every image tensor is channels-last,
//! `[batch, height, width, channel]`.

pub mod augment;
pub mod average;
mod batches;
mod checkpoint;
pub mod class_weights;
pub mod collective;
pub mod config;
mod confusion;
mod device;
pub mod forest;
pub mod history;
pub mod init;
pub mod layers;
pub mod loss;
pub mod models;
pub mod ops;
pub mod optim;
pub mod predict;
pub mod range_test;
pub mod rng;
pub mod sampling;
pub mod schedule;
mod segmenter;
pub mod source;
pub mod trainer;
mod types;
mod values;
pub mod weights;

pub use class_weights::ClassWeights;
pub use collective::{Collective, RankError, Team};
pub use config::TrainConfig;
pub use device::{Compute, GpuUse, Wanted, count_gpus, describe_gpus};
pub use forest::{Forest, ForestConfig};
pub use history::{Ended, EpochRecord, History, HoldoutScore};
pub use init::{InitReport, init};
pub use loss::{Criterion, CrossEntropy, LossConfig};
pub use models::{
    BlockKind, DeepLabConfig, EncoderKind, FpnConfig, MlpConfig, Model, ModelConfig, SegFormerConfig, UNetConfig,
};
pub use ops::Buffers;
#[cfg(feature = "cuda")]
pub use ops::{DeviceError, GpuInfo, gpus};
pub use optim::OptimizerConfig;
pub use predict::{Augment, PredictHooks, PredictOptions, SceneSource, predict_scene, predict_scene_on};
pub use range_test::{RangeTest, RatePoint, Suggestion, suggest};
pub use segmenter::Segmenter;
pub use source::{Part, PatchSource, Place};
pub use trainer::{TrainHooks, Trained, draw, range_test, train, train_from, train_on, train_together};
pub use types::{IGNORE, Mode, NetError, Result};
