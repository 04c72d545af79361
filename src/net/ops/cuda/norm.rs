//! Normalisation: of a batch as a whole, or of each image's groups of channels.

use std::sync::{Arc, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::gpu::Gpu;
use super::launch::{Address, THREADS, address, address_of, gpu_of};
use super::pointwise::same;
use super::rows::Rows;
use crate::net::collective::{Together, together};
use crate::net::ops::element::same_types;
use crate::net::ops::{Running, tape};

/// [`crate::net::ops::batch_norm`] on the GPU, as an operator on the tape. The running averages, where given, are moved there:
/// nothing is copied to the host.
pub(crate) fn batch_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    relu: bool,
    running: Option<Running<'_>>,
) -> Result<Tensor> {
    same_types(NAME, x, &[gamma, beta])?;
    let statistics = Arc::new(OnceLock::new());
    let together = together();
    let op = BatchNorm { eps, relu, statistics: Arc::clone(&statistics), together: together.clone() };
    let y = tape::apply3(&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?, op)?;
    match (statistics.get(), running) {
        (Some(statistics), Some(running)) => average(statistics, running, Rows::of(x.dims()), together.as_ref())?,
        (Some(_), None) => {}
        (None, _) => bail!("{NAME}: one operand is on the GPU, another is not"),
    }
    Ok(y)
}

const NAME: &str = "batch_norm";

/// Moves running averages towards the statistics of a batch, which has these rows, or this share of its rows.
fn average(statistics: &Tensor, running: Running<'_>, rows: Rows, together: Option<&Together>) -> Result<()> {
    let gpu = gpu_of(NAME, statistics)?;
    let fits = |t: &Tensor| t.dtype() == DType::F32 && t.dims() == [rows.channels] && t.is_contiguous();
    if !fits(running.mean) || !fits(running.variance) {
        bail!("{NAME}: running averages must be f32, a value for each of {} channels", rows.channels);
    }
    let mean = address_of(NAME, statistics)?;
    // As PyTorch: the running variance is unbiased, the one that normalises is not.
    let count = together.map_or(rows.rows, |together| together.share.rows_of_all(rows.rows)) as f64;
    let unbiased = count / (count - 1.0).max(1.0);
    let launch = gpu.kernel("running_average")?;
    let launch = launch.at(address_of(NAME, running.mean)?).at(address_of(NAME, running.variance)?);
    let launch = launch.at(mean).at(mean.plus(rows.channels, DType::F32));
    let launch = launch.float(running.momentum as f32).float(unbiased as f32).int(rows.channels)?;
    launch.over(rows.channels)
}

struct BatchNorm {
    eps: f64,
    relu: bool,
    statistics: Arc<OnceLock<Tensor>>,
    /// Where the batch is that of several ranks.
    together: Option<Together>,
}

impl BatchNorm {
    fn norm(&self, dims: &[usize]) -> Norm {
        let rows = Rows::of(dims);
        Norm { op: NAME, rows, groups: rows.channels, eps: self.eps, relu: self.relu, together: self.together.clone() }
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("{NAME}: this is the GPU's side of it")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        gamma: &CudaStorage,
        gl: &Layout,
        beta: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.norm(xl.dims()).forward((x, xl), (gamma, gl), (beta, bl), &self.statistics)
    }

    fn bwd(
        &self,
        x: &Tensor,
        _gamma: &Tensor,
        _beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dgamma, dbeta] = self.norm(x.dims()).backward(x, &dy.contiguous()?, &self.statistics)?;
        Ok((Some(dx), Some(dgamma), Some(dbeta)))
    }
}

/// A normalisation. Batch norm is that of one image whose groups are single channels.
pub(crate) struct Norm {
    op: &'static str,
    pub(super) rows: Rows,
    groups: usize,
    pub(super) eps: f64,
    relu: bool,
    /// Where the rows are a share of those that the statistics are over.
    together: Option<Together>,
}

/// Rows of the statistics, each with a value an image and channel: mean, variance, inverse deviation, scale, shift.
pub(super) const STATISTICS: usize = 5;
const SCALE: usize = 3;
const SHIFT: usize = 4;

impl Norm {
    /// Of the `groups` of each image of `[N, H, W, C]`.
    pub(crate) fn of_groups(op: &'static str, dims: [usize; 4], groups: usize, eps: f64, relu: bool) -> Self {
        let [images, height, width, channels] = dims;
        Self { op, rows: Rows { images, rows: height * width, channels }, groups, eps, relu, together: None }
    }

    /// Values of one row of the statistics.
    fn parameters(&self) -> usize {
        self.rows.images * self.rows.channels
    }

