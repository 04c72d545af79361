//! Learning-rate schedules: pure functions of the step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{NetError, Result};

/// How the learning rate moves over the whole training. "Peak" is the optimiser's `lr`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The peak all the time.
    Constant,
    /// Linear from 0 to the peak over the first `warmup` of the steps, then half a cosine down to `floor` times the peak
    /// (Loshchilov and Hutter 2017, one cycle).
    Cosine {
        /// Share of all steps, in `[0, 1)`.
        #[serde(default = "default_warmup")]
        warmup: f64,
        /// Where it ends, as a share of the peak, in `[0, 1]`.
        #[serde(default)]
        floor: f64,
    },
    /// Half a cosine up from a 25th of the peak over the first `warmup` of the steps, half a cosine down to nearly nothing
    /// (Smith and Topin 2018; the numbers are those of `torch.optim.lr_scheduler.OneCycleLR`).
    OneCycle {
        /// Share of all steps, in `[0, 1)`.
        #[serde(default = "default_rise")]
        warmup: f64,
    },
    /// Linear from 0 to the peak over the first `warmup` of the steps, then `(1 - t)^power` times the peak, `t` the share of
    /// the steps after the rise that are done: the "poly" policy of DeepLab (Chen et al. 2017), PyTorch's `PolynomialLR`.
    Poly {
        /// Above 0. 1 falls in a straight line; below 1 the fall comes late.
        #[serde(default = "default_power")]
        power: f64,
        /// Share of all steps, in `[0, 1)`.
        #[serde(default)]
        warmup: f64,
    },
}

const fn default_warmup() -> f64 {
    0.05
}

const fn default_rise() -> f64 {
    0.3
}

/// DeepLab's.
const fn default_power() -> f64 {
    0.9
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Cosine { warmup: default_warmup(), floor: 0.0 }
    }
}

/// `OneCycle` starts at peak / 25 ...
const ONE_CYCLE_START: f64 = 25.0;
/// ... and ends at that start / 10,000.
const ONE_CYCLE_END: f64 = 1e4;

impl Schedule {
    /// Checks the shares.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is out of range.
    pub fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64, inclusive: bool| {
            if value >= 0.0 && (value < 1.0 || inclusive && value == 1.0) {
                return Ok(());
            }
            let upper = if inclusive { "1" } else { "below 1" };
            Err(NetError::Config(format!("schedule.{name} is a share between 0 and {upper}, found {value}")))
        };
        match *self {
            Self::Constant => Ok(()),
            Self::Cosine { warmup, floor } => share("warmup", warmup, false).and(share("floor", floor, true)),
            Self::OneCycle { warmup } => share("warmup", warmup, false),
            Self::Poly { power, .. } if !(power > 0.0 && power.is_finite()) => {
                Err(NetError::Config(format!("schedule.power is above 0, found {power}")))
            }
            Self::Poly { warmup, .. } => share("warmup", warmup, false),
        }
    }

    /// The learning rate of step `step` (from 0) of `steps`, for an optimiser whose `lr` is `peak`. Never 0 in a first
    /// step: warm-up counts from 1.
    pub fn lr(&self, peak: f64, step: usize, steps: usize) -> f64 {
        match *self {
            Self::Constant => peak,
            Self::Cosine { warmup, floor } => {
                after_rise(warmup, peak, (step, steps), |share| anneal(peak, floor * peak, share))
            }
            Self::Poly { power, warmup } => {
                after_rise(warmup, peak, (step, steps), |share| peak * (1.0 - share).powf(power))
            }
            Self::OneCycle { warmup } => {
                let start = peak / ONE_CYCLE_START;
                let top = (warmup * steps as f64 - 1.0).max(0.0);
                let (step, last) = (step as f64, steps as f64 - 1.0);
                if step < top {
                    return anneal(start, peak, step / top);
                }
                anneal(peak, start / ONE_CYCLE_END, if last > top { (step - top) / (last - top) } else { 1.0 })
            }
        }
    }
}

/// A linear rise to `peak` over the first `warmup` of the steps; then what `fall` makes of the share of the others that are
/// done.
fn after_rise(warmup: f64, peak: f64, (step, steps): (usize, usize), fall: impl Fn(f64) -> f64) -> f64 {
    let (step, steps) = (step as f64, steps as f64);
    let rising = (warmup * steps).round();
    if step < rising {
        return peak * (step + 1.0) / rising;
    }
    fall((step - rising) / (steps - rising).max(1.0))
}

