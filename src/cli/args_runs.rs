//! The command line of `s2pipe runs` and `s2pipe verify`.

use clap::{Args, Subcommand};

use super::args::{CacheDir, DeviceArgs, PipelineArgs};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    pub(super) command: Option<RunsCommand>,

    #[command(flatten)]
    pub(super) list: RunsListArgs,
}

#[derive(Debug, Args)]
pub(super) struct RunsListArgs {
    /// Only runs of this pipeline.
    #[arg(long, value_name = "NAME")]
    pub(super) pipeline: Option<String>,

    /// At most this many, the newest.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(super) last: usize,

    #[command(flatten)]
    pub(super) cache: CacheDir,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RunsCommand {
    /// Show one run: what was asked for, what ran, the scores.
    Show {
        /// Run id, its beginning or end, `latest`, or `latest~1` for the one before.
        run: String,
        #[command(flatten)]
        cache: CacheDir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare two runs: parameters, data, seconds, scores.
    Diff {
        /// The first run, as for `runs show`.
        a: String,
        /// The second run.
        b: String,
        #[command(flatten)]
        cache: CacheDir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,

    /// The stage whose tasks run again.
    #[arg(long, value_name = "STAGE")]
    pub(super) rerun: String,

    #[command(flatten)]
    pub(super) cache: CacheDir,

    /// Threads for each task [default: the number of cores].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) jobs: Option<u16>,

    #[command(flatten)]
    pub(super) device: DeviceArgs,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}
