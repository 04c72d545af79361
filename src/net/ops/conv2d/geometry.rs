//! Sizes of a two-dimensional convolution, and which source pixels a destination pixel sees.

use candle_core::{Result, bail};

/// Spacing and border of a convolution; the kernel is square.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv2dConfig {
    /// Source pixels from one output pixel to the next.
    pub stride: usize,
    /// Zero pixels around the image.
    pub padding: usize,
}

impl Conv2dConfig {
    /// Stride 1 with the border that keeps the size: `kernel / 2` for odd kernels.
    #[must_use]
    pub fn same(kernel: usize) -> Self {
        Self { stride: 1, padding: kernel / 2 }
    }
}

/// Every size that a kernel needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) out_height: usize,
    pub(super) out_width: usize,
    pub(super) out_channels: usize,
    pub(super) kernel: usize,
    pub(super) config: Conv2dConfig,
}

impl Geometry {
    /// From `x: [N, H, W, Ci]` and `w: [k, k, Ci, Co]`.
    pub(super) fn new(x: [usize; 4], w: [usize; 4], config: Conv2dConfig) -> Result<Self> {
        let ([batch, height, width, channels], [kernel, kernel_width, in_channels, out_channels]) = (x, w);
        if kernel != kernel_width || kernel == 0 || in_channels != channels || config.stride == 0 {
            bail!("conv2d: weights {w:?} ([k, k, in, out]) with {config:?} do not fit an input {x:?} ([N, H, W, in])");
        }
        let extent = |size: usize| {
            let padded = size + 2 * config.padding;
            if padded < kernel || size == 0 {
                bail!("conv2d: a {kernel}x{kernel} kernel is larger than the input {x:?} with {config:?}");
            }
            Ok((padded - kernel) / config.stride + 1)
        };
        let (out_height, out_width) = (extent(height)?, extent(width)?);
        Ok(Self { batch, height, width, channels, out_height, out_width, out_channels, kernel, config })
    }

    /// Values of the input that one output value sees.
    pub(super) fn depth(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    /// Values of the output gradient that one input value sees.
    pub(super) fn back_depth(&self) -> usize {
        self.kernel * self.kernel * self.out_channels
    }

    /// Number of input pixels, over the batch.
    pub(super) fn pixels(&self) -> usize {
        self.batch * self.height * self.width
    }

    /// Number of output pixels, over the batch.
    pub(super) fn out_pixels(&self) -> usize {
        self.batch * self.out_height * self.out_width
    }

    /// A 1x1 kernel that sees exactly its own pixel: the columns are the image itself.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.config == Conv2dConfig::same(1)
    }

    /// Input pixels seen by output pixels.
    pub(super) fn forward_view(&self) -> View {
        View {
            height: self.height,
            width: self.width,
            channels: self.channels,
            kernel: self.kernel,
            seen_from: [self.out_height, self.out_width],
            multiply: self.config.stride,
            offset: -(self.config.padding as isize),
            divide: 1,
        }
    }

    /// Output pixels seen by input pixels, taps in reverse order: tap `t` here is tap `k - 1 - t` of the weights.
    pub(super) fn backward_view(&self) -> View {
        View {
            height: self.out_height,
            width: self.out_width,
            channels: self.out_channels,
            kernel: self.kernel,
            seen_from: [self.height, self.width],
            multiply: 1,
            offset: self.config.padding as isize - (self.kernel as isize - 1),
            divide: self.config.stride,
        }
    }
}

/// Source coordinate of tap `t` for destination coordinate `d`: `(d * multiply + offset + t) / divide`, where that is
/// whole and inside the source; zero elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) kernel: usize,
    pub(super) seen_from: [usize; 2],
    pub(super) multiply: usize,
    pub(super) offset: isize,
    pub(super) divide: usize,
}

impl View {
    /// Source coordinate along an axis of `size` pixels, if there is one.
    pub(super) fn source(&self, destination: usize, tap: usize, size: usize) -> Option<usize> {
        let scaled = (destination * self.multiply + tap) as isize + self.offset;
        let scaled = usize::try_from(scaled).ok()?;
        let whole = scaled.is_multiple_of(self.divide);
        (whole && scaled / self.divide < size).then_some(scaled / self.divide)
    }

    /// Values that one destination pixel sees.
    pub(super) fn depth(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }
}
