//! Layer normalisation: each pixel over its own channels.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{DType, Layout, Result, Shape, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{THREADS, address, address_of, gpu_of};
use super::pointwise::same;
use super::rows::Rows;

const NAME: &str = "layer_norm";
/// Threads that have a pixel at a time.
const WARP: usize = 32;

/// [`crate::net::ops::layer_norm`]; mean and inverse deviation of every pixel are kept for the way back.
pub(crate) fn forward(
    (x, xl): (&CudaStorage, &Layout),
    (gamma, gl): (&CudaStorage, &Layout),
    (beta, bl): (&CudaStorage, &Layout),
    eps: f64,
    kept: &OnceLock<Tensor>,
) -> Result<(CudaStorage, Shape)> {
    let (gpu, dtype, Rows { rows, channels, .. }) = (Gpu::of(&x.device)?, x.dtype(), Rows::of(xl.dims()));
    let statistics = gpu.fresh((2, rows), DType::F32)?;
    let y = gpu.fresh(xl.shape(), dtype)?;
    let launch = gpu.kernel_of("layer_norm", dtype)?.at(address(NAME, x, xl)?);
    let launch = launch.at(address(NAME, gamma, gl)?).at(address(NAME, beta, bl)?);
    let launch = launch.at(statistics.address).at(y.address).long(rows).int(channels)?.float(eps as f32);
    launch.over(rows * WARP)?;
    // A forward pass that is run again computes the same.
    kept.set(statistics.into_tensor()).ok();
    Ok(y.into_storage())
}

/// Gradients of the image, of gamma and of beta.
pub(crate) fn backward(x: &Tensor, gamma: &Tensor, dy: &Tensor, kept: &OnceLock<Tensor>) -> Result<[Tensor; 3]> {
    let Some(statistics) = kept.get() else { bail!("{NAME}: backward before forward") };
    same(NAME, x, dy)?;
    let (gpu, dtype, all) = (gpu_of(NAME, x)?, x.dtype(), Rows::of(x.dims()));
    let Rows { rows, channels, .. } = all;
    let [ax, ady, statistics] = [address_of(NAME, x)?, address_of(NAME, dy)?, address_of(NAME, statistics)?];
    let dx = gpu.fresh(x.shape(), dtype)?;
    let launch = gpu.kernel_of("layer_norm_input_gradient", dtype)?.at(ax).at(ady).at(address_of(NAME, gamma)?);
    launch.at(statistics).at(dx.address).long(rows).int(channels)?.over(rows * WARP)?;
    let grid = all.summing(dtype);
    let partials = gpu.fresh((2, channels, grid[0]), DType::F32)?;
    let launch = gpu.kernel_of("layer_norm_sums", dtype)?.at(ax).at(ady).at(statistics).at(partials.address);
    launch.long(rows).int(channels)?.grid(grid, THREADS, 0)?;
    let sums = gpu.fresh((2, channels), DType::F32)?;
    let launch = gpu.kernel("column_sums_total")?.at(partials.address).at(sums.address).int(grid[0])?;
    launch.grid([2 * channels, 1, 1], THREADS, 0)?;
    let sums = sums.into_tensor();
    Ok([dx.into_tensor(), sums.get(0)?, sums.get(1)?])
}
