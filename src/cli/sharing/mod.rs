//! Results shared with others: what a run and `s2pipe cache push`, `fetch` and `remote` do with the shared cache.

#[cfg(feature = "remote")]
mod commands;
#[cfg(feature = "remote")]
mod during;
#[cfg(not(feature = "remote"))]
mod without;

use super::args_remote::{RemoteArgs, RemoteUrl};
use crate::spec::{Push, RemoteSettings};

#[cfg(feature = "remote")]
pub(super) use commands::{cache_fetch, cache_push, cache_remote};
#[cfg(feature = "remote")]
pub(super) use during::share;
#[cfg(not(feature = "remote"))]
pub(super) use without::{cache_fetch, cache_push, cache_remote, share};

/// Names the shared cache of people who set it once for all.
const VARIABLE: &str = "S2PIPE_REMOTE";

/// Where the shared cache is: the command line, then the environment, then the settings.
fn url(given: &RemoteUrl, settings: &RemoteSettings) -> Option<String> {
    let variable = || std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    given.remote.clone().or_else(variable).or_else(|| settings.url.clone())
}

/// The shared cache of a run and what is pushed to it; `None`: the run is alone.
fn of_run(args: &RemoteArgs, settings: &RemoteSettings) -> Option<(String, Push)> {
    let url = if args.no_remote { None } else { url(&args.url, settings) };
    let push = args.push.map(Push::from).or(settings.push).unwrap_or(Push::Ask);
    url.map(|url| (url, push))
}
