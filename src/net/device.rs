//! Where a network computes.

use candle_core::{DType, Device};

use super::config::Precision;
#[cfg(feature = "cuda")]
use super::ops::{DeviceError, Gpu, GpuInfo, Numerics, OpenGpu, gpus};
use super::types::{NetError, Result};

/// What the caller wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wanted {
    /// The first GPU, where this build has CUDA and this machine a GPU that can be used; else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU by number, counted from 0.
    Gpu(usize),
    /// That GPU, where this build has CUDA and it can be used; else the CPU.
    Rather(usize),
}

/// How a GPU is to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GpuUse {
    /// What activations are computed in.
    pub precision: Precision,
    /// The same bits every time.
    pub deterministic: bool,
    /// The most memory that may be allocated, bytes.
    pub memory: Option<u64>,
}

impl Default for GpuUse {
    fn default() -> Self {
        Self { precision: Precision::Auto, deterministic: true, memory: None }
    }
}

/// The CPU, or a GPU that is open for as long as this lives.
#[derive(Debug)]
pub enum Compute {
    /// The CPU.
    Cpu,
    /// A GPU.
    #[cfg(feature = "cuda")]
    Gpu {
        /// Keeps it open.
        gpu: OpenGpu,
        /// What activations are computed in.
        precision: Precision,
    },
}

impl Compute {
    /// Opens what is wanted.
    ///
    /// # Errors
    /// [`NetError::NoCuda`] in a build without CUDA; in one with it, what keeps the GPU from being used. With
    /// [`Wanted::Auto`] and [`Wanted::Rather`] neither is an error: the CPU computes.
    pub fn open(wanted: Wanted, with: GpuUse) -> Result<Self> {
        match wanted {
            Wanted::Cpu => Ok(Self::Cpu),
            Wanted::Gpu(ordinal) => Self::open_gpu(ordinal, with),
            Wanted::Auto => Ok(Self::rather_gpu(0, with)),
            Wanted::Rather(ordinal) => Ok(Self::rather_gpu(ordinal, with)),
        }
    }

    fn rather_gpu(ordinal: usize, with: GpuUse) -> Self {
        Self::open_gpu(ordinal, with).unwrap_or_else(|error| {
            why_not(&error);
            Self::Cpu
        })
    }

    #[cfg(feature = "cuda")]
    fn open_gpu(ordinal: usize, with: GpuUse) -> Result<Self> {
        let numerics = Numerics { tf32: with.precision == Precision::Tf32, deterministic: with.deterministic };
        let gpu = Gpu::open(ordinal, numerics, with.memory).map_err(NetError::Device)?;
        Ok(Self::Gpu { gpu, precision: with.precision })
    }

    #[cfg(not(feature = "cuda"))]
    fn open_gpu(_: usize, _: GpuUse) -> Result<Self> {
        Err(NetError::NoCuda)
    }

    /// What computes, and in what: `the CPU in f32`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Cpu => "the CPU in f32".to_owned(),
            #[cfg(feature = "cuda")]
            Self::Gpu { gpu, precision } => {
                let GpuInfo { ordinal, name, .. } = gpu.info();
                let numbers = match (self.activations(), precision) {
                    (DType::BF16, _) => "bf16",
                    (_, Precision::Tf32) => "f32, with TF32 in convolutions",
                    _ => "f32",
                };
                format!("cuda:{ordinal} ({name}) in {numbers}")
            }
        }
    }

    /// Where tensors go.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            #[cfg(feature = "cuda")]
            Self::Gpu { gpu, .. } => gpu.device(),
        }
    }

    /// The type of images on their way through the network.
    #[must_use]
    pub fn activations(&self) -> DType {
        match self {
            Self::Cpu => DType::F32,
            // Every GPU that can be opened has bf16 in its tensor cores.
            #[cfg(feature = "cuda")]
            Self::Gpu { precision: Precision::Auto | Precision::Bf16, .. } => DType::BF16,
            #[cfg(feature = "cuda")]
            Self::Gpu { .. } => DType::F32,
        }
    }
}

/// What there is to say about GPUs in this build and on this machine, one line each.
#[must_use]
pub fn describe_gpus() -> Vec<String> {
    #[cfg(feature = "cuda")]
    return match gpus() {
        Ok(found) if found.is_empty() => vec![DeviceError::NoGpu.to_string()],
        Ok(found) => found
            .into_iter()
            .map(|GpuInfo { ordinal, name, capability: (major, minor), memory }| {
                format!("cuda:{ordinal} {name}, compute capability {major}.{minor}, {:.1} GB", memory as f64 / 1e9)
            })
            .collect(),
        Err(error) => vec![error.to_string()],
    };
    #[cfg(not(feature = "cuda"))]
    vec!["not in this build (build with --features cuda)".to_owned()]
}

/// GPUs that the driver shows to this process; 0 where there is no driver, or this build has no CUDA.
#[must_use]
pub fn count_gpus() -> usize {
    #[cfg(feature = "cuda")]
    return gpus().map_or(0, |found| found.len());
    #[cfg(not(feature = "cuda"))]
    0
}

/// Says why `auto` takes the CPU, unless there is nothing to wonder about.
fn why_not(error: &NetError) {
    match error {
        #[cfg(feature = "cuda")]
        NetError::Device(DeviceError::NoDriver { .. } | DeviceError::NoGpu) => tracing::debug!("{error}"),
        NetError::NoCuda => tracing::debug!("{error}"),
        other => tracing::warn!("computing on the CPU, since {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_computes_somewhere_and_the_cpu_is_always_there() {
        assert!(matches!(Compute::open(Wanted::Cpu, GpuUse::default()), Ok(Compute::Cpu)));
        assert!(Compute::open(Wanted::Auto, GpuUse::default()).is_ok());
        assert_eq!(Compute::Cpu.activations(), DType::F32);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_so() {
        let error = Compute::open(Wanted::Gpu(0), GpuUse::default()).unwrap_err();
        assert!(error.to_string().contains("no CUDA"), "{error}");
    }
}
