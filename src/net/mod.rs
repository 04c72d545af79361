//! Operators, layers, models, losses, optimiser, trainer. Inside this room every image tensor is channels-last,
//! `[batch, height, width, channel]`.

pub mod augment;
mod batches;
mod checkpoint;
pub mod config;
mod confusion;
pub mod history;
pub mod layers;
pub mod loss;
pub mod models;
pub mod ops;
pub mod optim;
pub mod predict;
pub mod rng;
pub mod sampling;
pub mod schedule;
mod segmenter;
pub mod source;
pub mod trainer;
mod types;
mod values;
pub mod weights;

pub use config::{ClassWeights, LossConfig, OptimizerConfig, TrainConfig};
pub use history::{Ended, EpochRecord, History, HoldoutScore};
pub use loss::CrossEntropy;
pub use models::{Model, ModelConfig, UNetConfig};
pub use ops::Buffers;
pub use predict::{PredictHooks, PredictOptions, SceneSource, predict_scene};
pub use segmenter::Segmenter;
pub use source::{Part, PatchSource};
pub use trainer::{TrainHooks, Trained, train};
pub use types::{IGNORE, Mode, NetError, Result};
