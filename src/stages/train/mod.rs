//! `train`: a patch index in, a network or a forest out.

mod augment;
mod card;
mod forest;
mod init;
mod kind;
mod losses;
mod models;
mod params;
mod ranks;
mod record;
mod source;
mod unheeded;

pub(in crate::stages) use card::Normalisation;
pub use card::{MODEL_CARD_FILE, MODEL_CARD_VERSION, MODEL_FILE, ModelCard};
pub(in crate::stages) use forest::is_forest;
pub use init::{INIT_VERSION, InitDocument};
pub(in crate::stages) use init::{begin, input as init_input};
pub use kind::Train;
pub(in crate::stages) use kind::{compute, prepare, training_failure};
pub use ranks::{Span, take_part, take_part_elsewhere};
pub(in crate::stages) use record::record;
pub(in crate::stages) use unheeded::unheeded;
