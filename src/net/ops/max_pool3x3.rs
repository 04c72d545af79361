//! 3x3 maximum with stride 2 and a border of one pixel: what a ResNet does after its first convolution (He et al. 2016).

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda::pool3x3;
use super::element::{Element, dims4, host, slice, with_float};
use super::max_pool::beats;
use super::scratch::in_chunks;
use super::simd;
use super::tape;

const NAME: &str = "max_pool3x3";

/// Maximum of the 3x3 window around every second pixel of `x: [N, H, W, C]`, beginning with the first; gives
/// `[N, ceil(H/2), ceil(W/2), C]`. What a window sees beyond the image does not count. The gradient goes to the window's
/// first maximum in row-major order, so a pixel that is the maximum of several windows gets the sum of theirs; NaN counts as
/// the maximum. As PyTorch's `max_pool2d(x, 3, stride=2, padding=1)`.
///
/// # Errors
/// An image without pixels, or a type that is no float.
pub fn max_pool3x3(x: &Tensor) -> Result<Tensor> {
    tape::apply1(&x.contiguous()?, MaxPool3x3)
}

struct MaxPool3x3;

#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
}

/// Pixels along an axis that window number `window` sees.
fn seen(window: usize, size: usize) -> std::ops::Range<usize> {
    (2 * window).saturating_sub(1)..(2 * window + 2).min(size)
}

/// Windows along an axis of `windows` that see pixel number `pixel`: one, or two where they meet.
fn seeing(pixel: usize, windows: usize) -> std::ops::Range<usize> {
    pixel / 2..(pixel.div_ceil(2) + 1).min(windows)
}

/// Place of a pixel in a window that sees it, in row-major order.
fn tap([row, column]: [usize; 2], window: [usize; 2]) -> u8 {
    ((row + 1 - 2 * window[0]) * 3 + column + 1 - 2 * window[1]) as u8
}

impl Geometry {
    fn new([batch, height, width, channels]: [usize; 4]) -> Result<Self> {
        if height == 0 || width == 0 {
            bail!("{NAME}: needs pixels to take the maximum of, got an image of {height}x{width}");
        }
        Ok(Self { batch, height, width, channels })
    }

    /// Numbers of windows along both axes.
    fn out(&self) -> (usize, usize) {
        (self.height.div_ceil(2), self.width.div_ceil(2))
    }

    /// Calls `each` with every pixel that a window sees, in row-major order: where it is in the window, and its values.
    fn window<'a, T>(&self, x: &'a [T], image: usize, at: [usize; 2], mut each: impl FnMut(u8, &'a [T])) {
        for row in seen(at[0], self.height) {
            for column in seen(at[1], self.width) {
                let pixel = (image * self.height + row) * self.width + column;
                each(tap([row, column], at), &x[pixel * self.channels..][..self.channels]);
            }
        }
    }
}

fn forward<T: Element>(g: &Geometry, x: &[T]) -> Vec<T> {
    let ((oh, ow), c) = (g.out(), g.channels);
    in_chunks(g.batch * oh * ow * c, ow * c, |row, y| {
        simd::dispatch(|| {
            for (column, best) in y.chunks_exact_mut(c).enumerate() {
                let mut first = true;
                g.window(x, row / oh, [row % oh, column], |_, values| {
                    if std::mem::take(&mut first) {
                        best.copy_from_slice(values);
                    }
                    for (best, v) in best.iter_mut().zip(values) {
                        *best = if beats(*v, *best) { *v } else { *best };
                    }
                });
            }
        });
    })
}

/// Where in its window each value of the result comes from, see [`tap`].
fn winners<T: Element>(g: &Geometry, x: &[T]) -> Vec<u8> {
    let ((oh, ow), c) = (g.out(), g.channels);
    let mut winners = vec![0; g.batch * oh * ow * c];
    winners.par_chunks_mut(ow * c).enumerate().for_each(|(row, winners)| {
        let mut best = vec![T::ZERO; c];
        simd::dispatch(|| {
            for (column, winners) in winners.chunks_exact_mut(c).enumerate() {
                let mut first = true;
                g.window(x, row / oh, [row % oh, column], |tap, values| {
                    if std::mem::take(&mut first) {
                        best.copy_from_slice(values);
                        winners.fill(tap);
                    }
                    for ((winner, best), v) in winners.iter_mut().zip(&mut best).zip(values) {
                        let wins = beats(*v, *best);
                        *best = if wins { *v } else { *best };
                        *winner = if wins { tap } else { *winner };
                    }
                });
            }
        });
    });
    winners
}

/// Every pixel asks the windows that see it, in row-major order: no two threads add to the same place, and sums have the same
/// bits whatever the number of threads.
fn backward<T: Element>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let ((oh, ow), c) = (g.out(), g.channels);
    let winners = winners(g, x);
    in_chunks(x.len(), g.width * c, |line, dx| {
        let (image, row) = (line / g.height, line % g.height);
        simd::dispatch(|| {
            for (column, dx) in dx.chunks_exact_mut(c).enumerate() {
                for window in seeing(row, oh).flat_map(|r| seeing(column, ow).map(move |s| [r, s])) {
                    let at = ((image * oh + window[0]) * ow + window[1]) * c;
                    let mine = tap([row, column], window);
                    for ((dx, dy), winner) in dx.iter_mut().zip(&dy[at..][..c]).zip(&winners[at..][..c]) {
                        *dx += if *winner == mine { *dy } else { T::ZERO };
                    }
                }
            }
        });
    })
}

impl CustomOp1 for MaxPool3x3 {
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
        pool3x3::forward(NAME, x, layout, dims)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let g = Geometry::new(dims4(NAME, x.layout())?)?;
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return pool3x3::backward(NAME, x, &dy).map(Some);
        }
        let (hx, hdy) = (host(NAME, x), host(NAME, &dy));
        with_float!(NAME, x.dtype(), T => {
            let dx = backward::<T>(&g, hx.slice()?, hdy.slice()?);
            Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
        })
    }
}
