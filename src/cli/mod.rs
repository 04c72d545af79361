//! The commands, their output and the exit codes.

mod args;
mod args_cache;
mod args_remote;
mod args_runs;
mod commands;
mod exit;
mod failure;
mod guard;
mod output;
mod project;
mod sharing;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, TaskCommand, Verbosity};
use args_cache::CacheCommand;
use args_runs::RunsCommand;
use failure::Failure;

pub use exit::{FAILED, FINE, INTERRUPTED, STALE, USAGE};

/// Reads the command line, runs the command, tells what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too, with exit code 0. A broken pipe is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    start_log(&cli.verbosity);
    match dispatch(cli) {
        Ok(()) => ExitCode::from(FINE),
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => commands::run(&args, &cli.verbosity),
        Command::Status(args) => commands::status(&args),
        Command::Check(args) => commands::check(&args),
        Command::Graph(args) => commands::graph(&args),
        Command::Stages(args) => commands::stages(&args),
        Command::Schema => commands::schema(),
        Command::Cache(args) => match args.command {
            CacheCommand::Ls { name, cache, json } => commands::cache_ls(name.as_deref(), &cache, json),
            CacheCommand::Show { name, cache, json } => commands::cache_show(&name, &cache, json),
            CacheCommand::Path { name, cache } => commands::cache_path(&name, &cache),
            CacheCommand::Cat { name, cache } => commands::cache_cat(&name, &cache),
            CacheCommand::Du { cache, json } => commands::cache_du(&cache, json),
            CacheCommand::Gc(args) => commands::cache_gc(&args),
            CacheCommand::Verify { cache, repair, json } => commands::cache_verify(&cache, repair, json),
            CacheCommand::Pin { name, cache } => commands::cache_pin(name.as_deref(), &cache),
            CacheCommand::Unpin { name, cache } => commands::cache_unpin(&name, &cache),
            CacheCommand::Push(args) => sharing::cache_push(&args),
            CacheCommand::Fetch(args) => sharing::cache_fetch(&args),
            CacheCommand::Remote(args) => sharing::cache_remote(&args),
        },
        Command::Runs(args) => match args.command {
            None => commands::runs_list(&args.list),
            Some(RunsCommand::Show { run, cache, json }) => commands::runs_show(&run, &cache, json),
            Some(RunsCommand::Diff { a, b, cache, json }) => commands::runs_diff((&a, &b), &cache, json),
        },
        Command::Verify(args) => commands::verify(&args, &cli.verbosity),
        Command::Info(args) => commands::info(&args),
        Command::Score(args) => commands::score(&args),
        Command::Synth(args) => commands::synth(&args),
        Command::Task(args) => match args.command {
            TaskCommand::Run { record, cache, report } => commands::task_run(&record, &cache, report.as_deref()),
            TaskCommand::Rank { rank, gpu } => commands::task_rank(rank, gpu),
        },
    }
}

/// What speaks with a remote, and how much of that may be written down.
const DISCREET: [&str; 5] = ["object_store=error", "reqwest=error", "hyper=error", "hyper_util=error", "h2=error"];

/// Logs go to standard error; `S2PIPE_LOG` overrides the flags, in the syntax of `RUST_LOG`.
fn start_log(verbosity: &Verbosity) {
    let level = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "s2pipe=info,warn",
        (false, _) => "s2pipe=debug,warn",
    };
    let filter = EnvFilter::try_from_env("S2PIPE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // At any finer level these write requests down, and what some of them carry is a credential.
    let filter = DISCREET.iter().filter_map(|text| text.parse().ok()).fold(filter, EnvFilter::add_directive);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

fn report(failure: &Failure) {
    if let Some(diagnostics) = &failure.diagnostics {
        eprint!("{}", diagnostics.render(std::io::stderr().is_terminal()));
    }
    if let Some(message) = &failure.message {
        eprintln!("error: {message}");
    }
    if let Some(help) = &failure.help {
        eprintln!("help: {help}");
    }
}
