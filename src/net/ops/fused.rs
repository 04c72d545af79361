//! Losses over labelled pixels as operators whose gradient is computed with the loss, while the logits are at hand.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, D, DType, Device, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::element::{Element, host, slice, with_float};
use crate::net::types::IGNORE;

/// Targets that a thread counts at a time.
const TARGETS: usize = 1 << 16;

/// Class numbers that were checked against the logits.
pub(super) struct Labels {
    targets: Tensor,
    /// Labelled pixels of each class.
    pub(super) counts: Vec<u64>,
}

impl Labels {
    /// Checks `targets: [..]` (u8) against `logits: [.., K]`, on behalf of the operator `op`.
    pub(super) fn new(op: &'static str, logits: &Tensor, targets: &Tensor) -> Result<Self> {
        let classes = logits.dim(D::Minus1)?;
        if targets.dtype() != DType::U8 || targets.dims() != &logits.dims()[..logits.rank() - 1] {
            bail!("{op}: targets are {:?} {:?}, logits {:?}", targets.dtype(), targets.dims(), logits.dims());
        }
        let targets = targets.contiguous()?;
        let mut counts = histogram(host(op, &targets).slice()?);
        counts[usize::from(IGNORE)] = 0;
        if let Some(bad) = (classes..counts.len()).find(|class| counts[*class] > 0) {
            bail!(
                "{op}: a target is {bad}, but the logits have only {classes} classes (0..{classes}; {IGNORE} = no label)"
            );
        }
        counts.resize(classes, 0);
        Ok(Self { targets, counts })
    }
}

/// How often every byte occurs.
fn histogram(bytes: &[u8]) -> Vec<u64> {
    let count = |bytes: &[u8]| {
        let mut counts = vec![0; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        counts
    };
    let add = |mut a: Vec<u64>, b: Vec<u64>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    bytes.par_chunks(TARGETS).map(count).reduce(|| vec![0; 256], add)
}

/// `weights`, or 1 for each of `classes`, checked on behalf of the operator `op`.
pub(super) fn class_weights(op: &str, weights: Option<&[f32]>, classes: usize) -> Result<Vec<f64>> {
    let weights = weights.map_or_else(|| vec![1.0; classes], |w| w.iter().map(|w| f64::from(*w)).collect());
    if weights.len() != classes || !weights.iter().all(|w| w.is_finite() && *w >= 0.0) {
        bail!("{op}: needs {classes} class weights that are finite and not negative, got {weights:?}");
    }
    Ok(weights)
}

/// What a loss is computed from.
pub(super) struct Batch<'a, T> {
    /// Rows of one logit a class.
    pub(super) logits: &'a [T],
    /// A class or [`IGNORE`] a row.
    pub(super) targets: &'a [u8],
    /// Labelled pixels of each class.
    pub(super) counts: &'a [u64],
    /// Whether the gradient will be asked for.
    pub(super) tracked: bool,
}

/// A loss over softmax probabilities.
pub(super) trait Loss: Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;

    /// The loss, and its gradient by logits; nothing in its place where it is not asked for.
    fn run<T: Element>(&self, batch: &Batch<'_, T>) -> (f64, Vec<T>);
}

/// The loss as a scalar of the logits' type.
pub(super) fn apply<L: Loss>(loss: L, logits: &Tensor, labels: Labels) -> Result<Tensor> {
    logits.contiguous()?.apply_op1(Fused { loss, labels, tracked: logits.track_op(), gradient: OnceLock::new() })
}

/// The loss as a scalar of the logits' type, and its gradient by logits, without a graph: on the CPU.
pub(super) fn with_gradient<L: Loss>(loss: &L, logits: &Tensor, labels: &Labels) -> Result<(Tensor, Tensor)> {
    let logits = logits.contiguous()?;
    let (values, targets) = (host(L::NAME, &logits), host(L::NAME, &labels.targets));
    let (targets, counts) = (targets.slice()?, labels.counts.as_slice());
    with_float!(L::NAME, logits.dtype(), T => {
        let (loss, gradient) = loss.run(&Batch::<T> { logits: values.slice()?, targets, counts, tracked: true });
        let value = Tensor::new(T::from_f64(loss), &Device::Cpu)?;
        Ok((value, Tensor::from_vec(gradient, logits.shape(), &Device::Cpu)?))
    })
}

struct Fused<L> {
    loss: L,
    labels: Labels,
    tracked: bool,
    gradient: OnceLock<Tensor>,
}

impl<L: Loss> CustomOp1 for Fused<L> {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let targets = host(L::NAME, &self.labels.targets);
        let (targets, counts, tracked) = (targets.slice()?, self.labels.counts.as_slice(), self.tracked);
        let loss = with_float!(L::NAME, x.dtype(), T => {
            let (loss, gradient) = self.loss.run(&Batch::<T> { logits: slice(L::NAME, x, layout)?, targets, counts, tracked });
            if tracked {
                self.gradient.set(Tensor::from_vec(gradient, layout.shape(), &Device::Cpu)?).ok();
            }
            T::to_cpu_storage_owned(vec![T::from_f64(loss)])
        });
        Ok((loss, Shape::from(())))
    }

    fn bwd(&self, _logits: &Tensor, _loss: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = self.gradient.get() else { bail!("{}: backward without a tracked forward", L::NAME) };
        let by = with_float!(L::NAME, dy.dtype(), T => {
            host(L::NAME, dy).slice::<T>()?.first().map_or(1.0, |v| WithDType::to_f64(*v))
        });
        // The usual case is the loss itself, whose gradient is 1: no pass over the logits.
        if by == 1.0 { Ok(Some(gradient.clone())) } else { gradient.affine(by, 0.0).map(Some) }
    }
}
