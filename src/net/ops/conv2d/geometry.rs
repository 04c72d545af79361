//! Sizes of a two-dimensional convolution, and which source pixels a destination pixel sees.

use candle_core::{Result, bail};

#[cfg(feature = "cuda")]
use super::super::cuda::conv::ConvSpec;

/// Spacing and border of a convolution; the kernel is square.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv2dConfig {
    /// Source pixels from one output pixel to the next; 1 or more.
    pub stride: usize,
    /// Zero pixels around the image.
    pub padding: usize,
    /// Source pixels from one tap of the kernel to the next; 1 or more.
    pub dilation: usize,
    /// Parts that the channels are cut into: each part of the output sees only its part of the input. Divides both
    /// numbers of channels.
    pub groups: usize,
}

impl Default for Conv2dConfig {
    /// Stride 1, no border, dense taps, all channels in one group.
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

impl Conv2dConfig {
    /// Stride 1 with the border that keeps the size: `kernel / 2` for odd kernels.
    #[must_use]
    pub fn same(kernel: usize) -> Self {
        Self { padding: kernel / 2, ..Self::default() }
    }

    /// The taps of a dense kernel `dilation` pixels apart, and the border as many times wider: what kept the size still
    /// does.
    #[must_use]
    pub fn dilated(self, dilation: usize) -> Self {
        Self { padding: self.padding * dilation, dilation, ..self }
    }

    /// Channels in `groups` parts that do not see each other.
    #[must_use]
    pub fn grouped(self, groups: usize) -> Self {
        Self { groups, ..self }
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
    /// From `x: [N, H, W, Ci]` and `w: [k, k, Ci / groups, Co]`.
    pub(super) fn new(x: [usize; 4], w: [usize; 4], config: Conv2dConfig) -> Result<Self> {
        let ([batch, height, width, channels], [kernel, kernel_width, in_channels, out_channels]) = (x, w);
        let Conv2dConfig { stride, padding, dilation, groups } = config;
        let whole = groups > 0 && in_channels * groups == channels && out_channels % groups == 0;
        if kernel != kernel_width || kernel == 0 || !whole || stride == 0 || dilation == 0 {
            bail!(
                "conv2d: weights {w:?} ([k, k, in / groups, out]) with {config:?} do not fit an input {x:?} ([N, H, W, in])"
            );
        }
        let reach = dilation * (kernel - 1) + 1;
        let extent = |size: usize| {
            let padded = size + 2 * padding;
            if padded < reach || size == 0 {
                bail!("conv2d: a {kernel}x{kernel} kernel is larger than the input {x:?} with {config:?}");
            }
            Ok((padded - reach) / stride + 1)
        };
        let (out_height, out_width) = (extent(height)?, extent(width)?);
        Ok(Self { batch, height, width, channels, out_height, out_width, out_channels, kernel, config })
    }

    /// As cuDNN is told about it, with images of `dtype`.
    #[cfg(feature = "cuda")]
    pub(super) fn on_gpu(&self, dtype: candle_core::DType) -> ConvSpec {
        let Conv2dConfig { stride, padding, dilation, groups } = self.config;
        ConvSpec {
            dtype,
            batch: self.batch,
            size: [self.height, self.width],
            channels: self.channels,
            out_size: [self.out_height, self.out_width],
            out_channels: self.out_channels,
            kernel: self.kernel,
            stride,
            padding,
            dilation,
            groups,
        }
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
        self.kernel == 1 && self.config.stride == 1 && self.config.padding == 0
    }

    /// The convolution that one group of channels is.
    pub(super) fn of_a_group(&self) -> Self {
        let Self { channels, out_channels, config, .. } = *self;
        let groups = config.groups;
        let config = Conv2dConfig { groups: 1, ..config };
        Self { channels: channels / groups, out_channels: out_channels / groups, config, ..*self }
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
            spacing: self.config.dilation,
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
            spacing: self.config.dilation,
            offset: self.config.padding as isize - (self.config.dilation * (self.kernel - 1)) as isize,
            divide: self.config.stride,
        }
    }
}

/// Source coordinate of tap `t` for destination coordinate `d`: `(d * multiply + offset + t * spacing) / divide`, where
/// that is whole and inside the source; zero elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) kernel: usize,
    pub(super) seen_from: [usize; 2],
    pub(super) multiply: usize,
    pub(super) spacing: usize,
    pub(super) offset: isize,
    pub(super) divide: usize,
}

impl View {
    /// Source coordinate along an axis of `size` pixels, if there is one.
    pub(super) fn source(&self, destination: usize, tap: usize, size: usize) -> Option<usize> {
        let scaled = (destination * self.multiply + tap * self.spacing) as isize + self.offset;
        let scaled = usize::try_from(scaled).ok()?;
        let whole = scaled.is_multiple_of(self.divide);
        (whole && scaled / self.divide < size).then_some(scaled / self.divide)
    }

    /// Values that one destination pixel sees.
    pub(super) fn depth(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }
}
