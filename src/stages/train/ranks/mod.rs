//! A training by several processes: rank 0 is the task, the others take part.
//!
//! On one machine rank 0 starts them, one for each further GPU that the task holds. Across machines `srun` starts them all,
//! and they find rank 0 by a file in the task's folder of checkpoints.

mod children;
mod guest;
mod lead;
mod order;
mod span;

pub use guest::{take_part, take_part_elsewhere};
pub(super) use lead::{Others, ranks, with_share_of_threads};
pub use span::Span;
