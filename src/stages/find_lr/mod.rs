//! `find_lr`: a patch index and the settings of a `train` stage in, a learning rate for it out.

mod kind;
mod report;

pub use kind::FindLr;
pub use report::{RATES_VERSION, RatesReport};
