//! Where a task's network computes, and what is said when that goes wrong.

use crate::engine::{DeviceChoice, Progress, StageError, TaskContext};
use crate::net::{Compute, GpuUse, NetError, Wanted};

/// Opens the device that the run was told to use, or that there is.
pub(super) fn open_compute(task: &TaskContext<'_>, with: GpuUse) -> Result<Compute, StageError> {
    let opened = Compute::open(wanted(task), GpuUse { memory: task.gpu_memory, ..with });
    let compute = opened.map_err(|error| task_failure(error, ""))?;
    task.progress.progress(Progress::Message(format!("computing on {}", compute.describe())));
    Ok(compute)
}

/// The device that was asked for: of GPUs that the task holds, the first, unless a person has named another one.
fn wanted(task: &TaskContext<'_>) -> Wanted {
    let held = task.gpus.first().map(|gpu| ordinal_of(*gpu));
    match (task.device, held) {
        (DeviceChoice::Cpu, _) => Wanted::Cpu,
        (DeviceChoice::Auto, None) => Wanted::Auto,
        (DeviceChoice::Auto, Some(held)) => Wanted::Rather(held),
        (DeviceChoice::Cuda(ordinal), Some(held)) if ordinal == 0 || task.gpus.len() > 1 => Wanted::Gpu(held),
        (DeviceChoice::Cuda(ordinal), _) => Wanted::Gpu(ordinal),
    }
}

/// The number by which this process knows a GPU: its place in `CUDA_VISIBLE_DEVICES`, where that is set.
pub(super) fn ordinal_of(gpu: u32) -> usize {
    ordinal_among(gpu, std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())
}

fn ordinal_among(gpu: u32, visible: Option<&str>) -> usize {
    let place = visible.and_then(|list| list.split(',').position(|entry| entry.trim().parse() == Ok(gpu)));
    place.unwrap_or(gpu as usize)
}

/// Says that a forest is computed on the CPU, whatever the run was told to use.
pub(super) fn stay_on_the_cpu(task: &TaskContext<'_>) {
    let why = match task.device {
        DeviceChoice::Cuda(_) => ": a random forest does so whatever `--device` says",
        DeviceChoice::Auto | DeviceChoice::Cpu => "",
    };
    task.progress.progress(Progress::Message(format!("computing on the CPU{why}")));
}

/// An error of the network as the task's. `smaller` says how to need less memory.
pub(super) fn task_failure(error: NetError, smaller: &str) -> StageError {
    match error {
        NetError::Cancelled => StageError::Cancelled,
        NetError::NoCuda => StageError::with_help(
            error.to_string(),
            "say `--device cpu`, or leave `--device` out; `cargo build --release --features cuda` makes a build that has CUDA",
        ),
        #[cfg(feature = "cuda")]
        NetError::Device(crate::net::DeviceError::OutOfMemory { .. }) if !smaller.is_empty() => {
            StageError::with_help(error.to_string(), smaller)
        }
        other => {
            let _ = smaller;
            StageError::failed(other.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_known_by_its_place_among_those_that_are_visible() {
        assert_eq!(ordinal_among(5, Some("3,5")), 1);
        assert_eq!(ordinal_among(5, None), 5);
        assert_eq!(ordinal_among(0, Some("GPU-1234")), 0, "names that are no numbers: as the run counts them");
    }
}
