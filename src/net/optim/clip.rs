//! Clipping by the global norm (Pascanu, Mikolov, Bengio 2013), with the arithmetic of `torch.nn.utils.clip_grad_norm_`.

use candle_core::{Tensor, Var};
use rayon::prelude::*;

use crate::net::Result;
use crate::net::ops::{GradientsOf, simd};
use crate::net::values::with_values;

/// Values summed by one thread at a time. Fixed, so that the sum does not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// The Euclidean norm of all gradients of `vars` taken as one vector, summed in f64. Variables without a gradient add
/// nothing.
///
/// # Errors
/// [`crate::net::NetError::Tensor`] when a gradient is not f32.
pub fn global_norm<'a>(grads: &impl GradientsOf, vars: impl IntoIterator<Item = &'a Var>) -> Result<f64> {
    let grads: Vec<&Tensor> = vars.into_iter().filter_map(|var| grads.of(var)).collect();
    let squares = grads.par_iter().map(|grad| with_values(grad, sum_of_squares));
    // Collected and then summed in order: the sum does not depend on which thread was first.
    let squares: Vec<f64> = squares.collect::<candle_core::Result<_>>()?;
    Ok(squares.iter().sum::<f64>().sqrt())
}

/// What gradients of norm `norm` are multiplied by so that the norm is at most `max_norm`; 1 when it already is.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    // The small addend keeps a norm of 0 from dividing by zero; PyTorch has the same.
    (max_norm / (norm + 1e-6)).min(1.0)
}

fn sum_of_squares(values: &[f32]) -> f64 {
    let parts: Vec<f64> =
        values.par_chunks(CHUNK).map(|chunk| simd::dispatch(|| chunk_sum_of_squares(chunk))).collect();
    parts.iter().sum()
}

#[inline(always)]
fn chunk_sum_of_squares(values: &[f32]) -> f64 {
    // Eight running sums let the compiler use vector registers, which a single f64 sum forbids.
    let mut lanes = [0.0_f64; 8];
    let groups = values.chunks_exact(8);
    let rest: f64 = groups.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    for group in groups {
        for (lane, &x) in lanes.iter_mut().zip(group) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use serde::Deserialize;

    use candle_core::backprop::GradStore;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        clips: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        grads: Vec<Vec<f32>>,
        max_norm: f64,
        norm: f64,
        clipped: Vec<Vec<f32>>,
    }

    fn store(grads: &[Vec<f32>]) -> (Vec<Var>, GradStore) {
        let vars: Vec<Var> = grads.iter().map(|g| Var::new(vec![0.0_f32; g.len()], &Device::Cpu).unwrap()).collect();
        let mut store = vars[0].sum_all().unwrap().backward().unwrap();
        for (var, grad) in vars.iter().zip(grads) {
            store.insert(var, Tensor::new(grad.clone(), &Device::Cpu).unwrap());
        }
        (vars, store)
    }

    #[test]
    fn equals_pytorch() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/net_optim.json")).unwrap();
        assert!(golden.clips.len() >= 3);
        for case in golden.clips {
            let (vars, store) = store(&case.grads);
            let norm = global_norm(&store, &vars).unwrap();
            assert!((norm - case.norm).abs() <= 1e-6 * case.norm, "{norm} {}", case.norm);
            let factor = clip_factor(norm, case.max_norm) as f32;
            for (grad, clipped) in case.grads.iter().flatten().zip(case.clipped.iter().flatten()) {
                assert!((grad * factor - clipped).abs() <= 1e-6 * clipped.abs() + 1e-12);
            }
        }
    }

    #[test]
    fn is_the_same_with_any_number_of_threads_and_skips_what_has_no_gradient() {
        let values: Vec<f32> = (0..100_003).map(|i| ((i * 37) % 101) as f32 * 0.01 - 0.3).collect();
        let exact: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let (mut vars, store) = store(&[values]);
        vars.push(Var::new(&[1.0_f32], &Device::Cpu).unwrap());
        let norms: Vec<f64> = [1, 2, 3]
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| global_norm(&store, &vars).unwrap())
            })
            .to_vec();
        assert_eq!(norms[0].to_bits(), norms[1].to_bits());
        assert_eq!(norms[0].to_bits(), norms[2].to_bits());
        assert!((norms[0] - exact).abs() < 1e-9 * exact);
    }
}
