//! Batch normalisation of a batch that is shared out among several ranks: between the kernels that add up a share and those
//! that need the whole, the ranks exchange what they have.

use candle_core::{DType, Result, Tensor};

use super::gpu::Gpu;
use super::launch::{Address, THREADS};
use super::norm::{Norm, STATISTICS};
use crate::net::collective::Together;

impl Norm {
    /// The statistics of the whole batch, from the `blocks` partial moments of this rank's share.
    pub(super) fn statistics_of_ranks(
        &self,
        gpu: &Gpu,
        together: &Together,
        (partials, blocks): (Address, usize),
        [gamma, beta]: [Address; 2],
    ) -> Result<Tensor> {
        let (share, rows, channels) = (together.share, self.rows.rows, self.rows.channels);
        let moments = gpu.fresh((share.ranks, 2, channels), DType::F64)?;
        let mine = moments.address.plus(share.rank * 2 * channels, DType::F64);
        let launch = gpu.kernel("norm_rank_moments")?.at(partials).at(mine);
        launch.long(rows).int(channels)?.int(blocks)?.grid([channels, 1, 1], THREADS, 0)?;
        let bytes = 2 * channels * DType::F64.size_in_bytes();
        let parts: Vec<_> = (0..share.ranks).map(|rank| rank * bytes..(rank + 1) * bytes).collect();
        together.team.device()?.gather(moments.address, &parts)?;
        let statistics = gpu.fresh((STATISTICS, channels), DType::F32)?;
        let launch = gpu.kernel("norm_statistics_of_ranks")?.at(moments.address).at(gamma).at(beta);
        let launch = launch.at(statistics.address).long(rows / share.mine().len()).int(share.patches)?;
        launch.int(share.ranks)?.int(channels)?.float(self.eps as f32).over(channels)?;
        Ok(statistics.into_tensor())
    }

    /// As [`Norm::slopes`], with the gradients of gamma and beta of this rank's share, and what the gradient of `x` is made with
    /// from the sums over the whole batch.
    pub(super) fn slopes_of_ranks(
        &self,
        gpu: &Gpu,
        together: &Together,
        (partials, blocks): (Address, usize),
        statistics: Address,
    ) -> Result<(Tensor, Tensor)> {
        let channels = self.rows.channels;
        let (each, sums) = (gpu.fresh((2, channels), DType::F32)?, gpu.fresh((2, channels), DType::F64)?);
        let launch = gpu.kernel("norm_rank_sums")?.at(partials).at(statistics).at(each.address).at(sums.address);
        launch.int(channels)?.int(blocks)?.grid([channels, 1, 1], THREADS, 0)?;
        together.team.device()?.sum(sums.address, 2 * channels, DType::F64)?;
        let slopes = gpu.fresh((2, channels), DType::F32)?;
        let launch = gpu.kernel("norm_slopes_of_ranks")?.at(sums.address).at(statistics).at(slopes.address);
        launch.long(together.share.rows_of_all(self.rows.rows)).int(channels)?.over(channels)?;
        Ok((each.into_tensor(), slopes.into_tensor()))
    }
}
