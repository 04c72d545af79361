//! Numbers that the operators compute with, and their way in and out of candle's storage.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor, WithDType, bail};

use super::{error_function, exponential, ranks};

/// `f32` for work, `f64` so that gradients can be checked against finite differences.
pub(crate) trait Element: WithDType {
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// A value that is not negative, with an index: see [`Self::rank`].
    type Rank: Ord + Copy + Send;
    /// e to the power of `self`, which is at most 0. In f32 results below the least normal number are 0.
    fn exp(self) -> Self;
    /// Natural logarithm of `self`, a normal number above 0.
    fn ln(self) -> Self;
    /// Complement of the error function. In f32 nearly to the last digits: see [`error_function::erfc`].
    fn erfc(self) -> Self;
    /// What sorts by value from large to small, NaN first, and by `index` where values are equal. For values of 0 or more,
    /// whose bits are in the order of the values.
    fn rank(self, index: u32) -> Self::Rank;
    /// The value and the index again.
    fn unrank(rank: Self::Rank) -> (Self, u32);
    /// Ranks that come with ascending indices, in ascending order.
    fn sort(ranks: Vec<Self::Rank>) -> Vec<Self::Rank>;
}

macro_rules! element {
    ($t:ty, $bits:ty, $rank:ty, $exp:path, $ln:path, $erfc:path, $sort:path) => {
        impl Element for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            type Rank = $rank;
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn rank(self, index: u32) -> $rank {
                (<$rank>::from(!self.abs().to_bits()) << u32::BITS) | <$rank>::from(index)
            }
            #[inline(always)]
            fn unrank(rank: $rank) -> (Self, u32) {
                (Self::from_bits(!((rank >> u32::BITS) as $bits)), rank as u32)
            }
            fn sort(ranks: Vec<$rank>) -> Vec<$rank> {
                $sort(ranks)
            }
            #[inline(always)]
            fn erfc(self) -> Self {
                $erfc(self)
            }
        }
    };
}

// Gradient checks in f64 need the library's last digits; work in f32 needs vectors.
element!(f32, u32, u64, exponential::exp, exponential::ln, error_function::erfc, ranks::sort_f32);
element!(f64, u64, u128, f64::exp, f64::ln, libm::erfc, ranks::sort_f64);

/// Runs a generic body with `$t` bound to the floating-point type behind `$dtype`.
macro_rules! with_float {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            ::candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            ::candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => ::candle_core::bail!("{}: needs f32 or f64, got {other:?}", $op),
        }
    };
}
pub(crate) use with_float;

/// The values of a contiguous operand of `op`.
pub(crate) fn slice<'a, T: WithDType>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let values = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("{op}: needs a contiguous operand, got strides {:?}", layout.stride()),
    }
}

/// A read lock on a tensor's values, for backward passes, which candle hands whole tensors.
pub(crate) struct Host<'a> {
    op: &'static str,
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

/// Locks `tensor` for reading on behalf of `op`.
pub(crate) fn host<'a>(op: &'static str, tensor: &'a Tensor) -> Host<'a> {
    let (storage, layout) = tensor.storage_and_layout();
    Host { op, storage, layout }
}

impl Host<'_> {
    /// The values, in row-major order.
    pub(crate) fn slice<T: WithDType>(&self) -> Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => slice(self.op, storage, self.layout),
            _ => bail!("{}: has no backward pass off the CPU", self.op),
        }
    }
}

/// `[a, b, c, d]` of a rank-4 layout, or an error that names the operator.
pub(crate) fn dims4(op: &str, layout: &Layout) -> Result<[usize; 4]> {
    match *layout.dims() {
        [a, b, c, d] => Ok([a, b, c, d]),
        ref other => bail!("{op}: needs four dimensions [batch, height, width, channel], got {other:?}"),
    }
}

/// Refuses operands of different element types before any kernel sees them.
pub(crate) fn same_dtype(op: &str, tensors: &[&Tensor]) -> Result<DType> {
    let dtype = tensors[0].dtype();
    match tensors.iter().find(|t| t.dtype() != dtype) {
        None => Ok(dtype),
        Some(other) => bail!("{op}: operands differ in type, {dtype:?} and {:?}", other.dtype()),
    }
}

/// Refuses parameters of another type than the image's. On a GPU a bf16 image goes with f32 parameters.
pub(crate) fn same_types(op: &str, image: &Tensor, parameters: &[&Tensor]) -> Result<()> {
    let mixed = image.device().is_cuda() && image.dtype() == DType::BF16;
    let expected = if mixed { DType::F32 } else { image.dtype() };
    match parameters.iter().find(|t| t.dtype() != expected) {
        None => Ok(()),
        Some(other) => bail!("{op}: operands differ in type, {:?} and {:?}", image.dtype(), other.dtype()),
    }
}
