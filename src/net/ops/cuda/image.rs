//! Pooling, resampling and joining of images.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{DType, Layout, Result, Shape, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{Address, Fresh, address, address_of, gpu_of};
use super::pointwise::packs;

/// A 2x2 window's kernel: from an image to one of half or twice the size.
fn resize(
    gpu: &Gpu,
    kernel: &'static str,
    dtype: DType,
    operands: &[Address],
    (small_or_big, out): ([usize; 4], [usize; 4]),
) -> Result<Fresh> {
    let [images, height, width, channels] = small_or_big;
    let y = gpu.fresh(out.to_vec(), dtype)?;
    let launch = operands.iter().fold(gpu.kernel_of(kernel, dtype)?, |launch, operand| launch.at(*operand));
    let launch = launch.at(y.address).long(images).int(height)?.int(width)?.int(channels)?;
    // A thread takes a pack of channels of one small pixel.
    let items = images * height.div_ceil(2) * width.div_ceil(2) * channels;
    launch.over(packs(items, dtype))?;
    Ok(y)
}

/// Maximum of each 2x2 window of `[N, H, W, C]`.
pub(crate) fn max_pool(op: &str, x: &CudaStorage, layout: &Layout, dims: [usize; 4]) -> Result<(CudaStorage, Shape)> {
    let ([n, h, w, c], gpu) = (dims, Gpu::of(&x.device)?);
    let y = resize(&gpu, "max_pool", x.dtype(), &[address(op, x, layout)?], (dims, [n, h / 2, w / 2, c]))?;
    Ok(y.into_storage())
}

/// Its gradient.
pub(crate) fn max_pool_gradient(op: &str, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    expect(op, dy, x.dtype(), [n, h / 2, w / 2, c])?;
    let (gpu, operands, dims) = (gpu_of(op, x)?, [address_of(op, x)?, address_of(op, dy)?], [n, h, w, c]);
    Ok(resize(&gpu, "max_pool_gradient", x.dtype(), &operands, (dims, dims))?.into_tensor())
}

/// Mean over all pixels of each image of `[N, H, W, C]`.
pub(crate) fn mean_pool(op: &str, x: &CudaStorage, layout: &Layout, dims: [usize; 4]) -> Result<(CudaStorage, Shape)> {
    let ([n, h, w, c], gpu, dtype) = (dims, Gpu::of(&x.device)?, x.dtype());
    let y = gpu.fresh((n, 1, 1, c), dtype)?;
    let launch = gpu.kernel_of("mean_pool", dtype)?.at(address(op, x, layout)?).at(y.address);
    launch.long(n).long(h * w).int(c)?.over(packs(n * c, dtype))?;
    Ok(y.into_storage())
}

/// Its gradient.
pub(crate) fn mean_pool_gradient(op: &str, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    expect(op, dy, x.dtype(), [n, 1, 1, c])?;
    let (gpu, dtype) = (gpu_of(op, x)?, x.dtype());
    let dx = gpu.fresh(x.shape(), dtype)?;
    let launch = gpu.kernel_of("mean_pool_gradient", dtype)?.at(address_of(op, dy)?).at(dx.address);
    launch.long(n).long(h * w).int(c)?.over(packs(x.elem_count(), dtype))?;
    Ok(dx.into_tensor())
}

/// Each pixel of `[N, H, W, C]` twice along both axes.
pub(crate) fn nearest(op: &str, x: &CudaStorage, layout: &Layout, dims: [usize; 4]) -> Result<(CudaStorage, Shape)> {
    let ([n, h, w, c], gpu) = (dims, Gpu::of(&x.device)?);
    let y = resize(&gpu, "upsample_nearest", x.dtype(), &[address(op, x, layout)?], (dims, [n, 2 * h, 2 * w, c]))?;
    Ok(y.into_storage())
}

/// Its gradient.
pub(crate) fn nearest_gradient(op: &str, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    expect(op, dy, x.dtype(), [n, 2 * h, 2 * w, c])?;
    let (gpu, dims) = (gpu_of(op, x)?, [n, h, w, c]);
    Ok(resize(&gpu, "upsample_nearest_gradient", x.dtype(), &[address_of(op, dy)?], (dims, dims))?.into_tensor())
}

/// Refuses a gradient that is not that of the result.
fn expect(op: &str, dy: &Tensor, dtype: DType, dims: [usize; 4]) -> Result<()> {
    if dy.dims() != dims || dy.dtype() != dtype {
        bail!("{op}: a gradient {:?} {:?} where {dtype:?} {dims:?} was given out", dy.dtype(), dy.dims());
    }
    Ok(())
}

