//! Bilinear resampling to any size. An output row is a blend of two input rows, an output pixel one of two blended pixels;
//! so both axes are lists of `(source, weight)`, and the gradient is the same sum over the transposed lists. Every row has
//! one owner, forward and backward: nothing is added by two threads.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda::image::Bilinear;
use super::element::{Element, dims4, host, slice, with_float};
use super::simd;
use super::tape;

const NAME: &str = "upsample_bilinear";

/// Resamples `x: [N, H, W, C]` to `[N, height, width, C]` as PyTorch's `interpolate(size, mode="bilinear")` does, without
/// a filter where that makes the image smaller. With `align_corners` the centres of the corner pixels lie on each other,
/// else the outer edges of the images do.
///
/// # Errors
/// A tensor that is no image, an image or a target without pixels, a type that is no float.
pub fn upsample_bilinear(x: &Tensor, height: usize, width: usize, align_corners: bool) -> Result<Tensor> {
    tape::apply1(&x.contiguous()?, UpsampleBilinear { size: [height, width], align_corners })
}

struct UpsampleBilinear {
    size: [usize; 2],
    align_corners: bool,
}

/// For each place along an axis, the places that it is a sum of, and their weights.
type Axis<T> = Vec<Vec<(usize, T)>>;

/// An axis of `out` places over one of `size` (ATen's `area_pixel_compute_source_index`).
fn blends<T: Element>(size: usize, out: usize, align_corners: bool) -> Axis<T> {
    let last = size - 1;
    let source = |place: usize| {
        if align_corners {
            let steps = out.saturating_sub(1).max(1);
            return place as f64 * last as f64 / steps as f64;
        }
        ((place as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0)
    };
    let blend = |place| {
        let at: f64 = source(place);
        let before = (at as usize).min(last);
        let part = at - before as f64;
        if before == last || part == 0.0 {
            return vec![(before, T::from_f64(1.0))];
        }
        vec![(before, T::from_f64(1.0 - part)), (before + 1, T::from_f64(part))]
    };
    (0..out).map(blend).collect()
}

/// Which places each of `size` source places went to, and with what weight.
fn transposed<T: Element>(axis: &Axis<T>, size: usize) -> Axis<T> {
    let mut seen_by = vec![Vec::new(); size];
    for (place, sources) in axis.iter().enumerate() {
        for (source, weight) in sources {
            seen_by[*source].push((place, *weight));
        }
    }
    seen_by
}

/// Both axes of a resampling of images whose rows have `width` pixels of `channels` values.
struct Plan<T> {
    rows: Axis<T>,
    columns: Axis<T>,
    width: usize,
    channels: usize,
}

impl<T: Element> Plan<T> {
    /// Weighted sums of the images in `source`, `height` rows each: first of rows, then of pixels.
    fn resample(&self, source: &[T], height: usize) -> Vec<T> {
        let (row_len, out_len) = (self.width * self.channels, self.columns.len() * self.channels);
        let out_height = self.rows.len();
        let batch = source.len() / (height * row_len);
        let mut out = vec![T::ZERO; batch * out_height * out_len];
        out.par_chunks_mut(out_len).enumerate().for_each_init(Vec::new, |blended: &mut Vec<T>, (row, out)| {
            let source = &source[row / out_height * height * row_len..][..height * row_len];
            blended.clear();
            blended.resize(row_len, T::ZERO);
            simd::dispatch(|| {
                for (row, weight) in &self.rows[row % out_height] {
                    add_scaled(blended, &source[row * row_len..][..row_len], *weight);
                }
                for (out, pixels) in out.chunks_exact_mut(self.channels).zip(&self.columns) {
                    for (pixel, weight) in pixels {
                        add_scaled(out, &blended[pixel * self.channels..][..self.channels], *weight);
                    }
                }
            });
        });
        out
    }
}

/// `sum += values * weight`.
#[inline(always)]
fn add_scaled<T: Element>(sum: &mut [T], values: &[T], weight: T) {
    for (s, v) in sum.iter_mut().zip(values) {
        *s += *v * weight;
    }
}

impl UpsampleBilinear {
    /// Rows and columns of the output as sums over the input's.
    fn axes<T: Element>(&self, [_, h, w, _]: [usize; 4]) -> (Axis<T>, Axis<T>) {
        let [height, width] = self.size;
        (blends(h, height, self.align_corners), blends(w, width, self.align_corners))
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, from: [usize; 4]) -> Bilinear {
        Bilinear { op: NAME, from, to: self.size, align_corners: self.align_corners }
    }

    /// Refuses sizes without pixels.
    fn check(&self, dims: [usize; 4]) -> Result<()> {
        let [height, width] = self.size;
        if dims.contains(&0) || height == 0 || width == 0 {
            bail!("{NAME}: needs pixels in the input and in the target, got {dims:?} and {height}x{width}");
        }
        Ok(())
    }

    fn forward<T: Element>(&self, dims: [usize; 4], x: &[T]) -> Vec<T> {
        let [_, height, width, channels] = dims;
        let (rows, columns) = self.axes(dims);
        Plan { rows, columns, width, channels }.resample(x, height)
    }

    fn backward<T: Element>(&self, dims: [usize; 4], dy: &[T]) -> Vec<T> {
        let ([_, h, w, channels], [height, width]) = (dims, self.size);
        let (rows, columns) = self.axes(dims);
        let (rows, columns) = (transposed(&rows, h), transposed(&columns, w));
        Plan { rows, columns, width, channels }.resample(dy, height)
    }
}

impl CustomOp1 for UpsampleBilinear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dims = dims4(NAME, layout)?;
        let ([n, _, _, c], [height, width]) = (dims, self.size);
        self.check(dims)?;
        let y = with_float!(NAME, x.dtype(), T => {
            T::to_cpu_storage_owned(self.forward::<T>(dims, slice(NAME, x, layout)?))
        });
        Ok((y, Shape::from((n, height, width, c))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let dims = dims4(NAME, layout)?;
        self.check(dims)?;
        self.on_gpu(dims).forward(x, layout)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dims = dims4(NAME, x.layout())?;
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.on_gpu(dims).backward(x, &dy).map(Some);
        }
        let hdy = host(NAME, &dy);
        with_float!(NAME, x.dtype(), T => {
            Tensor::from_vec(self.backward::<T>(dims, hdy.slice()?), x.shape(), x.device()).map(Some)
        })
    }
}
