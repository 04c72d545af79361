//! Attention of several heads, as one operator: each pixel of an image takes a mean of values, weighted by how well its query
//! fits their keys.

mod kernel;
mod op;
mod sizes;

pub use op::attention;
#[cfg(feature = "cuda")]
pub(crate) use sizes::Sizes;
