//! One training from its first step, or from a checkpoint, to its end.

mod beginning;
mod range_test;
mod ranks;

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use self::beginning::{balanced, fingerprint};
use self::ranks::Next;
use super::evaluate::evaluate;
use super::feed::Feed;
use super::hooks::TrainHooks;
use super::learner::{Learner, Lesson, Step, learner};
use super::pace::Pace;
use crate::net::average::Average;
use crate::net::batches::{Batch, Loader, prefetch};
use crate::net::checkpoint::{CheckpointFolder, Progress, Snapshot, Weights};
use crate::net::collective::Team;
use crate::net::config::TrainConfig;
use crate::net::device::Compute;
use crate::net::history::{Ended, EpochRecord, History, HoldoutScore};
use crate::net::loss::Criterion;
use crate::net::rng::Rng;
use crate::net::sampling::{Sampler, Sampling};
use crate::net::segmenter::Segmenter;
use crate::net::source::PatchSource;
use crate::net::{NetError, Result};

/// A checkpoint after an epoch is left out as long as writing them would take more than this share of the time.
const CHECKPOINT_SHARE: u32 = 10;

/// A training under way.
pub(super) struct Session<'a> {
    config: &'a TrainConfig,
    network: &'a dyn Segmenter,
    loss: &'a dyn Criterion,
    hooks: &'a TrainHooks<'a>,
    /// The ranks that it is shared out among, where there are several.
    team: Option<&'a Team>,
    loader: Loader<'a>,
    sampler: Sampler,
    steps_per_epoch: usize,
    feed: Feed,
    learner: Box<dyn Learner>,
    peak_lr: f64,
    folder: CheckpointFolder,
    saved_at: Instant,
    saving_took: Duration,
    progress: Progress,
    best: Option<Weights>,
    /// Averages of the weights, where they are what is scored and kept.
    average: Option<Average>,
    pace: Pace,
    /// The last loss that was known.
    told_loss: f32,
}

/// How an epoch was left.
#[derive(PartialEq, Eq)]
enum EpochEnd {
    Finished,
    OutOfTime,
}

