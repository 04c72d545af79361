//! Two-dimensional convolution (cross-correlation, as deep learning calls it), channels-last.

mod depthwise;
mod gather;
mod geometry;
mod groups;
mod joined;
mod kernel;
mod op;
mod patches;
mod winograd;

pub use geometry::Conv2dConfig;
pub use joined::{conv2d_joined, conv2d_relu_joined};
pub use op::{conv2d, conv2d_relu};
