//! Scores on the hold-out.

use crate::net::batches::{Loader, prefetch};
use crate::net::confusion::{Confusion, mean};
use crate::net::history::HoldoutScore;
use crate::net::loss::CrossEntropy;
use crate::net::segmenter::Segmenter;
use crate::net::values::with_values;
use crate::net::{Mode, NetError, Result};

/// Loss and Jaccard of `network` on the hold-out of the loader's source; `None` where it has no labelled pixel.
///
/// # Errors
/// [`NetError::Cancelled`] as soon as `cancelled` says so; what the source or the network reports.
pub(super) fn evaluate(
    network: &dyn Segmenter,
    loss: &CrossEntropy,
    loader: &Loader<'_>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<HoldoutScore>> {
    let device = network.device();
    let mut confusion = Confusion::new(loader.classes);
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
            let (weight, truth) = (batch.labelled, batch.labels().to_vec());
            let (bands, labels) = batch.into_tensors(&device)?;
            let logits = network.forward(&bands, Mode::Eval)?;
            with_values(&logits, |logits| confusion.add_logits(logits, &truth))?;
            loss_sum += f64::from(loss.loss(&logits, &labels)?.to_scalar::<f32>()?) * weight as f64;
            labelled += weight;
        }
        Ok(())
    })?;
    let jaccard = confusion.jaccard();
    Ok(mean(&jaccard).map(|mean_jaccard| HoldoutScore { loss: loss_sum / labelled as f64, mean_jaccard, jaccard }))
}
