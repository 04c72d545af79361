//! The command line of `s2pipe cache`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::args::CacheDir;
use super::args_remote::RemoteUrl;
use crate::spec::parse_bytes;

#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    pub(super) command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// List artefacts: what is there, how large, from when.
    Ls {
        /// Only this pipeline, stage, task or output: `landcover`, `train`, `predict/val_scene_0`.
        name: Option<String>,
        #[command(flatten)]
        cache: CacheDir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one artefact: from what it was made, and by what.
    Show {
        /// Name (`train`, `landcover/train/model`), key or digest, or their first digits.
        name: String,
        #[command(flatten)]
        cache: CacheDir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the path of an artefact.
    Path {
        /// As for `cache show`.
        name: String,
        #[command(flatten)]
        cache: CacheDir,
    },
    /// Print the bytes of an artefact that is one file, or of one file in it: `evaluate/metrics`, `train/model/model.json`.
    Cat {
        /// As for `cache show`, or a path in the readable view.
        name: String,
        #[command(flatten)]
        cache: CacheDir,
    },
    /// Say what takes how much room.
    Du {
        #[command(flatten)]
        cache: CacheDir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove results that nothing needs: all but the newest of every task, pinned ones and those of runs in progress.
    Gc(GcArgs),
    /// Read every stored byte and compare it with its digest. Exit code 1 when something is damaged.
    Verify {
        #[command(flatten)]
        cache: CacheDir,
        /// Remove what is damaged, so that it is made again when it is needed.
        #[arg(long)]
        repair: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Protect a run's results, or one result, from `cache gc`; without a name, list what is protected.
    Pin {
        /// A run (`latest`, its id or the end of it) or an artefact (as for `cache show`).
        name: Option<String>,
        #[command(flatten)]
        cache: CacheDir,
    },
    /// Take a pin away.
    Unpin {
        /// As for `cache pin`.
        name: String,
        #[command(flatten)]
        cache: CacheDir,
    },
    /// Put results into the shared cache that are not there.
    Push(PushArgs),
    /// Fetch results from the shared cache that are not here, without running anything.
    Fetch(FetchArgs),
    /// Say which shared cache is used, whether it can be reached, and how many results it has.
    Remote(RemoteStateArgs),
}

#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// Only this pipeline, stage, task or output, as for `cache ls` [default: the newest results of all pipelines].
    pub(super) name: Option<String>,

    #[command(flatten)]
    pub(super) url: RemoteUrl,
    #[command(flatten)]
    pub(super) cache: CacheDir,

    /// Put everything there again, also what is there: for a shared cache that was damaged.
    #[arg(long)]
    pub(super) again: bool,
}

#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// A pipeline's YAML file, or the name of results that this cache had once, as for `cache ls` [default: the default
    /// pipeline].
    #[arg(value_name = "PIPELINE or NAME")]
    pub(super) what: Option<String>,

    /// Change a parameter of the pipeline for this call: `--set train.epochs=5`.
    #[arg(long, value_name = "A.B.C=VALUE")]
    pub(super) set: Vec<String>,

    #[command(flatten)]
    pub(super) url: RemoteUrl,
    #[command(flatten)]
    pub(super) cache: CacheDir,
}

#[derive(Debug, Args)]
pub(super) struct RemoteStateArgs {
    #[command(flatten)]
    pub(super) url: RemoteUrl,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct GcArgs {
    #[command(flatten)]
    pub(super) cache: CacheDir,

    /// Only what no run has used for this long: `30d`, `12h`, `2w`.
    #[arg(long, value_name = "AGE", value_parser = read_age)]
    pub(super) older_than: Option<Duration>,

    /// Only until the store has at most this size, the least recently used first: `50GB`.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(super) max_size: Option<u64>,

    /// Nothing that was made or used within this time.
    #[arg(long, value_name = "AGE", value_parser = read_age, default_value = "1h")]
    pub(super) grace: Duration,

    /// Say what would go, remove nothing.
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// `30d`, `12h`, `1h 30m`; a day has 24 hours.
fn read_age(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 90s, 30m, 12h, 30d or 2w".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let total = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(total).map_err(|_| wrong())
}
