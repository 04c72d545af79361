//! The 3x3 maximum with stride 2.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{Layout, Result, Shape, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{address, address_of, gpu_of};
use super::pointwise::packs;

/// Maximum of the 3x3 window around every second pixel of `[N, H, W, C]`.
pub(crate) fn forward(op: &str, x: &CudaStorage, layout: &Layout, dims: [usize; 4]) -> Result<(CudaStorage, Shape)> {
    let ([n, h, w, c], gpu, dtype) = (dims, Gpu::of(&x.device)?, x.dtype());
    let out = [n, h.div_ceil(2), w.div_ceil(2), c];
    let y = gpu.fresh(out.to_vec(), dtype)?;
    let launch = gpu.kernel_of("max_pool3x3", dtype)?.at(address(op, x, layout)?).at(y.address);
    // A thread takes a pack of channels of one window.
    launch.long(n).int(h)?.int(w)?.int(c)?.over(packs(out.iter().product(), dtype))?;
    Ok(y.into_storage())
}

/// Its gradient.
pub(crate) fn backward(op: &str, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let ((n, h, w, c), dtype) = (x.dims4()?, x.dtype());
    let out = [n, h.div_ceil(2), w.div_ceil(2), c];
    if dy.dims() != out || dy.dtype() != dtype {
        bail!("{op}: a gradient {:?} {:?} where {dtype:?} {out:?} was given out", dy.dtype(), dy.dims());
    }
    let gpu = gpu_of(op, x)?;
    let dx = gpu.fresh(x.shape(), dtype)?;
    let launch = gpu.kernel_of("max_pool3x3_gradient", dtype)?.at(address_of(op, x)?).at(address_of(op, dy)?);
    // A thread takes a pack of channels of one pixel of the image.
    launch.at(dx.address).long(n).int(h)?.int(w)?.int(c)?.over(packs(x.elem_count(), dtype))?;
    Ok(dx.into_tensor())
}
