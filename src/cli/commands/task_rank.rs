//! `s2pipe task rank`: a further process of a training, started by the one that leads it.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::task::of_stage;
use crate::cli::exit::FAILED;
use crate::cli::failure::Failure;
use crate::engine::StageError;
use crate::stages::train::take_part;

/// Takes part in the training that the first line of standard input is about. Ends when standard input does: the process
/// that leads is gone then, however it went.
pub(in crate::cli) fn task_rank(rank: usize, gpu: usize) -> Result<(), Failure> {
    // A terminal sends these to all of its processes. The one that leads decides, and tells.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(|error| Failure::failed(format!("signals cannot be left to rank 0: {error}")))?;
    }
    let mut order = String::new();
    std::io::stdin()
        .read_line(&mut order)
        .map_err(|error| Failure::failed(format!("rank {rank} did not hear what to do: {error}")))?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(FAILED.into());
    });
    match take_part(&order, rank, gpu) {
        // It is the other's word that counts, and that is no failure.
        Err(StageError::Cancelled) => Ok(()),
        other => other.map_err(of_stage),
    }
}
