//! Rectifier.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda::pointwise;
use super::element::{Element, host, slice, with_float};
use super::tape;

const NAME: &str = "relu";

/// `max(x, 0)` of any shape. The gradient at 0 is 0, as in PyTorch.
///
/// # Errors
/// A type that is no float.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    tape::apply1(&x.contiguous()?, Relu)
}

struct Relu;

/// `values[i]` where `gate[i] > 0`, else 0.
fn gated<T: Element>(values: &[T], gate: &[T]) -> Vec<T> {
    let step = chunks::rows(1);
    let mut out = vec![T::ZERO; values.len()];
    out.par_chunks_mut(step).zip(values.par_chunks(step)).zip(gate.par_chunks(step)).for_each(|((out, v), g)| {
        for ((out, v), g) in out.iter_mut().zip(v).zip(g) {
            *out = if *g > T::ZERO { *v } else { T::ZERO };
        }
    });
    out
}

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = with_float!(NAME, x.dtype(), T => {
            let x = slice::<T>(NAME, x, layout)?;
            T::to_cpu_storage_owned(gated(x, x))
        });
        Ok((y, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        pointwise::map(NAME, "relu", x, layout)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return pointwise::gradient(NAME, "relu_gradient", x, &dy).map(Some);
        }
        let (hx, hdy) = (host(NAME, x), host(NAME, &dy));
        with_float!(NAME, x.dtype(), T => {
            Tensor::from_vec(gated::<T>(hdy.slice()?, hx.slice()?), x.shape(), x.device()).map(Some)
        })
    }
}
