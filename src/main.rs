//! s2pipe
fn main() {}
