//! Operators with gradients, on channels-last images `[batch, height, width, channel]`.
//!
//! candle's own either have wrong gradients or are slow on the CPU, so these are our own, one file an operator. All take
//! f32 (work) and f64 (gradient checks) and give the same bits whatever the number of threads. Alone they are nodes of candle's
//! graph; inside a model's training step they go on a tape of our own (`tape.rs`).

mod add;
mod attention;
mod batch_norm;
mod buffers;
mod chunks;
mod concat;
mod conv2d;
mod conv_transpose;
mod cross_entropy;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod dice;
mod element;
mod error_function;
mod exponential;
mod focal;
mod follow;
mod fused;
mod gelu;
mod group_norm;
pub(crate) mod lanes;
mod layer_norm;
mod lovasz;
mod matmul;
mod max_pool;
mod max_pool3x3;
mod mean_pool;
mod panel;
mod rank_statistics;
mod ranks;
mod relu;
mod scratch;
pub(crate) mod simd;
mod softmax;
pub(crate) mod tape;
mod upsample;
mod upsample_bilinear;
mod weighted_sum;

pub use add::add;
pub use attention::attention;
pub use batch_norm::{BatchStatistics, Running, batch_norm, batch_norm_running};
pub use buffers::Buffers;
pub use concat::concat_channels;
pub use conv_transpose::conv_transpose2x2;
pub use conv2d::{Conv2dConfig, conv2d, conv2d_joined, conv2d_relu, conv2d_relu_joined};
pub use cross_entropy::{softmax_cross_entropy, softmax_cross_entropy_with_gradient};
#[cfg(feature = "cuda")]
pub use cuda::{DeviceError, Gpu, GpuInfo, Numerics, OpenGpu, Shortage, count_confusion, gpus};
pub use dice::{dice_loss, dice_loss_with_gradient};
pub use focal::{focal_loss, focal_loss_with_gradient};
pub(crate) use follow::follow;
pub use gelu::gelu;
pub use group_norm::group_norm;
pub use layer_norm::layer_norm;
pub use lovasz::{lovasz_softmax, lovasz_softmax_with_gradient};
pub use max_pool::max_pool2x2;
pub use max_pool3x3::max_pool3x3;
pub use mean_pool::mean_pool;
pub use relu::relu;
pub use softmax::softmax_channels;
pub use tape::{Gradients, GradientsOf, Recorded, record};
pub use upsample::upsample_nearest2x;
pub use upsample_bilinear::upsample_bilinear;
pub use weighted_sum::weighted_sum;
