//! The `s2pipe` binary: everything is in the library.

use std::process::ExitCode;

// Training makes and drops the same large tensors again and again.
#[global_allocator]
static BUFFERS: s2pipe::net::Buffers = s2pipe::net::Buffers::new();

fn main() -> ExitCode {
    s2pipe::cli::main()
}
