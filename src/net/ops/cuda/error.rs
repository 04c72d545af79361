//! What can be wrong with a GPU.

use candle_core::cuda_backend::cudarc::cudnn::CudnnError;
use candle_core::cuda_backend::cudarc::driver::{DriverError, sys};

use super::gate;

/// Why a GPU cannot be used, or no longer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeviceError {
    /// The driver's library is not there.
    #[error("no NVIDIA driver was found ({reason}): install one, or compute on the CPU with `--device cpu`")]
    NoDriver {
        /// What the loader says.
        reason: String,
    },
    /// One of the libraries beside the driver is not there.
    #[error(
        "{library} was not found ({reason}): install the CUDA libraries and cuDNN, and name their folders in \
         LD_LIBRARY_PATH or {folders}",
        folders = gate::FOLDERS
    )]
    NoLibrary {
        /// File name.
        library: String,
        /// What the loader says.
        reason: String,
    },
    /// The driver is older than the toolkit that this program was built with.
    #[error(
        "the NVIDIA driver knows CUDA {}.{}, this program was built with CUDA {}.{}: update the driver, or build with an \
         older toolkit", found / 1000, found % 1000 / 10, needed / 1000, needed % 1000 / 10
    )]
    DriverTooOld {
        /// As the driver tells it: 12080 is 12.8.
        found: i32,
        /// As the toolkit tells it.
        needed: i32,
    },
    /// The driver sees no GPU.
    #[error("the NVIDIA driver sees no GPU: look at `nvidia-smi` and at CUDA_VISIBLE_DEVICES")]
    NoGpu,
    /// There are fewer GPUs.
    #[error("there is no GPU {asked}: this machine has {count}, counted from 0")]
    NoSuchGpu {
        /// Its number.
        asked: usize,
        /// How many there are.
        count: usize,
    },
    /// The kernels are not made for it.
    #[error(
        "GPU {name} has compute capability {}.{}, this program needs 8.0 (A100, RTX 30) or newer: use `--device cpu`",
        capability.0, capability.1
    )]
    GpuTooOld {
        /// What it calls itself.
        name: String,
        /// Major and minor number.
        capability: (i32, i32),
    },
    /// An allocation failed.
    #[error("the GPU is out of memory{}", shortage.map(|s| s.to_string()).unwrap_or_default())]
    OutOfMemory {
        /// Where it is known.
        shortage: Option<Shortage>,
    },
    /// The driver refused a call; after most such errors the GPU is lost to this process.
    #[error(
        "the GPU failed in {call}: {reason}. What was computed since the last checkpoint is lost; run again to go on"
    )]
    Failed {
        /// What was called.
        call: String,
        /// The driver's words.
        reason: String,
    },
    /// cuDNN refused a call.
    #[error("cuDNN failed in {call}: {reason}")]
    Dnn {
        /// What was called.
        call: &'static str,
        /// Its words.
        reason: String,
    },
}

/// What was missing, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// Of the allocation that failed.
    pub asked: u64,
    /// That were free.
    pub free: u64,
    /// In all: of the GPU, or of what may be used of it.
    pub total: u64,
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [asked, free, total] = [self.asked, self.free, self.total].map(bytes);
        write!(f, ": {asked} more were asked for, {free} of {total} are free")
    }
}

/// `1.5 GB`, as the driver's tools count.
fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

impl DeviceError {
    /// A refused call of the driver.
    pub(super) fn driver(call: &str, error: DriverError) -> Self {
        match error.0 {
            sys::CUresult::CUDA_ERROR_NO_DEVICE => Self::NoGpu,
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::OutOfMemory { shortage: None },
            code => {
                let words = error.error_string().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
                Self::Failed { call: call.to_owned(), reason: format!("{words} ({code:?})") }
            }
        }
    }

    /// A refused call of cuDNN.
    pub(super) fn dnn(call: &'static str, error: CudnnError) -> Self {
        Self::Dnn { call, reason: format!("{:?}", error.0) }
    }

    /// The error inside candle's, where it is one of these, or one that candle met itself.
    pub(crate) fn of(error: &candle_core::Error) -> Option<Self> {
        use candle_core::cuda_backend::CudaError;
        match error {
            candle_core::Error::Cuda(inner) => match inner.downcast_ref::<Self>() {
                Some(found) => Some(found.clone()),
                None => inner.downcast_ref::<CudaError>().map(|error| match error {
                    CudaError::Cuda(error) => Self::driver("a call of candle", *error),
                    other => Self::Failed { call: "a call of candle".into(), reason: other.to_string() },
                }),
            },
            candle_core::Error::WithBacktrace { inner, .. }
            | candle_core::Error::Context { inner, .. }
            | candle_core::Error::WithPath { inner, .. } => Self::of(inner),
            _ => None,
        }
    }
}

impl From<DeviceError> for candle_core::Error {
    fn from(error: DeviceError) -> Self {
        Self::Cuda(Box::new(error))
    }
}
