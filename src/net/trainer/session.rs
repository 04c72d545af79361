//! One training from its first step, or from a checkpoint, to its end.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use candle_core::{Device, Var};

use super::evaluate::evaluate;
use super::hooks::TrainHooks;
use super::pace::Pace;
use crate::net::batches::{Batch, Loader, prefetch};
use crate::net::checkpoint::{CheckpointFolder, Progress, Snapshot, Weights};
use crate::net::config::{OptimizerConfig, TrainConfig};
use crate::net::history::{Ended, EpochRecord, History};
use crate::net::loss::CrossEntropy;
use crate::net::optim::{AdamW, clip_factor, global_norm};
use crate::net::rng::Rng;
use crate::net::sampling::Sampler;
use crate::net::segmenter::Segmenter;
use crate::net::source::{Part, PatchSource};
use crate::net::{Mode, NetError, Result};

/// A checkpoint after an epoch is left out as long as writing them would take more than this share of the time.
const CHECKPOINT_SHARE: u32 = 10;

/// A training under way.
pub(super) struct Session<'a> {
    config: &'a TrainConfig,
    network: &'a dyn Segmenter,
    loss: &'a CrossEntropy,
    hooks: &'a TrainHooks<'a>,
    loader: Loader<'a>,
    sampler: Sampler,
    steps_per_epoch: usize,
    optimizer: AdamW,
    peak_lr: f64,
    device: Device,
    folder: CheckpointFolder,
    saved_at: Instant,
    saving_took: Duration,
    progress: Progress,
    best: Option<Weights>,
    pace: Pace,
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
        network: &'a dyn Segmenter,
        loss: &'a CrossEntropy,
        source: &'a dyn PatchSource,
        hooks: &'a TrainHooks<'a>,
    ) -> Result<Self> {
        let rng = Rng::new(config.seed).fork("training");
        let batch = config.batch.patches();
        let samples = config.samples_per_epoch(source.train_len());
        let sampler = Sampler::new(config.sampling, source.train_len(), samples, |i| source.weight(i), &rng)?;
        let OptimizerConfig::AdamW(adamw) = config.optimizer;
        let vars = network.parameters().iter().map(|(_, var)| var.clone());
        let folder = CheckpointFolder::open(hooks.checkpoint_dir, fingerprint(config, network, source)?)?;
        let progress = Progress::start(rng.state());
        let mut session = Self {
            config,
            network,
            loss,
            hooks,
            loader: Loader { source, classes: config.classes, batch, augment: config.augment, rng },
            sampler,
            steps_per_epoch: samples.div_ceil(batch),
            optimizer: AdamW::of(vars, adamw),
            peak_lr: adamw.lr,
            device: network.device(),
            folder,
            saved_at: Instant::now(),
            saving_took: Duration::ZERO,
            progress,
            best: None,
            pace: Pace::default(),
        };
        session.resume()?;
        Ok(session)
    }

    /// Trains to the end, then puts the best weights into the network.
    pub(super) fn run(&mut self) -> Result<History> {
        let started = Instant::now();
        let ended = self.epochs()?;
        tracing::info!("{}", self.pace.shares(started.elapsed()));
        if let Some(best) = &self.best {
            best.put_into(self.network)?;
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
        self.optimizer.restore(saved.moments, saved.progress.optimizer_steps)?;
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
                if !self.fits(self.steps_per_epoch - self.progress.steps_done)
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
            (self.hooks.on_step)(self.steps_done(), self.steps(), loss);
            if (self.hooks.cancelled)() {
                return self.cancel();
            }
            if self.hooks.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(EpochEnd::OutOfTime);
            }
            if self.saved_at.elapsed() >= self.hooks.checkpoint_every {
                self.save_or_warn();
            }
        }
        self.finish_epoch(started)
    }

    /// One step: forward, backward, update. Returns the loss.
    fn step(&mut self, batch: Batch) -> Result<f32> {
        let labelled = batch.labelled;
        let (epoch, step) = (self.progress.epochs_done + 1, self.steps_done() + 1);
        let loss = if labelled > 0 { self.learn(batch, epoch, step)? } else { 0.0 };
        self.progress.loss_sum += f64::from(loss) * labelled as f64;
        self.progress.labelled += labelled;
        self.progress.steps_done += 1;
        Ok(loss)
    }

    fn learn(&mut self, batch: Batch, epoch: usize, step: usize) -> Result<f32> {
        let (bands, labels) = batch.into_tensors(&self.device)?;
        let loss = self.loss.loss(&self.network.forward(&bands, Mode::Train)?, &labels)?;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            return Err(NetError::Diverged { epoch, step, loss: value });
        }
        let grads = loss.backward()?;
        let norm = global_norm(&grads, self.network.parameters().iter().map(|(_, var)| var))?;
        if !norm.is_finite() {
            return Err(NetError::GradientDiverged { epoch, step, norm });
        }
        let scale = self.config.clip.map_or(1.0, |max_norm| clip_factor(norm, max_norm));
        self.optimizer.step_scaled(&grads, scale, self.lr(step - 1))?;
        self.progress.optimizer_steps = self.optimizer.steps();
        Ok(value)
    }

    /// Scores the hold-out, keeps the weights if they are the best, writes the record.
    fn finish_epoch(&mut self, started: Instant) -> Result<EpochEnd> {
        let epoch = self.progress.epochs_done + 1;
        let due = epoch.is_multiple_of(self.config.evaluate_every) || epoch == self.config.epochs;
        let evaluation_started = Instant::now();
        let holdout = if due && self.loader.source.holdout_len() > 0 {
            match evaluate(self.network, self.loss, &self.loader, self.hooks.cancelled) {
                Err(NetError::Cancelled) => return self.cancel(),
                score => score?,
            }
        } else {
            None
        };
        self.pace.evaluation_took(evaluation_started.elapsed());
        if let Some(score) = &holdout
            && self.progress.best.is_none_or(|(_, best)| score.mean_jaccard > best)
        {
            self.progress.best = Some((epoch, score.mean_jaccard));
            self.best = Some(Weights::of(self.network)?);
        }
        let record = EpochRecord {
            epoch,
            of: self.config.epochs,
            train_loss: self.progress.loss_sum / self.progress.labelled.max(1) as f64,
            lr: self.lr(self.steps_done() - 1),
            holdout,
            seconds: started.elapsed().as_secs_f64(),
        };
        (self.hooks.on_epoch)(&record);
        self.progress.end_epoch(record);
        Ok(EpochEnd::Finished)
    }

    /// Leaves a checkpoint, then stops.
    fn cancel(&mut self) -> Result<EpochEnd> {
        self.save()?;
        Err(NetError::Cancelled)
    }

    fn save(&mut self) -> Result<()> {
        let started = Instant::now();
        let snapshot = Snapshot {
            progress: &self.progress,
            weights: Weights::of(self.network)?,
            moments: self.optimizer.moments(),
            best: self.best.as_ref(),
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
        let last = self.progress.epochs_done == self.config.epochs;
        if last || self.saved_at.elapsed() >= self.saving_took * CHECKPOINT_SHARE {
            self.save_or_warn();
        }
    }

    fn fits(&self, steps: usize) -> bool {
        self.hooks.deadline.is_none_or(|deadline| self.pace.fits(steps, Instant::now(), deadline))
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

/// Tells this training from any other: configuration, shapes of the network, and the data by its sizes, weights, class
/// counts and first, middle and last patch. The caller gives each training a folder of its own; this is the second lock.
fn fingerprint(config: &TrainConfig, network: &dyn Segmenter, source: &dyn PatchSource) -> Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("s2pipe training fingerprint 1");
    let config = serde_json::to_string(config).map_err(|e| NetError::Config(format!("the configuration: {e}")))?;
    hasher.update(config.as_bytes());
    let mut number = |n: u64| {
        hasher.update(&n.to_le_bytes());
    };
    let (train, holdout) = (source.train_len(), source.holdout_len());
    [source.bands(), source.size(), train, holdout].into_iter().for_each(|n| number(n as u64));
    source.class_pixels().into_iter().for_each(&mut number);
    (0..train).for_each(|i| number(u64::from(source.weight(i).to_bits())));
    network.parameters().iter().for_each(|(_, var): &(String, Var)| number(var.elem_count() as u64));
    let pixels = source.size() * source.size();
    let (mut bands, mut labels) = (vec![0.0; pixels * source.bands()], vec![0; pixels]);
    for (part, len) in [(Part::Train, train), (Part::Holdout, holdout)] {
        for index in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|i| *i < len) {
            source.read(part, index, &mut bands, &mut labels)?;
            hasher.update(&bands.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
            hasher.update(&labels);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
