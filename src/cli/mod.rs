//! The commands, their output and the exit codes.
