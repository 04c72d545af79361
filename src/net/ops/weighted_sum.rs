//! Sums of losses, and of their gradients.

use candle_core::{Result, Tensor, bail};

#[cfg(feature = "cuda")]
use super::cuda::pointwise;
use super::tape;

const NAME: &str = "weighted_sum";

/// `sum_i w[i] * x[i]` of tensors of one shape, type and device, in their order and without a graph.
///
/// # Errors
/// No tensor; shapes, types or devices that differ.
pub fn weighted_sum(terms: &[(f32, Tensor)]) -> Result<Tensor> {
    let Some(((weight, first), rest)) = terms.split_first() else { bail!("{NAME}: there is nothing to add") };
    rest.iter().try_fold(scaled(*weight, first)?, |sum, (weight, term)| {
        if term.dims() != sum.dims() || term.dtype() != sum.dtype() {
            bail!("{NAME}: operands are {:?} {:?}, {:?} {:?}", sum.dtype(), sum.dims(), term.dtype(), term.dims());
        }
        tape::add(&sum, &scaled(*weight, term)?)
    })
}

fn scaled(weight: f32, term: &Tensor) -> Result<Tensor> {
    if weight == 1.0 {
        return Ok(term.detach());
    }
    #[cfg(feature = "cuda")]
    if term.device().is_cuda() {
        return pointwise::scale_by(NAME, &term.contiguous()?, &Tensor::new(weight, term.device())?);
    }
    term.detach().affine(f64::from(weight), 0.0)
}
