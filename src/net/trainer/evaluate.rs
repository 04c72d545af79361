//! Scores on the hold-out.

use candle_core::Tensor;

use super::feed::Feed;
use crate::net::batches::{Loader, prefetch};
use crate::net::collective::Team;
use crate::net::confusion::{Confusion, mean};
use crate::net::history::HoldoutScore;
use crate::net::loss::Criterion;
use crate::net::segmenter::Segmenter;
use crate::net::values::with_values;
use crate::net::{Mode, NetError, Result};

/// Loss and Jaccard of a network on the hold-out of the loader's source; `None` where it has no labelled pixel. Ranks take
/// turns with the batches and put together what they find: the score is the same on all, and to the bit that of one process.
///
/// # Errors
/// [`NetError::Cancelled`] as soon as `cancelled` says so, which only rank 0 is asked; what the source, the network or the
/// other ranks report.
pub(super) fn evaluate(
    (network, loss): (&dyn Segmenter, &dyn Criterion),
    loader: &Loader<'_>,
    feed: &mut Feed,
    cancelled: &dyn Fn() -> bool,
    team: Option<&Team>,
) -> Result<Option<HoldoutScore>> {
    let mut counts = Counts::new(loader.classes, feed)?;
    let mut losses = Vec::new();
    let leads = team.is_none_or(Team::leads);
    let turn = team.map_or((0, 1), |team| (team.collective().rank(), team.ranks()));
    let stopped = std::thread::scope(|scope| {
        for batch in prefetch(scope, loader.holdout_batches(turn)) {
            if leads && cancelled() {
                return Ok(true);
            }
            let batch = batch?;
            let labelled = batch.labelled;
            if labelled == 0 {
                losses.push(BatchLoss { loss: 0.0, labelled });
                continue;
            }
            let (bands, labels) = feed.tensors(batch)?;
            let logits = network.forward(&bands, Mode::Eval)?;
            counts.add(&logits, &labels)?;
            let loss = f64::from(loss.value(&logits, &labels)?.to_scalar::<f32>()?);
            losses.push(BatchLoss { loss, labelled });
        }
        Ok::<_, NetError>(false)
    })?;
    if team.map_or(Ok(stopped.into()), |team| team.ask(stopped.into()))? != 0 {
        return Err(NetError::Cancelled);
    }
    let (losses, confusion) = match team {
        None => (losses, counts.into_confusion()?),
        Some(team) => put_together(team, &losses, &counts.into_confusion()?)?,
    };
    let loss_sum: f64 = losses.iter().map(|batch| batch.loss * batch.labelled as f64).sum();
    let labelled: u64 = losses.iter().map(|batch| batch.labelled).sum();
    let jaccard = confusion.jaccard();
    Ok(mean(&jaccard).map(|mean_jaccard| HoldoutScore { loss: loss_sum / labelled as f64, mean_jaccard, jaccard }))
}

/// The mean loss of a batch, and what it counts.
#[derive(Clone, Copy)]
struct BatchLoss {
    loss: f64,
    labelled: u64,
}

/// The losses of all batches in their order, and the confusion matrix of all, from those of every rank.
fn put_together(team: &Team, mine: &[BatchLoss], confusion: &Confusion) -> Result<(Vec<BatchLoss>, Confusion)> {
    let losses = mine.iter().flat_map(|batch| [batch.loss.to_bits(), batch.labelled]);
    let words: Vec<u8> = confusion.counts().iter().copied().chain(losses).flat_map(u64::to_le_bytes).collect();
    let cells = confusion.counts().len();
    let mut counts = vec![0; cells];
    let mut of_ranks = Vec::new();
    for part in team.collective().gather(&words)? {
        let words: Vec<u64> = part.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let (more, losses) = words.split_at(cells.min(words.len()));
        counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        let batch = |[loss, labelled]: &[u64; 2]| BatchLoss { loss: f64::from_bits(*loss), labelled: *labelled };
        of_ranks.push(losses.as_chunks().0.iter().map(batch).collect::<Vec<_>>());
    }
    let batches: usize = of_ranks.iter().map(Vec::len).sum();
    // Ranks took turns.
    let in_order = (0..batches).filter_map(|batch| of_ranks[batch % team.ranks()].get(batch / team.ranks()).copied());
    let losses = in_order.collect();
    let classes = cells.isqrt();
    Ok((losses, Confusion::of_counts(classes, counts)))
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
