//! Exit codes: documented constants, part of the public behaviour.

/// All went well.
pub const FINE: u8 = 0;
/// A stage failed, or a file could not be read or written.
pub const FAILED: u8 = 1;
/// The command line or the pipeline is wrong: nothing ran.
pub const USAGE: u8 = 2;
/// `status` found something to run.
pub const STALE: u8 = 3;
/// Interrupted by SIGINT or SIGTERM.
pub const INTERRUPTED: u8 = 130;
