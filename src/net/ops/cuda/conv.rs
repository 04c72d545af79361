//! Convolutions on the GPU. cuDNN wants the output channel of weights first, we keep it last: `[k, k, Ci, Co]` seen as a
//! matrix of `Co` columns is cuDNN's `[Co, k, k, Ci]` transposed, and is turned on the way in and out, which also changes
//! between the weights' f32 and the images' type.

use candle_core::cuda_backend::CudaStorage;
use candle_core::{DType, Layout, Result, Shape, Tensor, bail};

pub(crate) use super::dnn::ConvSpec;
use super::gpu::Gpu;
use super::launch::{Address, Fresh, address, address_of, gpu_of};
use super::pointwise::{add_bias, column_sums};

/// Side of the squares that matrices are turned in.
const TILE: usize = 32;
/// Rows of a square that a block's threads cover at once.
const TILE_ROWS: usize = 8;

/// `conv(x, w)`, then, where asked, `+ bias`, then `max(., 0)`. Also gives the weights as cuDNN reads them, for [`backward`].
pub(crate) fn forward(
    gpu: &Gpu,
    spec: &ConvSpec,
    x: Address,
    w: Address,
    bias: Option<Address>,
    relu: bool,
) -> Result<(Fresh, Tensor)> {
    let y = gpu.fresh((spec.batch, spec.out_size[0], spec.out_size[1], spec.out_channels), spec.dtype)?;
    let packed = pack(gpu, spec, w)?;
    gpu.dnn().forward(spec, x, packed.address, y.address)?;
    if let Some(bias) = bias {
        add_bias(gpu, spec.dtype, y.address, bias, [spec.out_pixels(), spec.out_channels], relu)?;
    }
    Ok((y, packed.into_tensor()))
}

/// Gradients of `x`, where `packed`, the weights as [`forward`] gave them, says that it is wanted, and of
/// `w: [k, k, Ci / groups, Co]` (f32).
pub(crate) fn backward(
    spec: &ConvSpec,
    x: &Tensor,
    w: &Tensor,
    dy: &Tensor,
    packed: Option<&Tensor>,
) -> Result<(Option<Tensor>, Tensor)> {
    let gpu = gpu_of(NAME, x)?;
    let [ax, ady] = [address_of(NAME, x)?, address_of(NAME, dy)?];
    let dx = match packed {
        Some(packed) => {
            let dx = gpu.fresh(x.shape(), spec.dtype)?;
            gpu.dnn().data(spec, address_of(NAME, packed)?, ady, dx.address)?;
            Some(dx.into_tensor())
        }
        None => None,
    };
    let packed = gpu.fresh(w.elem_count(), spec.dtype)?;
    gpu.dnn().filter(spec, ax, ady, packed.address)?;
    let dw = gpu.fresh(w.shape(), DType::F32)?;
    let (rows, columns) = (spec.out_channels, spec.depth());
    turn(&gpu, "turn_out", spec.dtype, packed.address, dw.address, [rows, columns])?;
    Ok((dx, dw.into_tensor()))
}

/// Sums of the gradient `dy: [.., C]` over all pixels, f32: the gradient of a bias.
pub(crate) fn bias_gradient(dy: &Tensor) -> Result<Tensor> {
    column_sums(NAME, dy)
}

/// Weights and bias that a convolution and the normalisation after it, with its running statistics, come to: `w * scale` and
/// `beta - mean * scale` with `scale = gamma / sqrt(variance + eps)`. `norm` is gamma, beta, mean, variance.
pub(crate) fn fold(w: &Tensor, norm: [&Tensor; 4], eps: f64) -> Result<(Tensor, Tensor)> {
    let gpu = gpu_of(NAME, w)?;
    let channels = norm[0].elem_count();
    let weights = gpu.fresh(w.shape(), DType::F32)?;
    let bias = gpu.fresh(channels, DType::F32)?;
    let mut kernel = gpu.kernel("fold_norm")?.at(address_of(NAME, w)?);
    for parameter in norm {
        kernel = kernel.at(address_of(NAME, parameter)?);
    }
    let kernel = kernel.float(eps as f32).at(weights.address).at(bias.address);
    kernel.long(w.elem_count()).int(channels)?.over(w.elem_count())?;
    Ok((weights.into_tensor(), bias.into_tensor()))
}

const NAME: &str = "conv2d";

/// The weights as cuDNN reads them, in the images' type.
fn pack(gpu: &Gpu, spec: &ConvSpec, w: Address) -> Result<Fresh> {
    let (rows, columns) = (spec.depth(), spec.out_channels);
    let packed = gpu.fresh(rows * columns, spec.dtype)?;
    turn(gpu, "turn_in", spec.dtype, w, packed.address, [rows, columns])?;
    Ok(packed)
}

