//! The command line as the user writes it. Checked values are made where the commands start.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::spec::parse_bytes;

/// From Sentinel-2 tiles to a scored land-cover map in one command.
///
/// Change one line of YAML, and only what depends on that line runs again.
#[derive(Debug, Parser)]
#[command(name = "s2pipe", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,

    #[command(flatten)]
    pub(super) verbosity: Verbosity,
}

const AFTER_HELP: &str = "\
Exit codes: 0 fine, 1 a stage failed (or a file could not be read), 2 the command line or the pipeline is wrong,
3 `status` found something to run, 130 interrupted.

A command that takes PIPELINE uses pipelines/landcover.yaml, or the only file in pipelines/, when none is named.";

/// How much is said on standard error.
#[derive(Debug, Args)]
pub(super) struct Verbosity {
    /// Say more: -v every task and its messages, -vv everything.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,

    /// Say only what went wrong.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a pipeline: what is in the cache is taken from there, the rest runs in dependency order.
    Run(RunArgs),
    /// Say what a run would do, and why. Exit code 3 when something would run.
    Status(StatusArgs),
    /// Check a pipeline without running it.
    Check(PipelineArgs),
    /// Draw the graph of a pipeline.
    Graph(GraphArgs),
    /// List the stage kinds with their inputs, parameters, defaults and outputs.
    Stages(StagesArgs),
    /// Print the JSON schema of the pipeline language, for editors.
    Schema,
    /// Look into the cache, tidy it up.
    Cache(CacheArgs),
    /// List past runs, look at one, compare two.
    Runs(RunsArgs),
    /// Run cached tasks again, apart, and say whether they leave the same bytes.
    Verify(VerifyArgs),
    /// Describe a raster file.
    Info(InfoArgs),
    /// Score a label map against its truth, with scikit-learn's semantics.
    Score(ScoreArgs),
    /// Make synthetic scenes and truth in the format of the exercise.
    Synth(SynthArgs),
    /// Run one task from its record alone (for other machines and schedulers).
    Task(TaskArgs),
}

/// Which pipeline, and with which changes.
#[derive(Debug, Args)]
pub(super) struct PipelineArgs {
    /// The pipeline's YAML file.
    pub(super) pipeline: Option<PathBuf>,

    /// Change a parameter for this call: `--set train.epochs=5`.
    #[arg(long, value_name = "A.B.C=VALUE")]
    pub(super) set: Vec<String>,
}

/// Where the cache is.
#[derive(Debug, Args)]
pub(super) struct CacheDir {
    /// The cache directory [default: `cache` in the project root].
    #[arg(long = "cache", value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// Which part of the graph.
#[derive(Debug, Args)]
pub(super) struct SelectArgs {
    /// Run this stage and all that depends on it again; take the rest from the cache.
    #[arg(long, value_name = "STAGE")]
    pub(super) from: Option<String>,

    /// Run this stage and what it needs, nothing after it.
    #[arg(long, value_name = "STAGE")]
    pub(super) until: Option<String>,

    /// Run every selected task again, cached or not.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,
    #[command(flatten)]
    pub(super) select: SelectArgs,
    #[command(flatten)]
    pub(super) cache: CacheDir,

    /// Say what would run, run nothing.
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,

    /// Say for every task why it runs.
    #[arg(long)]
    pub(super) explain: bool,

    /// Tasks side by side, and threads in all [default: the number of cores].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) jobs: Option<u16>,

    /// Memory for all tasks together, such as 16GB [default: what the machine has].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(super) memory: Option<u64>,

    /// Number of GPUs for all tasks together [default: those of the machine].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1024))]
    pub(super) gpus: Option<u32>,

    /// After a failure, go on with everything that does not depend on it.
    #[arg(long)]
    pub(super) keep_going: bool,

    /// Device for training and prediction: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(super) device: String,

    /// Print one JSON object with the result on standard output.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,
    #[command(flatten)]
    pub(super) select: SelectArgs,
    #[command(flatten)]
    pub(super) cache: CacheDir,

    /// Print one JSON object on standard output.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct GraphArgs {
    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,

    /// How to draw it.
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub(super) format: GraphFormat,
}

/// Forms of a graph.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum GraphFormat {
    /// Lines for the terminal.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, as GitHub draws it.
    Mermaid,
}

#[derive(Debug, Args)]
pub(super) struct StagesArgs {
    /// Only this kind.
    pub(super) kind: Option<String>,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

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

    /// Device for training and prediction: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(super) device: String,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// A raster file (GeoTIFF).
    pub(super) file: PathBuf,

    /// Also the sha256 of the band data: band by band, row by row, little-endian, in the file's own type.
    #[arg(long)]
    pub(super) checksum: bool,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// The truth raster.
    #[arg(long, value_name = "FILE")]
    pub(super) truth: PathBuf,

    /// The predicted map, on the same grid.
    #[arg(long, value_name = "FILE")]
    pub(super) pred: PathBuf,

    /// Leave out pixels whose truth is this code [default: 0; `none` keeps every pixel].
    #[arg(long, value_name = "CODE", default_value = "0", hide_default_value = true)]
    pub(super) ignore: String,

    /// Score these labels, absent ones included [default: all that occur].
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub(super) labels: Vec<i64>,

    /// How the mean is made.
    #[arg(long, value_enum, default_value_t = AverageArg::Macro)]
    pub(super) average: AverageArg,

    /// Score of a label that is in neither truth nor prediction.
    #[arg(long, value_name = "0..1", default_value_t = 0.0)]
    pub(super) zero_division: f64,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// scikit-learn's `average`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum AverageArg {
    /// No mean.
    None,
    /// Mean over labels.
    Macro,
    /// Over all pixels at once.
    Micro,
    /// Mean over labels, weighted by their pixels in the truth.
    Weighted,
}

#[derive(Debug, Args)]
pub(super) struct SynthArgs {
    /// Folder to fill with tra_scene/, tra_truth/, val_scene/ and val_truth/; made if need be.
    pub(super) out: PathBuf,

    /// Make scenes for the truth rasters in this folder (with tra_truth/ and val_truth/), in their size.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["size", "train", "val"])]
    pub(super) from_truth: Option<PathBuf>,

    /// Side of a scene in pixels, about: no two scenes are quite alike [default: as the shipped sample].
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(64..=20000))]
    pub(super) size: Option<u32>,

    /// Number of training scenes.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) train: u16,

    /// Number of validation scenes.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) val: u16,

    /// Seed: another number, another country.
    #[arg(long, default_value_t = 42)]
    pub(super) seed: u64,
}

#[derive(Debug, Args)]
pub(super) struct TaskArgs {
    #[command(subcommand)]
    pub(super) command: TaskCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Run the task that a record describes, and commit its outputs to the cache.
    Run {
        /// The record, a JSON file.
        record: PathBuf,
        /// The cache directory.
        #[arg(long = "cache", value_name = "DIR")]
        cache: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
