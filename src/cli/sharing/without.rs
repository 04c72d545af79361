//! A build that shares nothing says so.

use super::of_run;
use crate::cli::args_cache::{FetchArgs, PushArgs, RemoteStateArgs};
use crate::cli::args_remote::RemoteArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Terminal;
use crate::engine::{Cache, Cancel, Reach};
use crate::spec::RemoteSettings;

/// Runs `body` alone. A remote that the command line names is an error, one that settings name a warning.
pub(in crate::cli) fn share(
    args: &RemoteArgs,
    settings: &RemoteSettings,
    (_cache, _cancel, terminal): (&Cache, &Cancel, &Terminal),
    body: impl FnOnce(Reach<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match of_run(args, settings) {
        Some(_) if args.url.remote.is_some() => return Err(missing()),
        Some(_) => terminal.warn(&format!("the remote is left out of this run: {MESSAGE}")),
        None => {}
    }
    body(Reach::default())
}

pub(in crate::cli) fn cache_push(_args: &PushArgs) -> Result<(), Failure> {
    Err(missing())
}

pub(in crate::cli) fn cache_fetch(_args: &FetchArgs) -> Result<(), Failure> {
    Err(missing())
}

pub(in crate::cli) fn cache_remote(_args: &RemoteStateArgs) -> Result<(), Failure> {
    Err(missing())
}

const MESSAGE: &str = "this s2pipe was built without shared caches";

fn missing() -> Failure {
    Failure::usage(MESSAGE).help("build it with the feature `remote`, which is on by default".to_owned())
}
