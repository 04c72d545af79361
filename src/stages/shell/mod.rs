//! `shell`: any command, in a scratch directory of its own, with declared inputs and outputs.

mod group;
mod kind;
mod watchdog;

pub use kind::Shell;
