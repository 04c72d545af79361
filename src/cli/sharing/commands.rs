//! `s2pipe cache push`, `fetch` and `remote`.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::during::{cannot_open, tell, wrong_address};
use super::url;
use crate::cli::args::PipelineArgs;
use crate::cli::args_cache::{FetchArgs, PushArgs, RemoteStateArgs};
use crate::cli::args_remote::RemoteUrl;
use crate::cli::commands::{engine_failure, is_called, stop_on_signals};
use crate::cli::exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Terminal, print, print_json};
use crate::cli::project::{Project, standalone_cache, standalone_settings};
use crate::engine::{Cache, Cancel, Entry, Key, Plan, Selection, TaskState, plan};
use crate::remote::{Address, Fetched, SharedCache};
use crate::spec::{Push, RemoteSettings};

/// Pushes the newest results of this cache, or those with a name.
pub(in crate::cli) fn cache_push(args: &PushArgs) -> Result<(), Failure> {
    let cache = standalone_cache(&args.cache)?;
    let keys = keys_called(&cache, args.name.as_deref(), |_| true)?;
    let terminal = Terminal::plain();
    let (address, shared) = open(&args.url, &standalone_settings()?, &terminal)?;
    shared.state().map_err(cannot_open)?;
    let cancel = Cancel::default();
    stop_on_signals(&cancel)?;
    let progress = shared.push_all(&keys, &cache, &cancel, args.again, |p| terminal.pushing(p.done, p.total));
    terminal.close();
    if progress.failed == 0 && progress.sent.results == 0 {
        terminal.say(&format!("all {} result(s) are in {address}", progress.sent.already));
    }
    tell(&progress, &address, &terminal);
    ended(progress.failed == 0, &cancel)
}

/// Fetches what is missing: of a pipeline, or of what this cache had once under a name.
pub(in crate::cli) fn cache_fetch(args: &FetchArgs) -> Result<(), Failure> {
    let what = args.what.as_deref();
    if let Some(name) = what.filter(|what| !names_a_pipeline(what)) {
        return fetch_by_name(args, name);
    }
    let pipeline = PipelineArgs { pipeline: what.map(PathBuf::from), set: args.set.clone() };
    let project = Project::load(&pipeline)?;
    let (graph, cache) = (project.graph()?, project.cache(&args.cache)?);
    let look = || plan(&graph, &cache, &Selection::default()).map_err(engine_failure);
    let mut fetching = Fetching::begin(&args.url, &project.site.remote)?;
    let mut asked = HashSet::new();
    // What a task reads is part of its key, so a result that has come makes others known.
    loop {
        let keys: Vec<Key> = missing(&look()?).into_iter().filter(|key| asked.insert(*key)).collect();
        if keys.is_empty() || fetching.fetch(&keys, &cache) == 0 {
            break;
        }
    }
    let left = look()?.tasks.iter().filter(|task| task.state != TaskState::Cached).count();
    fetching.end(&match left {
        0 => "`s2pipe run` has nothing left to run".to_owned(),
        left => format!("{left} task(s) are left to run"),
    })
}

fn fetch_by_name(args: &FetchArgs, name: &str) -> Result<(), Failure> {
    let cache = standalone_cache(&args.cache)?;
    let gone = |entry: &Entry| matches!(cache.parcel(entry.key), Ok(None) | Err(_));
    let keys = keys_called(&cache, Some(name), gone)?;
    let mut fetching = Fetching::begin(&args.url, &standalone_settings()?)?;
    fetching.fetch(&keys, &cache);
    fetching.end("the rest of what has this name was there")
}

/// Says which remote is used and what it is like.
pub(in crate::cli) fn cache_remote(args: &RemoteStateArgs) -> Result<(), Failure> {
    let (address, shared) = open(&args.url, &standalone_settings()?, &Terminal::plain())?;
    let state = shared.state();
    if args.json {
        print_json(&match &state {
            Ok(state) => {
                json!({"address": state.address, "reachable": true, "format": state.format, "results": state.results})
            }
            Err(error) => json!({"address": address.to_string(), "reachable": false, "error": error.to_string()}),
        })?;
        return state.map(|_| ()).map_err(|_| Failure::silent(exit::FAILED));
    }
    let state = state.map_err(cannot_open)?;
    let format = state.format.map_or_else(|| "nothing has been pushed yet".to_owned(), |n| format!("format {n}"));
    print(&format!("{address}: reachable, {format}, {} result(s)\n", state.results))
}