/// Transposes the matrix `[rows, columns]`.
fn turn(gpu: &Gpu, kernel: &'static str, dtype: DType, from: Address, into: Address, size: [usize; 2]) -> Result<()> {
    let [rows, columns] = size;
    let blocks = [columns.div_ceil(TILE), rows.div_ceil(TILE), 1];
    gpu.kernel_of(kernel, dtype)?.at(from).at(into).int(rows)?.int(columns)?.grid(blocks, TILE * TILE_ROWS, 0)
}

impl ConvSpec {
    /// Weights of one output channel.
    fn depth(&self) -> usize {
        self.kernel * self.kernel * self.channels / self.groups
    }

    fn out_pixels(&self) -> usize {
        self.batch * self.out_size[0] * self.out_size[1]
    }
}

/// The transposed 2x2 convolution is what a convolution of stride 2 does to gradients, and the other way round: its input
/// is that convolution's output. Its weights `[Ci, 2, 2, Co]` already have the order that cuDNN wants.
pub(crate) mod transposed {
    use super::{
        Address, ConvSpec, CudaStorage, DType, Fresh, Gpu, Layout, Result, Shape, Tensor, add_bias, address,
        address_of, bail, column_sums, gpu_of,
    };

    const NAME: &str = "conv_transpose2x2";

    fn spec(x: &[usize], out_channels: usize, dtype: DType) -> Result<ConvSpec> {
        let &[batch, height, width, channels] = x else { bail!("{NAME}: needs four dimensions, got {x:?}") };
        Ok(ConvSpec {
            dtype,
            batch,
            size: [2 * height, 2 * width],
            channels: out_channels,
            out_size: [height, width],
            out_channels: channels,
            kernel: 2,
            stride: 2,
            padding: 0,
            dilation: 1,
            groups: 1,
        })
    }

    /// `x: [N, H, W, Ci]` to `[N, 2H, 2W, Co]`.
    pub(crate) fn forward(
        (x, xl): (&CudaStorage, &Layout),
        (w, wl): (&CudaStorage, &Layout),
        (b, bl): (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let gpu = Gpu::of(&x.device)?;
        let out_channels = bl.shape().elem_count();
        let spec = spec(xl.dims(), out_channels, x.dtype())?;
        let y = gpu.fresh((spec.batch, spec.size[0], spec.size[1], out_channels), spec.dtype)?;
        let weights = weights(&gpu, spec.dtype, address(NAME, w, wl)?, wl.shape())?;
        gpu.dnn().data(&spec, weights.address(), address(NAME, x, xl)?, y.address)?;
        let pixels = spec.batch * spec.size[0] * spec.size[1];
        add_bias(&gpu, spec.dtype, y.address, address(NAME, b, bl)?, [pixels, out_channels], false)?;
        Ok(y.into_storage())
    }

    /// Gradients of the image, the weights and the bias.
    pub(crate) fn backward(x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<[Tensor; 3]> {
        let gpu = gpu_of(NAME, x)?;
        let spec = spec(x.dims(), dy.dims()[3], x.dtype())?;
        let [ax, aw, ady] = [address_of(NAME, x)?, address_of(NAME, w)?, address_of(NAME, dy)?];
        let dx = gpu.fresh(x.shape(), spec.dtype)?;
        let weights = weights(&gpu, spec.dtype, aw, w.shape())?;
        gpu.dnn().forward(&spec, ady, weights.address(), dx.address)?;
        let narrow = gpu.fresh(w.shape(), spec.dtype)?;
        gpu.dnn().filter(&spec, ady, ax, narrow.address)?;
        let dw = match spec.dtype {
            DType::F32 => narrow,
            _ => cast(&gpu, "widen", narrow.address, w.shape(), DType::F32)?,
        };
        Ok([dx.into_tensor(), dw.into_tensor(), column_sums(NAME, dy)?])
    }

    /// Weights in the images' type.
    enum Weights {
        AsTheyAre(Address),
        Rounded(Fresh),
    }

    impl Weights {
        fn address(&self) -> Address {
            match self {
                Self::AsTheyAre(address) => *address,
                Self::Rounded(fresh) => fresh.address,
            }
        }
    }

    fn weights(gpu: &Gpu, dtype: DType, w: Address, shape: &Shape) -> Result<Weights> {
        Ok(match dtype {
            DType::F32 => Weights::AsTheyAre(w),
            _ => Weights::Rounded(cast(gpu, "narrow", w, shape, dtype)?),
        })
    }

    fn cast(gpu: &Gpu, kernel: &'static str, from: Address, shape: &Shape, into: DType) -> Result<Fresh> {
        let out = gpu.fresh(shape, into)?;
        let count = shape.elem_count();
        gpu.kernel(kernel)?.at(from).at(out.address).long(count).over(count)?;
        Ok(out)
    }
}
