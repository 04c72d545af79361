//! `train`: a patch index in, a network out.

mod augment;
mod card;
mod kind;
mod losses;
mod models;
mod params;
mod record;
mod source;

pub(in crate::stages) use card::Normalisation;
pub use card::{MODEL_CARD_FILE, MODEL_CARD_VERSION, MODEL_FILE, ModelCard};
pub use kind::Train;
