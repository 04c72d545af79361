//! How sure the network is of a pixel, from its class probabilities.

/// Stands for both numbers where the scene has no data.
pub(super) const UNKNOWN: f32 = -1.0;

/// The highest probability: from `1 / classes` to 1.
pub(super) fn confidence(probabilities: &[f32]) -> f32 {
    probabilities.iter().copied().fold(0.0, f32::max).min(1.0)
}

/// Shannon's entropy as a share of the highest that there can be, `-sum(p ln p) / ln(classes)`: 0 where one class is
/// certain, 1 where all are as likely (Shannon 1948, section 6). 0 where there is one class only.
pub(super) fn entropy(probabilities: &[f32]) -> f32 {
    let highest = (probabilities.len() as f64).ln();
    let terms = probabilities.iter().map(|&p| f64::from(p)).filter(|p| *p > 0.0).map(|p| -p * p.ln());
    let share = terms.sum::<f64>() / highest;
    // Blended probabilities sum to 1 but for rounding.
    if highest > 0.0 { share.clamp(0.0, 1.0) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_the_highest_probability() {
        assert_eq!(confidence(&[0.1, 0.7, 0.2]), 0.7);
        assert_eq!(confidence(&[0.5, 0.500_000_1, 0.5]), 0.500_000_1);
        assert_eq!(confidence(&[0.0, 1.000_000_1]), 1.0);
    }

    /// `scipy.stats.entropy(p) / numpy.log(len(p))`.
    #[test]
    fn entropy_is_scipy_s_as_a_share_of_the_highest() {
        for (p, expected) in [
            (&[0.1, 0.7, 0.2][..], 0.729_847),
            (&[0.5, 0.5], 1.0),
            (&[1.0, 0.0, 0.0], 0.0),
            (&[0.25; 4], 1.0),
            (&[0.9, 0.1], 0.468_995_6),
            (&[0.6, 0.3, 0.05, 0.05, 0.0, 0.0], 0.539_838_3),
            (&[1.0], 0.0),
        ] {
            assert!((entropy(p) - expected).abs() < 1e-6, "{p:?}: {}", entropy(p));
        }
        assert_eq!(entropy(&[0.499_999, 0.499_999]), 1.0);
    }
}