/// Half a cosine from `from` (at `share` 0) to `to` (at 1).
fn anneal(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * share.clamp(0.0, 1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `tests/golden/net_optim.py`: PyTorch's schedulers, step by step.
    #[derive(Deserialize)]
    struct Golden {
        schedules: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        schedule: Schedule,
        peak: f64,
        lr: Vec<f64>,
    }

    #[test]
    fn equals_pytorch_step_by_step() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/net_optim.json")).unwrap();
        assert!(golden.schedules.len() >= 4);
        for case in golden.schedules {
            let steps = case.lr.len();
            for (step, &expected) in case.lr.iter().enumerate() {
                let lr = case.schedule.lr(case.peak, step, steps);
                assert!(
                    (lr - expected).abs() <= 1e-12 * case.peak,
                    "{:?}, step {step}: {lr} {expected}",
                    case.schedule
                );
            }
        }
    }

    /// `PolynomialLR` goes from each rate to the next by `((1 - t/T) / (1 - (t-1)/T))^power`, the first being the peak.
    #[test]
    fn poly_equals_the_recursion_of_pytorch_and_its_closed_form() {
        let (peak, steps) = (0.01, 37);
        for power in [0.5, 0.9, 1.0, 2.0] {
            let mut rate = peak;
            for step in 0..steps {
                let share = |step: usize| 1.0 - step as f64 / steps as f64;
                if step > 0 {
                    rate *= (share(step) / share(step - 1)).powf(power);
                }
                let lr = Schedule::Poly { power, warmup: 0.0 }.lr(peak, step, steps);
                assert!((lr - rate).abs() <= 1e-12 * peak, "{power}, step {step}: {lr} {rate}");
            }
        }
        // A fifth of 10 steps to rise, of the other 8 steps a quarter, a half and three quarters done.
        let rates = [0, 1, 2, 4, 6, 8].map(|step| Schedule::Poly { power: 2.0, warmup: 0.2 }.lr(16.0, step, 10));
        assert_eq!(rates, [8.0, 16.0, 16.0, 9.0, 4.0, 1.0]);
    }

    #[test]
    fn odd_lengths_stay_finite_and_within_the_peak() {
        let poly = Schedule::Poly { power: 0.9, warmup: 0.3 };
        for schedule in [Schedule::Constant, Schedule::default(), Schedule::OneCycle { warmup: 0.3 }, poly] {
            for steps in 1..12 {
                for step in 0..steps {
                    let lr = schedule.lr(0.1, step, steps);
                    assert!((0.0..=0.1 + 1e-15).contains(&lr), "{schedule:?} {step}/{steps}: {lr}");
                }
            }
        }
    }

    #[test]
    fn refuses_shares_out_of_range() {
        for bad in [
            Schedule::Cosine { warmup: 1.0, floor: 0.0 },
            Schedule::Cosine { warmup: -0.1, floor: 0.0 },
            Schedule::Cosine { warmup: 0.1, floor: 1.5 },
            Schedule::OneCycle { warmup: f64::NAN },
            Schedule::Poly { power: 0.9, warmup: 1.0 },
            Schedule::Poly { power: 0.0, warmup: 0.0 },
            Schedule::Poly { power: f64::INFINITY, warmup: 0.0 },
        ] {
            assert!(matches!(bad.check(), Err(NetError::Config(_))), "{bad:?}");
        }
        assert!(Schedule::default().check().is_ok());
    }

    #[test]
    fn reads_the_form_of_the_yaml() {
        let schedule: Schedule = serde_json::from_str(r#"{"kind": "cosine", "warmup": 0.1}"#).unwrap();
        assert_eq!(schedule, Schedule::Cosine { warmup: 0.1, floor: 0.0 });
        assert!(serde_json::from_str::<Schedule>(r#"{"kind": "cosine", "warm": 0.1}"#).is_err());
        let schedule: Schedule = serde_json::from_str(r#"{"kind": "poly"}"#).unwrap();
        assert_eq!(schedule, Schedule::Poly { power: 0.9, warmup: 0.0 });
    }
}