/// Fetching in several goes.
struct Fetching {
    terminal: Terminal,
    address: Address,
    shared: SharedCache,
    cancel: Cancel,
    all: Fetched,
}

impl Fetching {
    fn begin(given: &RemoteUrl, settings: &RemoteSettings) -> Result<Self, Failure> {
        let terminal = Terminal::plain();
        let (address, shared) = open(given, settings, &terminal)?;
        shared.state().map_err(cannot_open)?;
        let cancel = Cancel::default();
        stop_on_signals(&cancel)?;
        Ok(Self { terminal, address, shared, cancel, all: Fetched::default() })
    }

    /// Returns how many came.
    fn fetch(&mut self, keys: &[Key], cache: &Cache) -> usize {
        let total = keys.len();
        let tick = |done| self.terminal.fetching(done, total);
        let came = self.shared.fetch_all(keys, cache, &self.cancel, tick);
        self.terminal.close();
        self.all.fetched += came.fetched;
        self.all.missing += came.missing;
        self.all.failed += came.failed;
        came.fetched
    }

    fn end(self, rest: &str) -> Result<(), Failure> {
        let Fetched { fetched, missing, failed } = self.all;
        let not = if missing > 0 { format!(", which has none of {missing} other(s)") } else { String::new() };
        let bad = if failed > 0 { format!("; {failed} could not be taken") } else { String::new() };
        self.terminal.say(&format!("fetched {fetched} result(s) from {}{not}{bad}; {rest}", self.address));
        ended(failed == 0, &self.cancel)
    }
}

fn ended(well: bool, cancel: &Cancel) -> Result<(), Failure> {
    match (well, cancel.is_cancelled()) {
        (true, false) => Ok(()),
        (_, true) => Err(Failure::silent(exit::INTERRUPTED)),
        // What went wrong has been said.
        (false, false) => Err(Failure::silent(exit::FAILED)),
    }
}

fn open(given: &RemoteUrl, settings: &RemoteSettings, terminal: &Terminal) -> Result<(Address, SharedCache), Failure> {
    let none = || {
        let help = "name one with `--remote URL`, in S2PIPE_REMOTE, or under `remote:` in the pipeline".to_owned();
        Failure::usage("no shared cache is named").help(help)
    };
    let address = Address::parse(&url(given, settings).ok_or_else(none)?).map_err(wrong_address)?;
    let shared = SharedCache::open(&address, Push::Always, Box::new(terminal.teller())).map_err(cannot_open)?;
    Ok((address, shared))
}

fn names_a_pipeline(what: &str) -> bool {
    let path = Path::new(what);
    path.is_file() || path.extension().is_some_and(|end| end == "yaml" || end == "yml")
}

/// Keys of the results in the readable view that have a name, and about which `wanted` says so.
fn keys_called(cache: &Cache, name: Option<&str>, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Key>, Failure> {
    let entries = cache.entries(None);
    let called: Vec<&Entry> = entries.iter().filter(|e| name.is_none_or(|name| is_called(e, name))).collect();
    if let (Some(name), []) = (name, called.as_slice()) {
        return Err(Failure::failed(format!("nothing in {} is called {name:?}", cache.root().display()))
            .help("`s2pipe cache ls` lists everything".to_owned()));
    }
    let keys: BTreeSet<Key> = called.into_iter().filter(|entry| wanted(entry)).map(|entry| entry.key).collect();
    Ok(keys.into_iter().collect())
}

/// Keys of the tasks that would have to run and whose inputs are known.
fn missing(plan: &Plan) -> Vec<Key> {
    plan.tasks.iter().filter(|t| matches!(t.state, TaskState::WillRun { .. })).filter_map(|t| t.key).collect()
}
