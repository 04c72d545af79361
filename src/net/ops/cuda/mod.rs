//! The operators on NVIDIA GPUs: convolutions by cuDNN, everything else by kernels of our own (`kernels/`).
//!
//! Images are f32 or bf16; parameters, statistics and losses are f32, and so is all arithmetic in between. Sums are taken in
//! a fixed order, so that the same work gives the same bits.

pub(crate) mod attention;
pub(crate) mod batch;
pub(crate) mod blend;
pub(crate) mod conv;
mod dnn;
mod error;
mod gate;
mod gpu;
pub(crate) mod image;
pub(crate) mod launch;
pub(crate) mod layer_norm;
pub(crate) mod loss;
pub(crate) mod lovasz;
#[cfg(feature = "nccl")]
mod nccl;
pub(crate) mod norm;
mod norm_ranks;
pub(crate) mod optimizer;
pub(crate) mod pointwise;
mod pool;
pub(crate) mod pool3x3;
pub(crate) mod ranks;
mod rows;
pub(crate) mod softmax;
mod staged;
pub(crate) mod turn;

pub use error::{DeviceError, Shortage};
pub use gpu::{Gpu, GpuInfo, Numerics, OpenGpu, gpus};
pub use softmax::count_confusion;
