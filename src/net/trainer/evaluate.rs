//! Scores on the hold-out.

use candle_core::Tensor;

use super::feed::Feed;
use crate::net::batches::{Loader, prefetch};
use crate::net::confusion::{Confusion, mean};
use crate::net::history::HoldoutScore;
use crate::net::loss::Criterion;
use crate::net::segmenter::Segmenter;
use crate::net::values::with_values;
use crate::net::{Mode, NetError, Result};

/// Loss and Jaccard of a network on the hold-out of the loader's source; `None` where it has no labelled pixel.
///
/// # Errors
/// [`NetError::Cancelled`] as soon as `cancelled` says so; what the source or the network reports.
pub(super) fn evaluate(
    (network, loss): (&dyn Segmenter, &dyn Criterion),
    loader: &Loader<'_>,
    feed: &mut Feed,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<HoldoutScore>> {
    let mut counts = Counts::new(loader.classes, feed)?;
    let (mut loss_sum, mut labelled) = (0.0, 0);
    std::thread::scope(|scope| {
        for batch in prefetch(scope, loader.holdout_batches()) {
            if cancelled() {
                return Err(NetError::Cancelled);
            }
            let batch = batch?;
            if batch.labelled == 0 {
                continue;
            }
            let weight = batch.labelled;
            let (bands, labels) = feed.tensors(batch)?;
            let logits = network.forward(&bands, Mode::Eval)?;
            counts.add(&logits, &labels)?;
            let batch_loss = loss.value(&logits, &labels)?;
            loss_sum += f64::from(batch_loss.to_scalar::<f32>()?) * weight as f64;
            labelled += weight;
        }
        Ok(())
    })?;
    let jaccard = counts.into_confusion()?.jaccard();
    Ok(mean(&jaccard).map(|mean_jaccard| HoldoutScore { loss: loss_sum / labelled as f64, mean_jaccard, jaccard }))
}

/// The confusion matrix where the logits are.
enum Counts {
    Host(Confusion),
    #[cfg(feature = "cuda")]
    Gpu(usize, Tensor),
}

impl Counts {
    fn new(classes: usize, feed: &Feed) -> Result<Self> {
        Ok(match feed {
            Feed::Host => Self::Host(Confusion::new(classes)),
            #[cfg(feature = "cuda")]
            Feed::Gpu(feed) => Self::Gpu(classes, feed.counters(classes)?),
        })
    }

    fn add(&mut self, logits: &Tensor, labels: &Tensor) -> Result<()> {
        match self {
            Self::Host(confusion) => {
                let truth = labels.flatten_all()?.to_vec1::<u8>()?;
                with_values(logits, |logits| confusion.add_logits(logits, &truth))?;
            }
            #[cfg(feature = "cuda")]
            Self::Gpu(_, counts) => crate::net::ops::count_confusion(logits, labels, counts)?,
        }
        Ok(())
    }

    fn into_confusion(self) -> Result<Confusion> {
        match self {
            Self::Host(confusion) => Ok(confusion),
            #[cfg(feature = "cuda")]
            Self::Gpu(classes, counts) => {
                let counts = counts.flatten_all()?.to_vec1::<u32>()?.into_iter().map(u64::from).collect();
                Ok(Confusion::of_counts(classes, counts))
            }
        }
    }
}
