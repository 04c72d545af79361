//! The steps of a range test.

use super::super::learner::Step;
use super::Session;
use crate::net::batches::{Batch, prefetch};
use crate::net::range_test::{Losses, RangeTest, RatePoint};
use crate::net::{NetError, Result};

impl Session<'_> {
    /// Steps at rising rates, until the last one or until the loss is far above its lowest.
    pub(in crate::net::trainer) fn rates(&mut self, test: RangeTest) -> Result<Vec<RatePoint>> {
        let (loader, sampler) = (self.loader.clone(), self.sampler.clone());
        let mut losses = Losses::default();
        std::thread::scope(|scope| {
            let batches = prefetch(scope, loader.train_batches(&sampler, (0, 0), 1));
            for (step, batch) in batches.iter().enumerate() {
                let batch = batch?;
                // Says nothing about the rate.
                if batch.labelled == 0 {
                    continue;
                }
                let lr = test.lr(step);
                let loss = match self.loss_at(lr, step, batch) {
                    // A rate that is far too high: what the test is there to find.
                    Err(NetError::Diverged { .. } | NetError::GradientDiverged { .. }) => break,
                    loss => loss?,
                };
                (self.hooks.on_step)(step + 1, test.steps, loss as f32);
                if (self.hooks.cancelled)() {
                    return Err(NetError::Cancelled);
                }
                if !losses.add(lr, loss) {
                    break;
                }
            }
            Ok(losses.into_points(test.steps))
        })
    }

    /// A step, and the loss before it.
    fn loss_at(&mut self, lr: f64, step: usize, batch: Batch) -> Result<f64> {
        let labelled = batch.labelled;
        let step = Step { number: step + 1, per_epoch: self.steps_per_epoch, lr };
        let before = self.progress.loss_sum;
        self.learn(batch, &step)?;
        // On a GPU the loss is known once it is waited for.
        self.learner.settle(&step, &mut self.progress)?;
        Ok((self.progress.loss_sum - before) / labelled as f64)
    }
}
