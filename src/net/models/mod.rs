//! Networks: one file a kind.

mod block;
mod config;
mod deeplab;
mod encoder;
mod fpn;
mod mlp;
mod model;
mod network;
pub(crate) mod parameters;
pub(crate) mod resnet;
mod segformer;
mod transformer;
mod unet;

pub use block::BlockKind;
pub use config::ModelConfig;
pub use deeplab::DeepLabConfig;
pub use encoder::EncoderKind;
pub use fpn::FpnConfig;
pub use mlp::MlpConfig;
pub use model::Model;
use network::Network;
pub use segformer::SegFormerConfig;
pub use unet::UNetConfig;
