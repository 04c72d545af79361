//! Attention (`kernels/attention.cuh`).

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{DType, Layout, Result, Shape, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{Launch, address, address_of, gpu_of};
use super::pointwise::same;
use crate::net::ops::attention::Sizes;

const NAME: &str = "attention";
/// Threads of a block; `ATTENDING` of the kernels.
const ATTENDING: usize = 64;
/// Slices that the queries are cut into on the way to keys and values, at most: the number is a function of the sizes alone,
/// since it decides in what order a sum is made.
const SLICES: usize = 16;
/// Queries of a slice at least, where there are so many.
const SLICE: usize = 128;

/// Kernels for heads of some number of channels.
struct Kernels {
    /// Channels of a head at most.
    depth: usize,
    /// Threads that share a pixel of a head.
    lanes: usize,
    forward: &'static str,
    queries: &'static str,
    keys: &'static str,
}

/// As in `FOR_EVERY_DEPTH` of the kernels.
const KERNELS: [Kernels; 4] = [
    Kernels {
        depth: 16,
        lanes: 1,
        forward: "attention_16",
        queries: "attention_queries_16",
        keys: "attention_keys_16",
    },
    Kernels {
        depth: 32,
        lanes: 1,
        forward: "attention_32",
        queries: "attention_queries_32",
        keys: "attention_keys_32",
    },
    Kernels {
        depth: 64,
        lanes: 2,
        forward: "attention_64",
        queries: "attention_queries_64",
        keys: "attention_keys_64",
    },
    Kernels {
        depth: 128,
        lanes: 4,
        forward: "attention_128",
        queries: "attention_queries_128",
        keys: "attention_keys_128",
    },
];

impl Kernels {
    /// The smallest that hold a head.
    fn of(sizes: &Sizes) -> Result<&'static Self> {
        match KERNELS.iter().find(|kernels| sizes.depth() <= kernels.depth) {
            Some(kernels) => Ok(kernels),
            None => bail!("{NAME}: a head has {} channels, and GPUs take 128 at most", sizes.depth()),
        }
    }

    /// A grid whose first dimension covers `pixels` of an image `times` times over.
    fn grid(&self, sizes: &Sizes, pixels: usize, times: usize) -> [usize; 3] {
        [pixels.div_ceil(ATTENDING / self.lanes) * times, sizes.heads, sizes.batch]
    }
}

/// The sizes as the kernels' struct.
fn with_sizes<'a>(launch: Launch<'a>, sizes: &Sizes) -> Launch<'a> {
    let scale = u64::from((sizes.scale() as f32).to_bits());
    launch.words(&[sizes.queries as u64, sizes.keys as u64, sizes.channels as u64, scale])
}

/// The result, and logarithms that the way back needs.
pub(crate) fn forward(
    sizes: &Sizes,
    (q, ql): (&CudaStorage, &Layout),
    (k, kl): (&CudaStorage, &Layout),
    (v, vl): (&CudaStorage, &Layout),
    kept: &OnceLock<Tensor>,
) -> Result<(CudaStorage, Shape)> {
    let (gpu, kernels, dtype) = (Gpu::of(&q.device)?, Kernels::of(sizes)?, q.dtype());
    let y = gpu.fresh(ql.shape(), dtype)?;
    let logs = gpu.fresh((sizes.batch, sizes.heads, sizes.queries), DType::F32)?;
    let launch = gpu.kernel_of(kernels.forward, dtype)?.at(address(NAME, q, ql)?).at(address(NAME, k, kl)?);
    let launch = with_sizes(launch.at(address(NAME, v, vl)?).at(y.address).at(logs.address), sizes);
    launch.grid(kernels.grid(sizes, sizes.queries, 1), ATTENDING, 0)?;
    // A forward pass that is run again computes the same.
    kept.set(logs.into_tensor()).ok();
    Ok(y.into_storage())
}

/// Gradients of queries, keys and values, from that of the result `y`.
pub(crate) fn backward(
    sizes: &Sizes,
    [q, k, v]: [&Tensor; 3],
    y: &Tensor,
    dy: &Tensor,
    kept: &OnceLock<Tensor>,
) -> Result<[Tensor; 3]> {
    let Some(logs) = kept.get() else { bail!("{NAME}: backward before forward") };
    same(NAME, y, dy)?;
    let (gpu, kernels, dtype) = (gpu_of(NAME, q)?, Kernels::of(sizes)?, q.dtype());
    let [aq, ak, av, ady] = [address_of(NAME, q)?, address_of(NAME, k)?, address_of(NAME, v)?, address_of(NAME, dy)?];
    let (logs, means) = (address_of(NAME, logs)?, gpu.fresh(logs.shape(), DType::F32)?);
    let dq = gpu.fresh(q.shape(), dtype)?;
    let launch = gpu.kernel_of(kernels.queries, dtype)?.at(aq).at(ak).at(av).at(address_of(NAME, y)?).at(ady);
    let launch = with_sizes(launch.at(logs).at(means.address).at(dq.address), sizes);
    launch.grid(kernels.grid(sizes, sizes.queries, 1), ATTENDING, 0)?;
    let slices = (sizes.queries / SLICE).clamp(1, SLICES);
    let partials = gpu.fresh((slices, 2, k.elem_count()), DType::F32)?;
    let launch = gpu.kernel_of(kernels.keys, dtype)?.at(aq).at(ak).at(av).at(ady).at(logs).at(means.address);
    let launch = with_sizes(launch.at(partials.address), sizes).int(slices)?;
    launch.grid(kernels.grid(sizes, sizes.keys, slices), ATTENDING, 0)?;
    let (dk, dv) = (gpu.fresh(k.shape(), dtype)?, gpu.fresh(v.shape(), dtype)?);
    let launch = gpu.kernel_of("attention_keys_total", dtype)?.at(partials.address).at(dk.address).at(dv.address);
    launch.long(k.elem_count()).int(slices)?.over(2 * k.elem_count())?;
    Ok([dq, dk, dv].map(super::launch::Fresh::into_tensor))
}
