//! The `s2pipe` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    s2pipe::cli::main()
}
