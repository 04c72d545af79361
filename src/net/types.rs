//! Words that the whole room shares.

use std::fmt;

use super::collective::RankError;
#[cfg(feature = "cuda")]
use super::ops::DeviceError;

/// Target value that the loss and the scores leave out: pixels without a label.
pub const IGNORE: u8 = 255;

/// How a forward pass treats normalisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Batch statistics; running statistics are updated.
    Train,
    /// Running statistics; nothing changes.
    Eval,
}

/// Something went wrong in the network room.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// candle refused a tensor operation.
    #[error("tensor operation failed: {0}")]
    Tensor(candle_core::Error),
    /// A GPU was asked for in a build without CUDA.
    #[error("this build of s2pipe has no CUDA: it computes on the CPU only")]
    NoCuda,
    /// A GPU cannot be used, or no longer.
    #[cfg(feature = "cuda")]
    #[error("{0}")]
    Device(DeviceError),
    /// The configuration does not fit the data; the text says which value and what would fit.
    #[error("{0}")]
    Config(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A weights or checkpoint file does not hold what the model needs.
    #[error("{path}: {problem}")]
    Weights {
        /// The file.
        path: std::path::PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// The loss became NaN or infinite.
    #[error(
        "the loss became {loss} at step {step} (epoch {epoch}): the last good checkpoint is kept; a smaller learning rate usually helps"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Global step, from 1.
        step: usize,
        /// The value seen.
        loss: f32,
    },
    /// The loss was finite but its gradients were not.
    #[error(
        "the gradients became {norm} at step {step} (epoch {epoch}): the last good checkpoint is kept; a smaller learning rate usually helps"
    )]
    GradientDiverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Global step, from 1.
        step: usize,
        /// Their global norm.
        norm: f64,
    },
    /// The ranks of a training cannot go on together.
    #[error("{0}")]
    Ranks(#[from] RankError),
    /// Stopped because the caller asked; a checkpoint was left.
    #[error("stopped on request")]
    Cancelled,
}

impl From<candle_core::Error> for NetError {
    fn from(error: candle_core::Error) -> Self {
        #[cfg(feature = "cuda")]
        if let Some(error) = DeviceError::of(&error) {
            return Self::Device(error);
        }
        Self::Tensor(error)
    }
}

#[cfg(feature = "cuda")]
impl From<DeviceError> for NetError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

/// Result of this room.
pub type Result<T> = std::result::Result<T, NetError>;

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Eval => "eval",
        })
    }
}