impl<'a> Session<'a> {
    /// Takes up the newest checkpoint of this training, or starts afresh. `config` was checked against `source`.
    pub(super) fn new(
        config: &'a TrainConfig,
        (compute, team): (&Compute, Option<&'a Team>),
        (network, loss): (&'a dyn Segmenter, &'a dyn Criterion),
        source: &'a dyn PatchSource,
        hooks: &'a TrainHooks<'a>,
    ) -> Result<Self> {
        let rng = Rng::new(config.seed).fork("training");
        let batch = config.batch.patches();
        let samples = config.samples_per_epoch(source.train_len());
        let balanced = match config.sampling {
            Sampling::ClassBalanced => Some(balanced(source)?),
            Sampling::Shuffled | Sampling::Weighted => None,
        };
        let weight = |i: usize| balanced.as_ref().map_or_else(|| source.weight(i), |weights| weights[i]);
        let sampler = Sampler::new(config.sampling, source.train_len(), samples, weight, &rng)?;
        let feed = Feed::new(compute, source, config.classes, config.augment.needs_host())?;
        let on_device = feed.on_device();
        let folder = CheckpointFolder::open(hooks.checkpoint_dir, fingerprint(config, network, source)?)?;
        let progress = Progress::start(rng.state());
        let mut session = Self {
            config,
            network,
            loss,
            hooks,
            team,
            loader: Loader { source, classes: config.classes, batch, augment: config.augment, rng, on_device },
            sampler,
            steps_per_epoch: samples.div_ceil(batch),
            feed,
            learner: learner(config, (compute, team), network)?,
            peak_lr: config.peak_lr(),
            folder,
            saved_at: Instant::now(),
            saving_took: Duration::ZERO,
            progress,
            best: None,
            average: config.averaging().map(|averaging| Average::of(network, averaging)).transpose()?,
            pace: Pace::default(),
            told_loss: 0.0,
        };
        session.resume()?;
        session.begin_alike()?;
        Ok(session)
    }

    /// Trains to the end, then puts the best weights into the network.
    pub(super) fn run(&mut self) -> Result<History> {
        let started = Instant::now();
        let ended = self.epochs()?;
        tracing::info!("{}", self.pace.shares(started.elapsed()));
        match (&self.best, self.averages(self.progress.epochs_done)) {
            (Some(best), _) => best.put_into(self.network)?,
            (None, Some(average)) => average.weights()?.put_into(self.network)?,
            (None, None) => {}
        }
        let epochs = self.progress.records.clone();
        let best_epoch = self.progress.best.map_or(epochs.len(), |(epoch, _)| epoch);
        let planned_epochs = self.config.epochs;
        Ok(History { version: History::VERSION, planned_epochs, epochs, best_epoch, ended })
    }

    fn resume(&mut self) -> Result<()> {
        let Some(saved) = self.folder.newest(self.network) else { return Ok(()) };
        if saved.progress.rng != self.progress.rng {
            tracing::warn!("the checkpoint was made with another random generator: training starts afresh");
            return Ok(());
        }
        saved.weights.put_into(self.network)?;
        if let (Some(average), Some(saved)) = (&self.average, &saved.average) {
            average.restore(saved)?;
        }
        self.learner.restore(saved.moments, saved.progress.optimizer_steps)?;
        self.learner.start_sum(saved.progress.loss_sum)?;
        self.progress = saved.progress;
        self.best = saved.best;
        tracing::info!("training goes on after {} of {} steps", self.steps_done(), self.steps());
        Ok(())
    }

    fn epochs(&mut self) -> Result<Ended> {
        let start = (self.progress.epochs_done, self.progress.steps_done);
        // Prepared by a second loader, so that the session stays free to change while the batches are borrowed from it.
        let loader = self.loader.clone();
        let sampler = self.sampler.clone();
        std::thread::scope(|scope| {
            let batches = prefetch(scope, loader.train_batches(&sampler, start, self.config.epochs));
            while self.progress.epochs_done < self.config.epochs {
                if self.out_of_patience() {
                    return Ok(Ended::Patience);
                }
                if !self.has_time_for(self.steps_per_epoch - self.progress.steps_done)?
                    || self.epoch(&batches)? == EpochEnd::OutOfTime
                {
                    self.save_or_warn();
                    return Ok(Ended::Deadline);
                }
                self.save_after_epoch();
            }
            Ok(Ended::AllEpochs)
        })
    }

    fn epoch(&mut self, batches: &Receiver<Result<Batch>>) -> Result<EpochEnd> {
        let started = Instant::now();
        while self.progress.steps_done < self.steps_per_epoch {
            // Only a panic in the source ends the batches early, and the scope passes that on.
            let waiting_since = Instant::now();
            let Ok(batch) = batches.recv() else { return Err(NetError::Cancelled) };
            let step_started = Instant::now();
            self.pace.batch_took(step_started - waiting_since);
            let loss = self.step(batch?)?;
            self.pace.step_took(step_started.elapsed());
            self.told_loss = loss.unwrap_or(self.told_loss);
            if self.leads() {
                (self.hooks.on_step)(self.steps_done(), self.steps(), self.told_loss);
            }
            match self.next()? {
                Next::Step => {}
                Next::Cancel => return self.cancel(),
                Next::OutOfTime => return Ok(EpochEnd::OutOfTime),
            }
            if self.saved_at.elapsed() >= self.hooks.checkpoint_every {
                self.save_or_warn();
            }
        }
        self.finish_epoch(started)
    }

    /// One step. Returns the loss where it is known yet.
    fn step(&mut self, batch: Batch) -> Result<Option<f32>> {
        let labelled = batch.labelled;
        let step = self.step_number(self.steps_done() + 1);
        let loss = if labelled > 0 {
            let loss = self.learn(batch, &step)?;
            if let Some(average) = &self.average {
                average.after_step(self.network, self.progress.optimizer_steps)?;
            }
            loss
        } else {
            Some(0.0)
        };
        self.progress.labelled += labelled;
        self.progress.steps_done += 1;
        // Here and not where an epoch is finished: that is done again when it is interrupted.
        if self.progress.steps_done == self.steps_per_epoch
            && let Some(average) = &self.average
        {
            average.after_epoch(self.network, self.progress.epochs_done + 1)?;
        }
        Ok(loss)
    }

    /// Learns from a batch that has labels. Returns the loss where it is known yet.
    fn learn(&mut self, batch: Batch, step: &Step) -> Result<Option<f32>> {
        let labelled = batch.labelled;
        let (bands, labels) = self.feed.tensors(batch)?;
        let lesson = Lesson { network: self.network, loss: self.loss, bands, labels, labelled };
        self.learner.step(&lesson, step, &mut self.progress)
    }

    /// Step `number`, counted from 1.
    fn step_number(&self, number: usize) -> Step {
        Step { number, per_epoch: self.steps_per_epoch, lr: self.lr(number - 1) }
    }

    /// Waits for the steps that were asked for; that time is theirs.
    fn settle(&mut self) -> Result<()> {
        let started = Instant::now();
        let step = self.step_number(self.steps_done().max(1));
        self.learner.settle(&step, &mut self.progress)?;
        self.pace.waited_for_steps(started.elapsed());
        Ok(())
    }

    /// Scores the hold-out, keeps the weights if they are the best, writes the record.
    fn finish_epoch(&mut self, started: Instant) -> Result<EpochEnd> {
        self.settle()?;
        let epoch = self.progress.epochs_done + 1;
        let due = epoch.is_multiple_of(self.config.evaluate_every) || epoch == self.config.epochs;
        let evaluation_started = Instant::now();
        // What a batch had to be cut into to be learned from, it is cut into here too.
        self.loader.batch = self.config.batch.patches().div_ceil(self.learner.parts());
        let holdout = if due && self.loader.source.holdout_len() > 0 {
            match self.evaluate(epoch) {
                Err(NetError::Cancelled) => return self.cancel(),
                score => score?,
            }
        } else {
            None
        };
        self.pace.evaluation_took(evaluation_started.elapsed());
        if let Some(score) = &holdout
            && self.is_best(epoch, score.mean_jaccard)
        {
            self.progress.best = Some((epoch, score.mean_jaccard));
            self.best = Some(match self.averages(epoch) {
                Some(average) => average.weights()?,
                None => Weights::of(self.network)?,
            });
        }
        let record = EpochRecord {
            epoch,
            of: self.config.epochs,
            train_loss: self.progress.loss_sum / self.progress.labelled.max(1) as f64,
            lr: self.lr(self.steps_done() - 1),
            holdout,
            seconds: started.elapsed().as_secs_f64(),
        };
        if self.leads() {
            (self.hooks.on_epoch)(&record);
        }
        self.progress.end_epoch(record);
        self.learner.start_sum(0.0)?;
        Ok(EpochEnd::Finished)
    }

    /// The averages, where they are what is scored and kept once epoch `epoch` is over.
    fn averages(&self, epoch: usize) -> Option<&Average> {
        self.average.as_ref().filter(|average| average.has_begun(epoch))
    }

    /// Whether the weights after epoch `epoch` are to be kept. The first averages are, whatever was scored before there were
    /// any: they are what was asked for, and what is to come is to be compared with them.
    fn is_best(&self, epoch: usize, jaccard: f64) -> bool {
        let first_averages = |before| self.averages(epoch).is_some() && self.averages(before).is_none();
        self.progress.best.is_none_or(|(before, best)| jaccard > best || first_averages(before))
    }

    /// Whether training ends because the scores have stopped rising. As long as averages are still to begin, it does not.
    fn out_of_patience(&self) -> bool {
        let (Some(patience), Some((best, _))) = (self.config.patience, self.progress.best) else { return false };
        let since = self.progress.records.iter().filter(|record| record.epoch > best && record.holdout.is_some());
        since.count() >= patience && (self.average.is_none() || self.averages(best).is_some())
    }

    /// Scores the weights on the hold-out after epoch `epoch`: their averages, where there are such.
    fn evaluate(&mut self, epoch: usize) -> Result<Option<HoldoutScore>> {
        let Some(average) = self.averages(epoch) else { return self.score() };
        let last = Weights::of(self.network)?;
        average.weights()?.put_into(self.network)?;
        let score = self.score();
        // Training goes on from the weights of the last step, also when it was interrupted.
        last.put_into(self.network)?;
        score
    }

    fn score(&mut self) -> Result<Option<HoldoutScore>> {
        evaluate((self.network, self.loss), &self.loader, &mut self.feed, self.hooks.cancelled, self.team)
    }

    /// Leaves a checkpoint, then stops.
    fn cancel(&mut self) -> Result<EpochEnd> {
        self.save()?;
        Err(NetError::Cancelled)
    }

    fn save(&mut self) -> Result<()> {
        if !self.leads() {
            self.saved_at = Instant::now();
            return Ok(());
        }
        self.settle()?;
        let started = Instant::now();
        let moments = self.learner.moments()?;
        let snapshot = Snapshot {
            progress: &self.progress,
            weights: Weights::of(self.network)?,
            moments: &moments,
            best: self.best.as_ref(),
            average: self.average.as_ref().map(Average::weights).transpose()?,
        };
        let step = self.progress.epochs_done * (self.steps_per_epoch + 1) + self.progress.steps_done;
        self.folder.save(step, self.network, &snapshot)?;
        self.saved_at = Instant::now();
        self.saving_took = started.elapsed();
        self.pace.saving_took(self.saving_took);
        Ok(())
    }

    /// A checkpoint that cannot be written now (a full disk, say) must not throw away the training: the next one may succeed.
    fn save_or_warn(&mut self) {
        if let Err(error) = self.save() {
            tracing::warn!("no checkpoint written: {error}");
            self.saved_at = Instant::now();
        }
    }

    /// After every epoch, but not so often that short epochs spend their time on the disk; always after the last.
    fn save_after_epoch(&mut self) {
        let last = self.progress.epochs_done == self.config.epochs || self.out_of_patience();
        if last || self.saved_at.elapsed() >= self.saving_took * CHECKPOINT_SHARE {
            self.save_or_warn();
        }
    }

    fn lr(&self, step: usize) -> f64 {
        self.config.schedule.lr(self.peak_lr, step, self.steps())
    }

    fn steps(&self) -> usize {
        self.config.epochs * self.steps_per_epoch
    }

    fn steps_done(&self) -> usize {
        self.progress.epochs_done * self.steps_per_epoch + self.progress.steps_done
    }
}
