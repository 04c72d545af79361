//! Standard output. A reader that goes away (`| head`) is no error.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::failure::Failure;

/// Prints text to standard output.
pub(in crate::cli) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output cannot be written: {e}")))
        }
        _ => Ok(()),
    }
}

/// Prints everything that a reader yields to standard output.
pub(in crate::cli) fn print_bytes(mut from: impl io::Read) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match io::copy(&mut from, &mut out).and_then(|_| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("the bytes cannot be printed: {e}")))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON value and a newline to standard output.
pub(in crate::cli) fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(&(text + "\n"))
}
