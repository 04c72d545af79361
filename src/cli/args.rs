//! The command line as the user writes it. Checked values are made where the commands start.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::args_cache::CacheArgs;
use super::args_remote::RemoteArgs;
use super::args_runs::{RunsArgs, VerifyArgs};
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
    /// Describe a raster file, or this build and this machine.
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

/// Where training and prediction compute. None of it is part of a result's key.
#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    /// Device for training and prediction: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub(super) device: String,

    /// GPU memory that a task may use at most, such as 8GB [default: what the GPU has].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(super) gpu_memory: Option<u64>,
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

    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) remote: RemoteArgs,

    /// Where tasks run: on this machine, or as jobs of a Slurm cluster [default: what the pipeline or your settings say].
    #[arg(long, value_enum)]
    pub(super) executor: Option<ExecutorArg>,

    /// What becomes of jobs of a cluster when the run is interrupted [default: ask on a terminal, else leave].
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) on_interrupt: Option<OnInterruptArg>,

    /// Print one JSON object with the result on standard output.
    #[arg(long)]
    pub(super) json: bool,
}

/// Where tasks run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ExecutorArg {
    /// This machine.
    Local,
    /// Jobs of a Slurm cluster.
    Slurm,
}

/// What becomes of jobs of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum OnInterruptArg {
    /// They are cancelled.
    Cancel,
    /// They stay queued or running; the same command follows them again.
    Leave,
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
pub(super) struct InfoArgs {
    /// A raster file (GeoTIFF) [default: none, but this build of s2pipe and this machine].
    pub(super) file: Option<PathBuf>,

    /// Also the sha256 of the band data: band by band, row by row, little-endian, in the file's own type.
    #[arg(long, requires = "file")]
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
        /// The record of a task, or of several (a pack), a JSON file.
        record: PathBuf,
        /// The cache directory.
        #[arg(long = "cache", value_name = "DIR")]
        cache: PathBuf,
        /// Append to this file what becomes of the tasks of a pack.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Take part in a training that another process of s2pipe leads, which says on standard input what to do.
    #[command(hide = true)]
    Rank {
        /// This rank's number.
        rank: usize,
        /// The ordinal of its GPU, where the training is on GPUs.
        #[arg(long, value_name = "N", default_value_t = 0)]
        gpu: usize,
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
