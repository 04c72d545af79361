//! Sum of two images, with the rectifier that may follow it: where a residual block or a pyramid joins what it has.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};

use super::chunks;
#[cfg(feature = "cuda")]
use super::cuda::pointwise;
use super::element::{Element, host, same_dtype, slice, with_float};
use super::scratch::in_chunks;
use super::tape;

const NAME: &str = "add";

/// `a + b` of one shape and type, value by value, and with `relu` 0 where that is negative. The rectifier's gradient at 0 is
/// 0, as in PyTorch.
///
/// # Errors
/// Shapes or types that differ, a type that is no float.
pub fn add(a: &Tensor, b: &Tensor, relu: bool) -> Result<Tensor> {
    same_dtype(NAME, &[a, b])?;
    if a.dims() != b.dims() {
        bail!("{NAME}: needs operands of one shape, got {:?} and {:?}", a.dims(), b.dims());
    }
    tape::apply2(&a.contiguous()?, &b.contiguous()?, Add { relu })
}

struct Add {
    relu: bool,
}

/// `f(a, b)`, value by value.
fn paired<T: Element>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    let step = chunks::rows(1);
    in_chunks(a.len(), step, |number, out| {
        for ((out, a), b) in out.iter_mut().zip(&a[number * step..]).zip(&b[number * step..]) {
            *out = f(*a, *b);
        }
    })
}

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = with_float!(NAME, a.dtype(), T => {
            let (a, b) = (slice::<T>(NAME, a, al)?, slice(NAME, b, bl)?);
            T::to_cpu_storage_owned(match self.relu {
                false => paired(a, b, |a, b| a + b),
                // Not `max`: a NaN must come through, so that training sees it.
                true => paired(a, b, |a, b| if a + b < T::ZERO { T::ZERO } else { a + b }),
            })
        });
        Ok((y, al.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        pointwise::map2(NAME, if self.relu { "add_relu" } else { "add" }, (a, al), (b, bl))
    }

    fn bwd(&self, _a: &Tensor, _b: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        if !self.relu {
            return Ok((Some(dy.clone()), Some(dy)));
        }
        let d = gated(y, &dy)?;
        Ok((Some(d.clone()), Some(d)))
    }
}

/// `dy` where `y` is above 0, else 0.
fn gated(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return pointwise::gradient(NAME, "relu_gradient", y, dy);
    }
    let (hy, hdy) = (host(NAME, y), host(NAME, dy));
    with_float!(NAME, y.dtype(), T => {
        let d = paired::<T>(hdy.slice()?, hy.slice()?, |dy, y| if y > T::ZERO { dy } else { T::ZERO });
        Tensor::from_vec(d, y.shape(), y.device())
    })
}
