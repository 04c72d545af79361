//! Networks: one file a kind.

mod config;
mod model;
mod network;
pub(crate) mod parameters;
mod unet;

pub use config::ModelConfig;
pub use model::Model;
use network::Network;
pub use unet::UNetConfig;
