//! Numbers that the operators compute with, and their way in and out of candle's storage.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor, WithDType, bail};

/// `f32` for work, `f64` so that gradients can be checked against finite differences.
pub(crate) trait Element: WithDType {
    /// Zero.
    const ZERO: Self;
    /// e to the power of `self`.
    fn exp(self) -> Self;
    /// Complement of the error function, to the type's last digits.
    fn erfc(self) -> Self;
}

macro_rules! element {
    ($t:ty, $erfc:path) => {
        impl Element for $t {
            const ZERO: Self = 0.0;
            #[inline(always)]
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            #[inline(always)]
            fn erfc(self) -> Self {
                $erfc(self)
            }
        }
    };
}

element!(f32, libm::erfcf);
element!(f64, libm::erfc);

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
