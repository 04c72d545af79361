//! How a command fails: what to print, what to do about it, and the exit code.

use std::fmt::Display;

use super::exit;
use crate::spec::Diagnostics;

/// A command that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// Printed after `error: `; `None` when everything has been said already.
    pub(super) message: Option<String>,
    /// Printed after `help: `.
    pub(super) help: Option<String>,
    /// Printed as it is, in place of message and help: problems of a pipeline, with their places.
    pub(super) diagnostics: Option<Box<Diagnostics>>,
}

impl Failure {
    /// Something could not be done: exit code 1.
    pub(super) fn failed(message: impl Display) -> Self {
        Self { code: exit::FAILED, message: Some(message.to_string()), help: None, diagnostics: None }
    }

    /// The command line or the pipeline is wrong: exit code 2.
    pub(super) fn usage(message: impl Display) -> Self {
        Self { code: exit::USAGE, ..Self::failed(message) }
    }

    /// Everything has been said: only the exit code is left.
    pub(super) fn silent(code: u8) -> Self {
        Self { code, message: None, help: None, diagnostics: None }
    }

    /// Adds what to do.
    pub(super) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { diagnostics: Some(Box::new(diagnostics)), ..Self::silent(exit::USAGE) }
    }
}
