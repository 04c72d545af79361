//! Convolutions by cuDNN: forward, and the gradients of image and weights.

mod descriptors;
mod pass;
mod run;

pub(crate) use descriptors::ConvSpec;
pub(super) use run::Dnn;