    /// The normalised image; its statistics are kept for the way back.
    pub(crate) fn forward(
        &self,
        (x, xl): (&CudaStorage, &Layout),
        (gamma, gl): (&CudaStorage, &Layout),
        (beta, bl): (&CudaStorage, &Layout),
        kept: &OnceLock<Tensor>,
    ) -> Result<(CudaStorage, Shape)> {
        let (op, channels) = (self.op, self.rows.channels);
        if channels == 0 || xl.shape().elem_count() == 0 || gl.dims() != [channels] || bl.dims() != [channels] {
            bail!("{op}: gamma {:?} and beta {:?} do not fit an input {:?}", gl.dims(), bl.dims(), xl.dims());
        }
        let (gpu, dtype) = (Gpu::of(&x.device)?, x.dtype());
        let x = address(op, x, xl)?;
        let statistics = self.statistics(&gpu, dtype, x, [address(op, gamma, gl)?, address(op, beta, bl)?])?;
        let row =
            |row| Ok::<_, candle_core::Error>(address_of(op, &statistics)?.plus(row * self.parameters(), DType::F32));
        let y = gpu.fresh(xl.shape(), dtype)?;
        let launch = gpu.kernel_of("norm_apply", dtype)?.at(x).at(row(SCALE)?).at(row(SHIFT)?).at(y.address);
        let launch = launch.long(self.rows.rows).int(channels)?.int(self.relu.into())?;
        launch.grid(self.rows.mapping(dtype), THREADS, 0)?;
        // A forward pass that is run again computes the same.
        kept.set(statistics).ok();
        Ok(y.into_storage())
    }

    fn statistics(&self, gpu: &Gpu, dtype: DType, x: Address, [gamma, beta]: [Address; 2]) -> Result<Tensor> {
        let (Rows { images, rows, channels }, grid) = (self.rows, self.rows.summing(dtype));
        let partials = gpu.fresh((2 * grid[0] + 1) * self.parameters(), DType::F32)?;
        let launch = gpu.kernel_of("norm_moments", dtype)?.at(x).at(partials.address);
        launch.long(rows).int(channels)?.grid(grid, THREADS, 0)?;
        if let Some(together) = &self.together {
            return self.statistics_of_ranks(gpu, together, (partials.address, grid[0]), [gamma, beta]);
        }
        let statistics = gpu.fresh((STATISTICS, self.parameters()), DType::F32)?;
        let launch = gpu.kernel("norm_statistics")?.at(partials.address).at(gamma).at(beta).at(statistics.address);
        let launch = launch.long(rows).int(channels)?.int(grid[0])?.float(self.eps as f32);
        launch.grid([self.groups, images, 1], THREADS, 0)?;
        Ok(statistics.into_tensor())
    }

    /// Gradients of the image, of gamma and of beta.
    pub(crate) fn backward(&self, x: &Tensor, dy: &Tensor, kept: &OnceLock<Tensor>) -> Result<[Tensor; 3]> {
        let op = self.op;
        let Some(statistics) = kept.get() else { bail!("{op}: backward before forward") };
        same(op, x, dy)?;
        let (gpu, dtype, Rows { rows, channels, .. }) = (gpu_of(op, x)?, x.dtype(), self.rows);
        let [ax, ady, statistics] = [address_of(op, x)?, address_of(op, dy)?, address_of(op, statistics)?];
        let (gradients, slopes) = self.slopes(&gpu, dtype, [ax, ady, statistics])?;
        let dx = gpu.fresh(x.shape(), dtype)?;
        let launch = gpu.kernel_of("norm_input_gradient", dtype)?.at(ax).at(ady).at(statistics);
        let launch = launch.at(address_of(op, &slopes)?).at(dx.address);
        let launch = launch.long(rows).int(channels)?.int(self.relu.into())?;
        launch.grid(self.rows.mapping(dtype), THREADS, 0)?;
        Ok([dx.into_tensor(), gradients.get(0)?, gradients.get(1)?])
    }

    /// Gradients of gamma and beta, `[2, C]`, and what the gradient of `x` is made with.
    fn slopes(&self, gpu: &Gpu, dtype: DType, [x, dy, statistics]: [Address; 3]) -> Result<(Tensor, Tensor)> {
        let (Rows { images, rows, channels }, grid) = (self.rows, self.rows.summing(dtype));
        let partials = gpu.fresh((2, self.parameters(), grid[0]), DType::F32)?;
        let launch = gpu.kernel_of("norm_sums", dtype)?.at(x).at(dy).at(statistics).at(partials.address);
        launch.long(rows).int(channels)?.int(self.relu.into())?.grid(grid, THREADS, 0)?;
        if let Some(together) = &self.together {
            return self.slopes_of_ranks(gpu, together, (partials.address, grid[0]), statistics);
        }
        let each = gpu.fresh((2, self.parameters()), DType::F32)?;
        let slopes = gpu.fresh((2, self.parameters()), DType::F32)?;
        let launch = gpu.kernel("norm_slopes")?.at(partials.address).at(statistics).at(each.address).at(slopes.address);
        launch.long(rows).int(channels)?.int(grid[0])?.grid([self.groups, images, 1], THREADS, 0)?;
        if images == 1 {
            return Ok((each.into_tensor(), slopes.into_tensor()));
        }
        let sums = gpu.fresh((2, channels), DType::F32)?;
        let launch = gpu.kernel("norm_over_images")?.at(each.address).at(sums.address).int(images)?.int(channels)?;
        launch.over(2 * channels)?;
        Ok((sums.into_tensor(), slopes.into_tensor()))
    }
}
