//! Where a task's network computes, and what is said when that goes wrong.

use crate::engine::{DeviceChoice, Progress, StageError, TaskContext};
use crate::net::{Compute, GpuUse, NetError, Wanted};

/// Opens the device that the run was told to use, or that there is.
pub(super) fn open_compute(task: &TaskContext<'_>, with: GpuUse) -> Result<Compute, StageError> {
    let wanted = match task.device {
        DeviceChoice::Auto => Wanted::Auto,
        DeviceChoice::Cpu => Wanted::Cpu,
        DeviceChoice::Cuda(ordinal) => Wanted::Gpu(ordinal),
    };
    let opened = Compute::open(wanted, GpuUse { memory: task.gpu_memory, ..with });
    let compute = opened.map_err(|error| task_failure(error, ""))?;
    task.progress.progress(Progress::Message(format!("computing on {}", compute.describe())));
    Ok(compute)
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
