//! Axes with round ticks.

/// Ticks of an axis and the range that they span.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Ticks {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) step: f64,
}

impl Ticks {
    /// Round ticks (1, 2 or 5 times a power of ten apart) around all finite values, at most `count` steps. Without a
    /// value, 0 to 1.
    pub(super) fn around(values: impl Iterator<Item = f64> + Clone, count: usize) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let low = finite.clone().fold(f64::INFINITY, f64::min);
        let high = finite.fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Self { low: 0.0, high: 1.0, step: 0.2 };
        }
        // A flat curve still needs an axis: a tenth of its height around it.
        let spread = if high > low { high - low } else { (high.abs() * 0.1).max(0.1) };
        let step = round_step(spread / count.max(1) as f64);
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil().max((low / step).floor() + 1.0) * step,
            step,
        }
    }

    /// The ticks, ascending.
    pub(super) fn values(&self) -> Vec<f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count).map(|i| self.low + i as f64 * self.step).collect()
    }

    /// A tick as text, with as many decimals as the step needs.
    pub(super) fn label(&self, value: f64) -> String {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        // Adding 0 turns a -0 into 0.
        format!("{:.decimals$}", (value / self.step).round() * self.step + 0.0)
    }

    /// Where a value lies: 0 at the low end, 1 at the high end.
    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// The least 1, 2 or 5 times a power of ten that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let found = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= least * 0.999_999);
    found.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        let ticks = Ticks::around([0.213, 1.87, f64::NAN].into_iter(), 5);
        assert_eq!((ticks.low, ticks.high, ticks.step), (0.0, 2.0, 0.5));
        assert_eq!(ticks.values().len(), 5);
        assert_eq!(ticks.label(1.5), "1.5");
        assert_eq!(Ticks::around([1.0, 40.0].into_iter(), 8).values(), [0., 5., 10., 15., 20., 25., 30., 35., 40.]);
        assert_eq!(Ticks::around([-0.1, 0.1].into_iter(), 4).label(-1e-18), "0.00");
    }

    #[test]
    fn flat_and_empty_series_have_an_axis() {
        for ticks in [Ticks::around([0.7; 3].into_iter(), 5), Ticks::around([f64::INFINITY].into_iter(), 5)] {
            assert!(ticks.high > ticks.low && ticks.values().len() >= 2, "{ticks:?}");
        }
        let flat = Ticks::around([5.0].into_iter(), 5);
        assert!((0.0..=1.0).contains(&flat.share(5.0)));
    }
}