/// Images `[N, H, W, A]` and `[N, H, W, B]` side by side.
pub(crate) fn concat(
    op: &str,
    (a, al): (&CudaStorage, &Layout),
    (b, bl): (&CudaStorage, &Layout),
    dims: [usize; 4],
    right: usize,
) -> Result<(CudaStorage, Shape)> {
    let ([n, h, w, left], gpu, dtype) = (dims, Gpu::of(&a.device)?, a.dtype());
    let y = gpu.fresh((n, h, w, left + right), dtype)?;
    let launch = gpu.kernel_of("concat", dtype)?.at(address(op, a, al)?).at(address(op, b, bl)?).at(y.address);
    let launch = launch.long(n * h * w).int(left)?.int(right)?;
    launch.over(packs(n * h * w * (left + right), dtype))?;
    Ok(y.into_storage())
}

/// The two parts of the channels of `dy`.
pub(crate) fn split(op: &str, a: &Tensor, b: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let ((n, h, w, left), (.., right)) = (a.dims4()?, b.dims4()?);
    expect(op, dy, a.dtype(), [n, h, w, left + right])?;
    let (gpu, dtype) = (gpu_of(op, dy)?, a.dtype());
    let (da, db) = (gpu.fresh(a.shape(), dtype)?, gpu.fresh(b.shape(), dtype)?);
    let launch = gpu.kernel_of("split", dtype)?.at(address_of(op, dy)?).at(da.address).at(db.address);
    let launch = launch.long(n * h * w).int(left)?.int(right)?;
    launch.over(packs(dy.elem_count(), dtype))?;
    Ok((da.into_tensor(), db.into_tensor()))
}

/// A bilinear resampling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bilinear {
    pub(crate) op: &'static str,
    /// Of the images that come in, `[N, H, W, C]`.
    pub(crate) from: [usize; 4],
    /// Height and width to come to.
    pub(crate) to: [usize; 2],
    pub(crate) align_corners: bool,
}

/// Where the places of an axis come from, and where they went.
struct Axis {
    /// Three words a place.
    blends: Fresh,
    first: Fresh,
}

/// 32-bit words of one blend.
const BLEND: usize = 3;

impl Bilinear {
    fn axis(&self, gpu: &Gpu, axis: usize) -> Result<Axis> {
        let (size, out) = (self.from[1 + axis], self.to[axis]);
        // Whole numbers among them, but all of 32 bits.
        let axis = Axis { blends: gpu.fresh(BLEND * out, DType::F32)?, first: gpu.fresh(size + 1, DType::F32)? };
        let launch = gpu.kernel("bilinear_axis")?.at(axis.blends.address).at(axis.first.address);
        launch.int(size)?.int(out)?.int(self.align_corners.into())?.over(out.max(size + 1))?;
        Ok(axis)
    }

    /// The resampled images.
    pub(crate) fn forward(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (gpu, dtype) = (Gpu::of(&x.device)?, x.dtype());
        let ([n, h, w, c], [height, width]) = (self.from, self.to);
        let (rows, columns) = (self.axis(&gpu, 0)?, self.axis(&gpu, 1)?);
        let y = gpu.fresh((n, height, width, c), dtype)?;
        let launch = gpu.kernel_of("bilinear", dtype)?.at(address(self.op, x, layout)?);
        let launch = launch.at(rows.blends.address).at(columns.blends.address).at(y.address);
        let launch = launch.long(n).int(h)?.int(w)?.int(height)?.int(width)?.int(c)?;
        launch.over(packs(n * height * width * c, dtype))?;
        Ok(y.into_storage())
    }

    /// The gradient of the images, from that of the resampled ones.
    pub(crate) fn backward(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let (gpu, dtype) = (gpu_of(self.op, x)?, x.dtype());
        let ([n, h, w, c], [height, width]) = (self.from, self.to);
        expect(self.op, dy, dtype, [n, height, width, c])?;
        let (rows, columns) = (self.axis(&gpu, 0)?, self.axis(&gpu, 1)?);
        let dx = gpu.fresh(x.shape(), dtype)?;
        let launch = gpu.kernel_of("bilinear_gradient", dtype)?.at(address_of(self.op, dy)?);
        let launch = launch.at(rows.blends.address).at(rows.first.address);
        let launch = launch.at(columns.blends.address).at(columns.first.address).at(dx.address);
        let launch = launch.long(n).int(h)?.int(w)?.int(height)?.int(width)?.int(c)?;
        launch.over(packs(x.elem_count(), dtype))?;
        Ok(dx.into_tensor())
    }
}
