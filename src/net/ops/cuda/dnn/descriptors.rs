//! How cuDNN is told about shapes.

use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::{DType, Result, bail};

use super::super::error::DeviceError;
use super::super::gpu::Numerics;

/// A convolution of channels-last images `[N, H, W, Ci]` to `[N, OH, OW, Co]`, with weights `[Co, k, k, Ci / groups]` of the
/// images' type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ConvSpec {
    pub(crate) dtype: DType,
    pub(crate) batch: usize,
    /// Height and width of the input.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    /// Height and width of the output.
    pub(crate) out_size: [usize; 2],
    pub(crate) out_channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
    pub(crate) groups: usize,
}

/// The four descriptors of a convolution.
pub(super) struct Descriptors {
    pub(super) x: sys::cudnnTensorDescriptor_t,
    pub(super) y: sys::cudnnTensorDescriptor_t,
    pub(super) w: sys::cudnnFilterDescriptor_t,
    pub(super) conv: sys::cudnnConvolutionDescriptor_t,
}

impl Descriptors {
    pub(super) fn new(spec: &ConvSpec, numerics: Numerics) -> Result<Self> {
        let dtype = match spec.dtype {
            DType::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            DType::BF16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
            other => bail!("conv2d: GPUs compute in f32 and bf16, got {other:?}"),
        };
        let math = match (spec.dtype, numerics.tf32) {
            (DType::F32, false) => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            (DType::F32, true) => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            _ => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        let numbers = Numbers::of(spec)?;
        Self::describe(&numbers, dtype, math)
            .map_err(|e| DeviceError::dnn("the description of a convolution", e).into())
    }

    fn describe(
        n: &Numbers,
        dtype: sys::cudnnDataType_t,
        math: sys::cudnnMathType_t,
    ) -> std::result::Result<Self, CudnnError> {
        let found = Self {
            x: result::create_tensor_descriptor()?,
            y: result::create_tensor_descriptor()?,
            w: result::create_filter_descriptor()?,
            conv: result::create_convolution_descriptor()?,
        };
        let nhwc = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let cross = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let float = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        // SAFETY: the descriptors were just made; what they are set to is checked by cuDNN.
        #[expect(unsafe_code, reason = "cuDNN's interface")]
        unsafe {
            result::set_tensor4d_descriptor(found.x, nhwc, dtype, n.x)?;
            result::set_tensor4d_descriptor(found.y, nhwc, dtype, n.y)?;
            result::set_filter4d_descriptor(found.w, dtype, nhwc, n.w)?;
            let [padding, stride, dilation] = n.steps;
            sys::cudnnSetConvolution2dDescriptor(
                found.conv, padding, padding, stride, stride, dilation, dilation, cross, float,
            )
            .result()?;
            result::set_convolution_group_count(found.conv, n.groups)?;
            result::set_convolution_math_type(found.conv, math)?;
        }
        Ok(found)
    }
}

/// The sizes as cuDNN takes them: `int`, in the order N, C, H, W whatever the layout.
struct Numbers {
    x: [i32; 4],
    y: [i32; 4],
    w: [i32; 4],
    /// Padding, stride, dilation.
    steps: [i32; 3],
    groups: i32,
}

impl Numbers {
    fn of(s: &ConvSpec) -> Result<Self> {
        let int = |value: usize| match i32::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => bail!("conv2d: {value} in {s:?} is more than cuDNN takes"),
        };
        let four = |[a, b, c, d]: [usize; 4]| Ok::<_, candle_core::Error>([int(a)?, int(b)?, int(c)?, int(d)?]);
        Ok(Self {
            x: four([s.batch, s.channels, s.size[0], s.size[1]])?,
            y: four([s.batch, s.out_channels, s.out_size[0], s.out_size[1]])?,
            w: four([s.out_channels, s.channels / s.groups, s.kernel, s.kernel])?,
            steps: [int(s.padding)?, int(s.stride)?, int(s.dilation)?],
            groups: int(s.groups)?,
        })
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: nobody else has them. A refusal has nobody to be told to.
        #[expect(unsafe_code, reason = "cuDNN's interface")]
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_filter_descriptor(self.w);
            let _ = result::destroy_convolution_descriptor(self.conv);
        }
    }
}
