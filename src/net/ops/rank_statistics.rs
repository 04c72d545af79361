//! Batch normalisation over the batch of several ranks: statistics and sums of the whole from those of the shares.
//!
//! Every rank hands round means and squares around them, and all join them in the order of the ranks by Chan's formula in
//! f64, as chunks of one rank are joined: sums of plain squares would lose the digits of a mean that lies far from 0.

use candle_core::{Error, Result};

use super::batch_norm::BatchStatistics;
use super::element::Element;
use crate::net::collective::Together;

/// Statistics of the whole batch, from those of this rank's share.
///
/// # Errors
/// A rank that is gone, or whose operand has other channels.
pub(super) fn of_all(together: &Together, mine: &BatchStatistics) -> Result<BatchStatistics> {
    let channels = mine.mean.len();
    let squares = mine.variance.iter().map(|variance| variance * mine.count as f64);
    let moments = std::iter::once(mine.count as f64).chain(mine.mean.iter().copied()).chain(squares);
    let moments: Vec<u8> = moments.flat_map(f64::to_le_bytes).collect();
    let all = together.collective().gather(&moments).map_err(Error::wrap)?;
    let mut joined = Joined { count: 0.0, mean: vec![0.0; channels], squares: vec![0.0; channels] };
    for (rank, part) in all.iter().enumerate() {
        let part: Vec<f64> = part.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let [count, means @ ..] = part.as_slice() else { return Err(no_fit(rank)) };
        if means.len() != 2 * channels {
            return Err(no_fit(rank));
        }
        joined.add(*count, &means[..channels], &means[channels..]);
    }
    let (count, expected) = (joined.count as usize, together.share.rows_of_all(mine.count));
    if count != expected {
        return Err(Error::Msg(format!("batch_norm: the ranks' shares have {count} pixels, expected {expected}")).bt());
    }
    let variance = joined.squares.iter().map(|squares| squares / joined.count).collect();
    Ok(BatchStatistics { mean: joined.mean, variance, count })
}

fn no_fit(rank: usize) -> Error {
    Error::Msg(format!("batch_norm: rank {rank} normalises an image with other channels")).bt()
}

struct Joined {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Joined {
    fn add(&mut self, count: f64, mean: &[f64], squares: &[f64]) {
        let total = self.count + count;
        for c in 0..mean.len() {
            let delta = mean[c] - self.mean[c];
            self.mean[c] += delta * count / total;
            self.squares[c] += squares[c] + delta * delta * self.count * count / total;
        }
        self.count = total;
    }
}

/// Two rows of sums over the whole batch, from those over this rank's share.
///
/// # Errors
/// A rank that is gone.
pub(super) fn sums_of_all<T: Element>(together: &Together, [a, b]: [&[T]; 2]) -> Result<[Vec<T>; 2]> {
    let mut sums: Vec<f64> = a.iter().chain(b).map(|sum| sum.to_f64()).collect();
    together.collective().sum_f64(&mut sums).map_err(Error::wrap)?;
    let narrow = |sums: &[f64]| sums.iter().map(|sum| T::from_f64(*sum)).collect();
    Ok([narrow(&sums[..a.len()]), narrow(&sums[a.len()..])])
}
