//! Tensors that ranks make one of: logits, side by side; gradients, added up.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, TensorId, Var};

use super::frame::{from_bytes, to_bytes};
use super::{Share, Team};
use crate::net::ops::GradientsOf;
use crate::net::values::with_values;
use crate::net::{NetError, Result};

impl Team {
    /// Images of the whole batch `[n, ..]` from those of every rank's share.
    ///
    /// # Errors
    /// The collective's.
    pub(crate) fn whole_batch(&self, images: &Tensor, share: Share) -> Result<Tensor> {
        let mut dims = images.dims().to_vec();
        dims[0] = share.patches;
        #[cfg(feature = "cuda")]
        if images.device().is_cuda() {
            return Ok(self.device()?.whole_batch(images, share, &dims)?);
        }
        let mut mine = Vec::new();
        with_values(images, |values| to_bytes(values, &mut mine))?;
        let mut whole: Vec<f32> = vec![0.0; dims.iter().product()];
        let mut rest = whole.as_mut_slice();
        for (rank, part) in self.collective().gather(&mine)?.into_iter().enumerate() {
            let values = share.of(rank).len() * images.elem_count() / share.mine().len();
            if part.len() != values * size_of::<f32>() {
                return Err(NetError::Config(format!("rank {rank} has images of another size: {} bytes", part.len())));
            }
            let (mine, others) = rest.split_at_mut(values);
            from_bytes(&part, mine);
            rest = others;
        }
        Ok(Tensor::from_vec(whole, dims, &Device::Cpu)?)
    }

    /// Gradients of `parameters` summed over the ranks, in one exchange; this rank's are left out where it does not `count`.
    ///
    /// # Errors
    /// The collective's.
    pub(crate) fn sum_gradients(
        &self,
        parameters: &[(String, Var)],
        gradients: &impl GradientsOf,
        count: bool,
    ) -> Result<Summed> {
        let found: Vec<(TensorId, &Tensor)> =
            parameters.iter().filter_map(|(_, var)| Some((var.id(), gradients.of(var)?))).collect();
        let flat = self.flat_sum(&found, count)?;
        let mut summed = HashMap::new();
        let mut first = 0;
        for (id, gradient) in found {
            let values = gradient.elem_count();
            summed.insert(id, flat.narrow(0, first, values)?.reshape(gradient.shape())?);
            first += values;
        }
        Ok(Summed(summed))
    }

    /// All gradients one after another, summed.
    fn flat_sum(&self, gradients: &[(TensorId, &Tensor)], count: bool) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some((_, first)) = gradients.first()
            && first.device().is_cuda()
        {
            let tensors: Vec<&Tensor> = gradients.iter().map(|(_, gradient)| *gradient).collect();
            return Ok(self.device()?.flat_sum(&tensors, count)?);
        }
        let mut flat: Vec<f32> = Vec::with_capacity(gradients.iter().map(|(_, g)| g.elem_count()).sum());
        for (_, gradient) in gradients {
            debug_assert_eq!(gradient.dtype(), DType::F32, "parameters are f32");
            with_values(gradient, |values| flat.extend_from_slice(values))?;
        }
        if !count {
            flat.fill(0.0);
        }
        self.collective().sum_f32(&mut flat)?;
        let values = flat.len();
        Ok(Tensor::from_vec(flat, values, &Device::Cpu)?)
    }
}

/// Gradients summed over ranks.
pub(crate) struct Summed(HashMap<TensorId, Tensor>);

impl GradientsOf for Summed {
    fn of(&self, var: &Var) -> Option<&Tensor> {
        self.0.get(&var.id())
    }
}
