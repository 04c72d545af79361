//! What commands print, and how.

mod scores;
mod size;
mod summary;
mod table;
mod terminal;
mod text;

pub(super) use size::bytes;
pub(super) use summary::{summary_json, summary_text};
pub(super) use table::{Align, Table};
pub(super) use terminal::Terminal;
pub(super) use text::{print, print_bytes, print_json};
