//! Which learning rate to choose: the range test of Smith (2017, "Cyclical learning rates for training neural networks").
//!
//! A short training in which the rate rises geometrically from step to step. As long as it is too low the loss hardly moves,
//! then it falls, and where the rate is too high it rises again.

use serde::{Deserialize, Serialize};

use super::{NetError, Result};

/// From where to where the rate rises, and in how many steps.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct RangeTest {
    /// Rate of the first step, above 0.
    pub from: f64,
    /// Rate of the last step, above `from`.
    pub to: f64,
    /// Number of steps, 2 or more. The test ends earlier where the loss is far above its lowest.
    pub steps: usize,
}

/// One step of the test.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct RatePoint {
    /// Learning rate of the step.
    pub lr: f64,
    /// Loss of the step's batch, before the step.
    pub loss: f64,
    /// Mean of the losses around the step, of which it counts most.
    pub smoothed: f64,
}

/// What the test says about the rate.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Suggestion {
    /// Rate to choose: a tenth of `lowest`, where the loss still falls by a margin (the rule of fastai's `lr_find`).
    pub lr: f64,
    /// Rate at which the smoothed loss falls fastest, over the logarithm of the rate.
    pub steepest: f64,
    /// Rate at which the smoothed loss is lowest.
    pub lowest: f64,
}

/// What a step leaves of the running mean that ends the test.
const MEMORY: f64 = 0.9;

/// Times the lowest running mean at which the test ends; fastai's.
const FAR: f64 = 4.0;

/// Share of the test's steps, on each side of a step, that its smoothed loss is made of.
const REACH: f64 = 0.06;

/// Share of its first value by which the smoothed loss has to fall before a rate is suggested: less may be chance.
const LEAST_FALL: f64 = 0.01;

/// From the rate of the lowest loss down to the one that is suggested.
const BACK: f64 = 10.0;

impl RangeTest {
    /// Refuses a range without an inside.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        let Self { from, to, steps } = *self;
        let problem = if !(from > 0.0 && from.is_finite()) {
            format!("from is a learning rate above 0, found {from}")
        } else if !(to > from && to.is_finite()) {
            format!("to is a learning rate above from ({from}), found {to}")
        } else if steps < 2 {
            format!("steps is 2 or more, found {steps}")
        } else {
            return Ok(());
        };
        Err(NetError::Config(problem))
    }

    /// The rate of step `step`, from 0: each is the one before times the same factor.
    pub fn lr(&self, step: usize) -> f64 {
        self.from * (self.to / self.from).powf(step as f64 / (self.steps - 1) as f64)
    }
}

/// The losses so far.
#[derive(Debug, Default)]
pub(super) struct Losses {
    steps: Vec<(f64, f64)>,
    running: f64,
    lowest: Option<f64>,
}

impl Losses {
    /// Adds a step. Returns whether the test goes on: not where the loss is far above its lowest.
    pub(super) fn add(&mut self, lr: f64, loss: f64) -> bool {
        self.steps.push((lr, loss));
        self.running = MEMORY * self.running + (1.0 - MEMORY) * loss;
        // As with Adam's moments: the running mean began at 0.
        let steps = i32::try_from(self.steps.len()).unwrap_or(i32::MAX);
        let mean = self.running / (1.0 - MEMORY.powi(steps));
        let lowest = self.lowest.map_or(mean, |lowest| lowest.min(mean));
        self.lowest = Some(lowest);
        mean <= FAR * lowest
    }

    /// The steps of a test that was to have `planned`.
    pub(super) fn into_points(self, planned: usize) -> Vec<RatePoint> {
        let losses: Vec<f64> = self.steps.iter().map(|(_, loss)| *loss).collect();
        let reach = (planned as f64 * REACH).round() as usize;
        let point = |(at, &(lr, loss))| RatePoint { lr, loss, smoothed: smoothed(&losses, at, reach) };
        self.steps.iter().enumerate().map(point).collect()
    }
}

/// Mean of the losses around a step, which counts most: from both sides, since a mean of what came before would put every
/// turn of the curve at a rate too high. At the ends of what there is.
fn smoothed(losses: &[f64], at: usize, reach: usize) -> f64 {
    let (first, last) = (at.saturating_sub(reach), (at + reach).min(losses.len() - 1));
    let weight = |other: usize| (reach + 1 - other.abs_diff(at)) as f64;
    let (sum, weights) = (first..=last)
        .fold((0.0, 0.0), |(sum, weights), other| (sum + weight(other) * losses[other], weights + weight(other)));
    sum / weights
}

