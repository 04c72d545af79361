//! Operators on single values, and a bias a channel.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{DType, Layout, Result, Shape, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{Address, Fresh, THREADS, address, address_of, gpu_of};
use super::rows::Rows;

/// `kernel` on every value of `x`, forward.
pub(crate) fn map(
    op: &'static str,
    kernel: &'static str,
    x: &CudaStorage,
    layout: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let gpu = Gpu::of(&x.device)?;
    Ok(launch(&gpu, kernel, x.dtype(), layout.shape(), &[address(op, x, layout)?])?.into_storage())
}

/// `kernel` on every pair of values of `a` and `b`, forward.
pub(crate) fn map2(
    op: &'static str,
    kernel: &'static str,
    (a, al): (&CudaStorage, &Layout),
    (b, bl): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    if al.shape() != bl.shape() || a.dtype() != b.dtype() {
        bail!("{op}: operands are {:?} {:?} and {:?} {:?}", a.dtype(), al.dims(), b.dtype(), bl.dims());
    }
    let gpu = Gpu::of(&a.device)?;
    Ok(launch(&gpu, kernel, a.dtype(), al.shape(), &[address(op, a, al)?, address(op, b, bl)?])?.into_storage())
}

/// `kernel` on every value of `dy` and `x`, backward: the gradient of `x`.
pub(crate) fn gradient(op: &'static str, kernel: &'static str, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    same(op, x, dy)?;
    let gpu = gpu_of(op, x)?;
    Ok(launch(&gpu, kernel, x.dtype(), x.shape(), &[address_of(op, dy)?, address_of(op, x)?])?.into_tensor())
}

/// Sum of two tensors of one shape and type.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const NAME: &str = "add";
    same(NAME, a, b)?;
    let gpu = gpu_of(NAME, a)?;
    Ok(launch(&gpu, "add", a.dtype(), a.shape(), &[address_of(NAME, a)?, address_of(NAME, b)?])?.into_tensor())
}

/// `x` times the number that `by`, an f32 scalar, holds on the GPU.
pub(crate) fn scale_by(op: &'static str, x: &Tensor, by: &Tensor) -> Result<Tensor> {
    if by.dtype() != DType::F32 || by.elem_count() != 1 {
        bail!("{op}: needs one f32 as the factor, got {:?} {:?}", by.dtype(), by.dims());
    }
    let gpu = gpu_of(op, x)?;
    Ok(launch(&gpu, "scale_by", x.dtype(), x.shape(), &[address_of(op, x)?, address_of(op, by)?])?.into_tensor())
}

/// A kernel that gives a value for each value of its operands.
fn launch(gpu: &Gpu, kernel: &'static str, dtype: DType, shape: &Shape, operands: &[Address]) -> Result<Fresh> {
    let out = gpu.fresh(shape, dtype)?;
    let launch = operands.iter().fold(gpu.kernel_of(kernel, dtype)?, |launch, operand| launch.at(*operand));
    launch.at(out.address).long(shape.elem_count()).over(packs(shape.elem_count(), dtype))?;
    Ok(out)
}

/// Threads that take `count` values 16 bytes at a time.
pub(super) fn packs(count: usize, dtype: DType) -> usize {
    (count * dtype.size_in_bytes()).div_ceil(16)
}

/// Refuses operands of different shapes or types before a kernel reads beyond one of them.
pub(super) fn same(op: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.shape() != b.shape() || a.dtype() != b.dtype() {
        bail!("{op}: operands are {:?} {:?} and {:?} {:?}", a.dtype(), a.dims(), b.dtype(), b.dims());
    }
    Ok(())
}

/// Adds `bias: [C]` (f32) to every pixel of `y: [pixels, C]` in place and, with `relu`, sets what is negative then to 0.
pub(crate) fn add_bias(gpu: &Gpu, dtype: DType, y: Address, bias: Address, size: [usize; 2], relu: bool) -> Result<()> {
    let rows = Rows { images: 1, rows: size[0], channels: size[1] };
    let launch = gpu.kernel_of("add_bias", dtype)?.at(y).at(bias).long(rows.rows).int(rows.channels)?;
    launch.int(relu.into())?.grid(rows.mapping(dtype), THREADS, 0)
}

/// Sums of `x: [.., C]` over all but the last dimension, f32.
pub(crate) fn column_sums(op: &'static str, x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (gpu, dtype, rows) = (gpu_of(op, &x)?, x.dtype(), Rows::of(x.dims()));
    let grid = rows.summing(dtype);
    let partials = gpu.fresh((rows.channels, grid[0]), DType::F32)?;
    let launch = gpu.kernel_of("column_sums", dtype)?.at(address_of(op, &x)?).at(partials.address);
    launch.long(rows.rows).int(rows.channels)?.grid(grid, THREADS, 0)?;
    let sums = gpu.fresh(rows.channels, DType::F32)?;
    let launch = gpu.kernel("column_sums_total")?.at(partials.address).at(sums.address).int(grid[0])?;
    launch.grid([rows.channels, 1, 1], THREADS, 0)?;
    Ok(sums.into_tensor())
}
