//! 2x2 maximum with stride 2. candle's own has a wrong gradient.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};

#[cfg(feature = "cuda")]
use super::cuda::image;
use super::element::{Element, dims4, host, slice, with_float};
use super::scratch::in_chunks;
use super::simd;
use super::tape;

const NAME: &str = "max_pool2x2";

/// Maximum of each 2x2 window of `x: [N, H, W, C]`; gives `[N, H/2, W/2, C]`. An odd last row or column is left out. The
/// gradient goes to the window's first maximum in row-major order; NaN counts as the maximum, as in PyTorch.
///
/// # Errors
/// An image smaller than a window, or a type that is no float.
pub fn max_pool2x2(x: &Tensor) -> Result<Tensor> {
    tape::apply1(&x.contiguous()?, MaxPool2x2)
}

struct MaxPool2x2;

#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
}

impl Geometry {
    fn new([batch, height, width, channels]: [usize; 4]) -> Result<Self> {
        if height < 2 || width < 2 {
            bail!("{NAME}: a {height}x{width} image has no 2x2 window");
        }
        Ok(Self { batch, height, width, channels })
    }

    fn out(&self) -> (usize, usize) {
        (self.height / 2, self.width / 2)
    }

    /// The two input rows under output row `row` (counted over the batch).
    fn input_rows<'a, T>(&self, x: &'a [T], row: usize) -> (&'a [T], &'a [T]) {
        let (out_height, len) = (self.height / 2, self.width * self.channels);
        let first = row / out_height * self.height + 2 * (row % out_height);
        x[first * len..(first + 2) * len].split_at(len)
    }
}

/// True where `b` takes the maximum from an earlier `a`.
#[inline(always)]
pub(super) fn beats<T: Element>(b: T, a: T) -> bool {
    #[expect(clippy::eq_op, reason = "the test for NaN that both float types have")]
    let nan = b != b && a == a;
    b > a || nan
}

fn forward<T: Element>(g: &Geometry, x: &[T]) -> Vec<T> {
    let (oh, ow) = g.out();
    let c = g.channels;
    in_chunks(g.batch * oh * ow * c, ow * c, |row, y| {
        let (top, bottom) = g.input_rows(x, row);
        simd::dispatch(|| {
            let pairs = top.chunks_exact(2 * c).zip(bottom.chunks_exact(2 * c));
            for (y, (top, bottom)) in y.chunks_exact_mut(c).zip(pairs) {
                let ((tl, tr), (bl, br)) = (top.split_at(c), bottom.split_at(c));
                for ((((y, tl), tr), bl), br) in y.iter_mut().zip(tl).zip(tr).zip(bl).zip(br) {
                    let mut best = *tl;
                    for v in [*tr, *bl, *br] {
                        best = if beats(v, best) { v } else { best };
                    }
                    *y = best;
                }
            }
        });
    })
}

fn backward<T: Element>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let (oh, ow) = g.out();
    let (c, row_len) = (g.channels, g.width * g.channels);
    // By image where an odd height leaves a row without a window.
    let rows = if g.height.is_multiple_of(2) { 2 } else { g.height };
    in_chunks(x.len(), rows * row_len, |number, dx| {
        let first = number * (rows / 2);
        for (r, dx) in dx.chunks_exact_mut(2 * row_len).enumerate().take(oh) {
            let row = first + r;
            let dy = &dy[row * ow * c..(row + 1) * ow * c];
            backward_rows(c, g.input_rows(x, row), dy, dx.split_at_mut(row_len));
        }
    })
}

/// The gradient of two input rows, from that of the output row over them.
fn backward_rows<T: Element>(c: usize, (top, bottom): (&[T], &[T]), dy: &[T], (dtop, dbottom): (&mut [T], &mut [T])) {
    simd::dispatch(|| {
        for (pixel, dy) in dy.chunks_exact(c).enumerate() {
            let at = 2 * pixel * c..2 * (pixel + 1) * c;
            let ((tl, tr), (bl, br)) = (top[at.clone()].split_at(c), bottom[at.clone()].split_at(c));
            let ((dtl, dtr), (dbl, dbr)) = (dtop[at.clone()].split_at_mut(c), dbottom[at].split_at_mut(c));
            for (i, &d) in dy.iter().enumerate() {
                let left = !beats(tr[i], tl[i]);
                let best_top = if left { tl[i] } else { tr[i] };
                let left_below = !beats(br[i], bl[i]);
                let best_below = if left_below { bl[i] } else { br[i] };
                let below = beats(best_below, best_top);
                let (above, below) = if below { (T::ZERO, d) } else { (d, T::ZERO) };
                dtl[i] = if left { above } else { T::ZERO };
                dtr[i] = if left { T::ZERO } else { above };
                dbl[i] = if left_below { below } else { T::ZERO };
                dbr[i] = if left_below { T::ZERO } else { below };
            }
        }
    });
}

impl CustomOp1 for MaxPool2x2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(dims4(NAME, layout)?)?;
        let (oh, ow) = g.out();
        let y = with_float!(NAME, x.dtype(), T => {
            T::to_cpu_storage_owned(forward::<T>(&g, slice(NAME, x, layout)?))
        });
        Ok((y, Shape::from((g.batch, oh, ow, g.channels))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let dims = dims4(NAME, layout)?;
        Geometry::new(dims)?;
        image::max_pool(NAME, x, layout, dims)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let g = Geometry::new(dims4(NAME, x.layout())?)?;
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return image::max_pool_gradient(NAME, x, &dy).map(Some);
        }
        let (hx, hdy) = (host(NAME, x), host(NAME, &dy));
        with_float!(NAME, x.dtype(), T => {
            let dx = backward::<T>(&g, hx.slice()?, hdy.slice()?);
            Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
        })
    }
}
