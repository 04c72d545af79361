//! From patches to a forest and its score on the hold-out.

use std::time::Instant;

use super::config::ForestConfig;
use super::flat::Forest;
use super::grow::grow;
use super::sample::{Pixels, draw};
use crate::net::confusion::{Confusion, mean};
use crate::net::history::{Ended, EpochRecord, History, HoldoutScore};
use crate::net::rng::Rng;
use crate::net::source::{Part, PatchSource, check_patch};
use crate::net::{IGNORE, NetError, Result};

/// The caller's side. Called from any thread.
#[derive(Clone, Copy)]
pub struct ForestHooks<'a> {
    /// After every tree: trees grown so far.
    pub on_tree: &'a (dyn Fn(usize) + Sync),
    /// Asked before every patch and every tree.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// No tree begins after it.
    pub deadline: Option<Instant>,
}

impl ForestHooks<'_> {
    /// Tells nobody, never stops.
    #[must_use]
    pub fn quiet() -> Self {
        Self { on_tree: &|_| {}, cancelled: &|| false, deadline: None }
    }
}

impl std::fmt::Debug for ForestHooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForestHooks").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// A grown forest.
#[derive(Clone, Debug)]
pub struct TrainedForest {
    /// The trees; fewer than asked for where [`Self::history`] ended with the deadline.
    pub forest: Forest,
    /// One record, as of one epoch: what the scores say of the drawn pixels and of the hold-out.
    pub history: History,
}

/// Least probability in a loss, so that no single leaf without a pixel of the class makes it infinite.
const LEAST: f32 = 1e-7;

/// Draws pixels, grows a forest of them and scores it. `None` where the deadline leaves time for no tree. The same
/// configuration, data and seed give the same bits, whatever the number of threads.
///
/// # Errors
/// [`NetError::Config`] when the configuration does not fit the data; [`NetError::Cancelled`]; what `source` reports.
pub fn train(
    config: &ForestConfig,
    seed: u64,
    source: &dyn PatchSource,
    hooks: &ForestHooks<'_>,
) -> Result<Option<TrainedForest>> {
    config.check()?;
    let classes = source.class_pixels().len();
    let rng = Rng::new(seed).fork("forest");
    let pixels = draw(source, config.pixels, rng.fork("pixels"), hooks.cancelled)?;
    let Some(forest) = grow(config, (&pixels, classes), &rng, hooks)? else { return Ok(None) };
    let record = EpochRecord {
        epoch: 1,
        of: 1,
        train_loss: loss_of(&forest, &pixels)?,
        lr: 0.0,
        holdout: holdout(&forest, source, hooks.cancelled)?,
        seconds: 0.0,
    };
    let ended = if forest.trees() < config.trees { Ended::Deadline } else { Ended::AllEpochs };
    let history = History { version: History::VERSION, planned_epochs: 1, epochs: vec![record], best_epoch: 1, ended };
    Ok(Some(TrainedForest { forest, history }))
}

/// Mean cross-entropy of the pixels that the forest was grown from.
fn loss_of(forest: &Forest, pixels: &Pixels) -> Result<f64> {
    let mut probabilities = vec![0.0; pixels.labels.len() * forest.classes()];
    forest.probabilities(&pixels.values, &vec![true; pixels.labels.len()], &mut probabilities)?;
    Ok(cross_entropy(&probabilities, &pixels.labels, forest.classes()) / pixels.labels.len() as f64)
}

/// Cross-entropy, summed over the pixels that have a label.
fn cross_entropy(probabilities: &[f32], labels: &[u8], classes: usize) -> f64 {
    let labelled = probabilities.chunks_exact(classes).zip(labels).filter(|(_, label)| **label != IGNORE);
    labelled.map(|(p, label)| -f64::from(p[usize::from(*label)].max(LEAST)).ln()).sum()
}

/// Loss and Jaccard over the hold-out patches, as of a network; `None` where they have no labelled pixel.
fn holdout(forest: &Forest, source: &dyn PatchSource, cancelled: &dyn Fn() -> bool) -> Result<Option<HoldoutScore>> {
    let (pixels, classes) = (source.size() * source.size(), forest.classes());
    let (mut values, mut labels) = (vec![0.0; pixels * source.bands()], vec![0; pixels]);
    let mut probabilities = vec![0.0; pixels * classes];
    let mut confusion = Confusion::new(classes);
    let (mut loss, mut labelled) = (0.0, 0);
    for index in 0..source.holdout_len() {
        if cancelled() {
            return Err(NetError::Cancelled);
        }
        source.read(Part::Holdout, index, &mut values, &mut labels)?;
        labelled += check_patch(Part::Holdout, index, classes, &values, &labels)?;
        let wanted: Vec<bool> = labels.iter().map(|label| *label != IGNORE).collect();
        forest.probabilities(&values, &wanted, &mut probabilities)?;
        // The most probable class is that of the highest logit.
        confusion.add_logits(&probabilities, &labels);
        loss += cross_entropy(&probabilities, &labels, classes);
    }
    let jaccard = confusion.jaccard();
    Ok(mean(&jaccard).map(|mean_jaccard| HoldoutScore { loss: loss / labelled as f64, mean_jaccard, jaccard }))
}