/// What these steps say about the rate. Without an answer where the smoothed loss hardly falls from the first step on.
pub fn suggest(points: &[RatePoint]) -> Option<Suggestion> {
    let first = points.first()?;
    let (at, lowest) = points.iter().enumerate().min_by(|(_, a), (_, b)| a.smoothed.total_cmp(&b.smoothed))?;
    if lowest.smoothed > (1.0 - LEAST_FALL) * first.smoothed {
        return None;
    }
    let falls = points[..=at].windows(2).map(|pair| (slope(pair), pair[1].lr));
    let (_, steepest) = falls.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(Suggestion { lr: lowest.lr / BACK, steepest, lowest: lowest.lr })
}

/// Change of the smoothed loss with the logarithm of the rate.
fn slope(pair: &[RatePoint]) -> f64 {
    (pair[1].smoothed - pair[0].smoothed) / (pair[1].lr / pair[0].lr).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: RangeTest = RangeTest { from: 1e-6, to: 1.0, steps: 61 };

    /// The losses of a test in which they follow `loss` of the rate's decimal logarithm.
    fn points(loss: impl Fn(f64) -> f64) -> Vec<RatePoint> {
        let mut losses = Losses::default();
        for step in 0..TEST.steps {
            let lr = TEST.lr(step);
            if !losses.add(lr, loss(lr.log10())) {
                break;
            }
        }
        losses.into_points(TEST.steps)
    }

    #[test]
    fn the_rate_rises_by_the_same_factor_from_end_to_end() {
        let rates: Vec<f64> = (0..TEST.steps).map(|step| TEST.lr(step)).collect();
        assert!((rates[0] - 1e-6).abs() < 1e-18 && (rates[60] - 1.0).abs() < 1e-12, "{rates:?}");
        assert!(rates.windows(2).all(|pair| (pair[1] / pair[0] - 10_f64.powf(0.1)).abs() < 1e-9));
    }

    #[test]
    fn a_valley_is_found_where_it_is() {
        // Falls from 1e-4 on, fastest at 1e-3, is lowest at 1e-2, and rises steeply.
        let loss = |x: f64| match x {
            x if x < -4.0 => 2.0,
            x if x < -2.0 => 1.5 + 0.5 * (std::f64::consts::PI * (x + 4.0) / 2.0).cos(),
            x => 1.0 + 40.0 * (x + 2.0).powi(2),
        };
        let found = points(loss);
        let Suggestion { lr, steepest, lowest } = suggest(&found).unwrap();
        // Within what is smoothed over: four steps of a tenth of a power of ten.
        assert!((lowest.log10() + 2.0).abs() < 0.4, "{lowest}");
        assert!((steepest.log10() + 3.0).abs() < 0.4, "{steepest}");
        assert!((lr * 10.0 / lowest - 1.0).abs() < 1e-12);
        assert!(found.len() < TEST.steps, "the test ends where the loss is far above its lowest");
    }

    #[test]
    fn where_no_rate_makes_the_loss_fall_none_is_suggested() {
        assert_eq!(suggest(&points(|x| 2.0 + 0.1 * (x + 6.0))), None);
        assert_eq!(suggest(&points(|_| 2.0)), None);
        assert_eq!(suggest(&[]), None);
    }

    #[test]
    fn smoothing_keeps_straight_lines_and_weighs_neighbours_less() {
        let line = points(|x| 3.0 - 0.1 * x);
        assert!(line[4..TEST.steps - 4].iter().all(|point| (point.smoothed - point.loss).abs() < 1e-12));
        assert_eq!(smoothed(&[0.0, 4.0, 0.0], 1, 1), 2.0);
        assert_eq!(smoothed(&[0.0, 3.0, 0.0], 0, 1), 1.0);
        assert_eq!(smoothed(&[5.0], 0, 9), 5.0);
    }

    #[test]
    fn a_range_without_an_inside_is_refused() {
        let told = |from, to, steps| RangeTest { from, to, steps }.check().unwrap_err().to_string();
        assert!(told(0.0, 1.0, 9).contains("above 0, found 0"));
        assert!(told(0.1, 0.1, 9).contains("above from (0.1), found 0.1"));
        assert!(told(0.1, f64::INFINITY, 9).contains("found inf"));
        assert!(told(0.1, 1.0, 1).contains("2 or more, found 1"));
        assert!(TEST.check().is_ok());
    }
}
