//! How long steps and evaluations take here, to tell whether another epoch fits before the deadline.

use std::time::{Duration, Instant};

/// Room for an epoch that is slower than those before.
const MARGIN: f64 = 1.1;

/// Durations measured in this process.
#[derive(Default)]
pub(super) struct Pace {
    stepping: Duration,
    steps: u32,
    evaluation: Duration,
    evaluations: Duration,
    waiting: Duration,
    saving: Duration,
}

impl Pace {
    pub(super) fn step_took(&mut self, duration: Duration) {
        self.stepping += duration;
        self.steps += 1;
    }

    /// Steps that had only been asked for were waited for.
    pub(super) fn waited_for_steps(&mut self, duration: Duration) {
        self.stepping += duration;
    }

    /// The slowest counts.
    pub(super) fn evaluation_took(&mut self, duration: Duration) {
        self.evaluation = self.evaluation.max(duration);
        self.evaluations += duration;
    }

    /// A step had to wait for its batch.
    pub(super) fn batch_took(&mut self, duration: Duration) {
        self.waiting += duration;
    }

    pub(super) fn saving_took(&mut self, duration: Duration) {
        self.saving += duration;
    }

    /// Where the time of a training of `total` went.
    pub(super) fn shares(&self, total: Duration) -> String {
        let known = [self.stepping, self.evaluations, self.waiting, self.saving];
        let rest = total.saturating_sub(known.iter().sum());
        let [steps, evaluations, waiting, saving, rest] =
            [known[0], known[1], known[2], known[3], rest].map(|part| part.as_secs_f64());
        let total = total.as_secs_f64();
        format!(
            "training took {total:.2} s: steps {steps:.2} s, scores on the hold-out {evaluations:.2} s; waiting for \
             batches {waiting:.2} s, checkpoints {saving:.2} s, all else {rest:.2} s ({:.1} % beside the network)",
            100.0 * (waiting + saving + rest) / total.max(f64::MIN_POSITIVE)
        )
    }

    /// Whether `steps` steps and an evaluation should be over before `deadline`. Before anything was measured only a
    /// deadline that has passed says no.
    pub(super) fn fits(&self, steps: usize, now: Instant, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(now).as_secs_f64();
        let a_step = if self.steps > 0 { self.stepping.as_secs_f64() / f64::from(self.steps) } else { 0.0 };
        let needed = (a_step * steps as f64 + self.evaluation.as_secs_f64()) * MARGIN;
        left > 0.0 && needed <= left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_where_the_time_went() {
        let mut pace = Pace::default();
        pace.step_took(Duration::from_secs(6));
        pace.evaluation_took(Duration::from_secs(2));
        pace.evaluation_took(Duration::from_secs(1));
        pace.batch_took(Duration::from_millis(250));
        pace.saving_took(Duration::from_millis(500));
        let told = pace.shares(Duration::from_secs(10));
        assert_eq!(
            told,
            "training took 10.00 s: steps 6.00 s, scores on the hold-out 3.00 s; waiting for batches 0.25 s, \
             checkpoints 0.50 s, all else 0.25 s (10.0 % beside the network)"
        );
    }

    #[test]
    fn counts_steps_and_evaluation_with_a_margin() {
        let now = Instant::now();
        let in_seconds = |s: u64| now + Duration::from_secs(s);
        let mut pace = Pace::default();
        assert!(pace.fits(1000, now, in_seconds(1)), "nothing measured yet");
        assert!(!pace.fits(1, now, now), "the deadline has passed");
        pace.step_took(Duration::from_secs(1));
        pace.step_took(Duration::from_secs(3));
        pace.evaluation_took(Duration::from_secs(10));
        pace.evaluation_took(Duration::from_secs(5));
        // 20 steps of 2 s and 10 s make 50 s, with the margin 55 s.
        assert!(pace.fits(20, now, in_seconds(56)));
        assert!(!pace.fits(20, now, in_seconds(54)));
        assert!(pace.fits(0, now, in_seconds(12)), "only the evaluation is left");
    }
}
