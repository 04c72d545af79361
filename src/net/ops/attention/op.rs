//! The operator that candle's graph sees.

use candle_core::backend::BackendStorage;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType};

#[cfg(feature = "cuda")]
use super::super::cuda;
use super::super::element::{dims4, host, same_dtype, slice, with_float};
use super::super::tape;
use super::kernel;
use super::sizes::Sizes;

const NAME: &str = "attention";

/// Scaled dot-product attention (Vaswani et al. 2017, section 3.2) of `q: [N, H, W, C]` to `k` and `v`, `[N, h, w, C]`; gives
/// `[N, H, W, C]`. The channels are cut into `heads` equal runs of `d`, each by itself: a pixel of the result is
/// `sum over keys j of softmax(q . k_j / sqrt(d))_j * v_j`, over all pixels of its own image.
///
/// # Errors
/// Heads that do not divide the channels, shapes that do not fit, operands of different or non-float types. On a GPU, heads of
/// more than 128 channels.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    same_dtype(NAME, &[q, k, v])?;
    let op = Attention {
        heads,
        #[cfg(feature = "cuda")]
        logs: std::sync::OnceLock::new(),
    };
    tape::apply3(&q.contiguous()?, &k.contiguous()?, &v.contiguous()?, op)
}

struct Attention {
    heads: usize,
    /// What the way back on a GPU makes the weights from.
    #[cfg(feature = "cuda")]
    logs: std::sync::OnceLock<Tensor>,
}

impl Attention {
    fn sizes(&self, operands: [&Layout; 3]) -> Result<Sizes> {
        let [q, k, v] = operands.map(|layout| dims4(NAME, layout));
        Sizes::new(NAME, [q?, k?, v?], self.heads)
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes([ql, kl, vl])?;
        let y = with_float!(NAME, q.dtype(), T => {
            let (q, k, v) = (slice::<T>(NAME, q, ql)?, slice(NAME, k, kl)?, slice(NAME, v, vl)?);
            T::to_cpu_storage_owned(kernel::forward(&sizes, q, k, v))
        });
        Ok((y, ql.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        ql: &Layout,
        k: &CudaStorage,
        kl: &Layout,
        v: &CudaStorage,
        vl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::attention::forward(&self.sizes([ql, kl, vl])?, (q, ql), (k, kl), (v, vl), &self.logs)
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "the CPU does without"))] y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = self.sizes([q.layout(), k.layout(), v.layout()])?;
        let dy = dy.contiguous()?;
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            let [dq, dk, dv] = cuda::attention::backward(&sizes, [q, k, v], y, &dy, &self.logs)?;
            return Ok((Some(dq), Some(dk), Some(dv)));
        }
        let [hq, hk, hv, hdy] = [q, k, v, &dy].map(|tensor| host(NAME, tensor));
        with_float!(NAME, q.dtype(), T => {
            let [dq, dk, dv] = kernel::backward::<T>(&sizes, [hq.slice()?, hk.slice()?, hv.slice()?], hdy.slice()?);
            let of = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
            Ok((of(dq, q)?, of(dk, k)?, of(dv, v)?))
        })
    }
}
