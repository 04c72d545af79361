//! What a checkpoint holds.

use serde::{Deserialize, Serialize};

use crate::net::history::EpochRecord;
use crate::net::optim::Moments;
use crate::net::rng::RngState;
use crate::net::segmenter::Segmenter;
use crate::net::{Result, values};

/// Where a training stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Finished epochs: stepped, evaluated, recorded.
    pub(crate) epochs_done: usize,
    /// Steps of the present epoch. When it is all of them, the evaluation is what comes next.
    pub(crate) steps_done: usize,
    /// Sum over the present epoch's batches of loss times labelled pixels.
    pub(crate) loss_sum: f64,
    /// Labelled pixels of those batches.
    pub(crate) labelled: u64,
    /// Steps of the optimiser. Batches without any label take none.
    pub(crate) optimizer_steps: u64,
    /// The epoch (from 1) of the best weights and its hold-out mean Jaccard.
    pub(crate) best: Option<(usize, f64)>,
    /// Records of the finished epochs.
    pub(crate) records: Vec<EpochRecord>,
    /// The generator that all random decisions fork from. It never advances; it is here so that a change of the seeding
    /// cannot pass unnoticed.
    pub(crate) rng: RngState,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn start(rng: RngState) -> Self {
        Self {
            epochs_done: 0,
            steps_done: 0,
            loss_sum: 0.0,
            labelled: 0,
            optimizer_steps: 0,
            best: None,
            records: Vec::new(),
            rng,
        }
    }

    /// The present epoch is over; the next begins.
    pub(crate) fn end_epoch(&mut self, record: EpochRecord) {
        self.records.push(record);
        self.epochs_done += 1;
        self.steps_done = 0;
        self.loss_sum = 0.0;
        self.labelled = 0;
    }
}

/// Values of parameters and buffers, in their order in the network.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Weights {
    pub(crate) parameters: Vec<Vec<f32>>,
    pub(crate) buffers: Vec<Vec<f32>>,
}

impl Weights {
    pub(crate) fn of(network: &dyn Segmenter) -> Result<Self> {
        Ok(Self { parameters: values::copy_out(network.parameters())?, buffers: values::copy_out(network.buffers())? })
    }

    pub(crate) fn put_into(&self, network: &dyn Segmenter) -> Result<()> {
        values::copy_in(network.parameters(), &self.parameters)?;
        values::copy_in(network.buffers(), &self.buffers)
    }
}

/// A state to be written.
pub(crate) struct Snapshot<'a> {
    pub(crate) progress: &'a Progress,
    pub(crate) weights: Weights,
    pub(crate) moments: &'a [Moments],
    pub(crate) best: Option<&'a Weights>,
    /// Running averages of the weights.
    pub(crate) average: Option<Weights>,
}

/// A state that was read.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) progress: Progress,
    pub(crate) weights: Weights,
    pub(crate) moments: Vec<Moments>,
    pub(crate) best: Option<Weights>,
    pub(crate) average: Option<Weights>,
}
