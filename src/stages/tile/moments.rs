//! Mean and standard deviation of a stream of values.

/// Count, mean and spread of the values seen so far (Welford 1962; merged as in Chan, Golub and LeVeque 1983).
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl Moments {
    /// Takes one more value, which must be finite.
    #[inline]
    pub fn push(&mut self, value: f64) {
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        } else {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    /// Takes all that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        self.squares += other.squares + delta * delta * a * b / (a + b);
        self.mean += delta * b / (a + b);
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 when there are none.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their population standard deviation (divided by n, as `numpy.std` does); 0 when there are none.
    pub fn std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// The least value; 0 when there are none.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The greatest value; 0 when there are none.
    pub fn max(&self) -> f64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut m = Moments::default();
        values.iter().for_each(|&v| m.push(v));
        m
    }

    #[test]
    fn agrees_with_the_two_pass_formula_far_from_zero() {
        let values: Vec<f64> = (0..1000).map(|i| 1e8 + f64::from(i % 7)).collect();
        let mean = values.iter().sum::<f64>() / 1000.0;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1000.0).sqrt();
        let m = of(&values);
        assert!((m.mean() - mean).abs() < 1e-6, "{} {mean}", m.mean());
        assert!((m.std() - std).abs() < 1e-6, "{} {std}", m.std());
        assert_eq!((m.min(), m.max()), (1e8, 1e8 + 6.0));
    }

    #[test]
    fn merging_equals_pushing_everything() {
        let values: Vec<f64> = (0..99).map(|i| f64::from(i * i % 31) - 12.0).collect();
        let whole = of(&values);
        for cut in [0, 1, 50, 99] {
            let mut left = of(&values[..cut]);
            left.merge(&of(&values[cut..]));
            assert_eq!(left.count(), whole.count());
            assert!((left.mean() - whole.mean()).abs() < 1e-12);
            assert!((left.std() - whole.std()).abs() < 1e-12);
            assert_eq!((left.min(), left.max()), (whole.min(), whole.max()));
        }
    }

    #[test]
    fn nothing_seen_is_all_zero() {
        let m = Moments::default();
        assert_eq!((m.count(), m.mean(), m.std(), m.min(), m.max()), (0, 0.0, 0.0, 0.0, 0.0));
    }
}
