//! `compare`: all variants of what it reads, ranked by a score.

mod groups;
mod kind;
mod ranking;

pub use groups::Spread;
pub use kind::Compare;
pub use ranking::{Order, RANKING_VERSION, Ranking, Row};
