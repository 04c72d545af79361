//! Calibration equals scikit-learn's. `tests/golden/metrics_calibration.py` made the values.

#![expect(clippy::unwrap_used, reason = "a golden file that cannot be read fails the test")]

use s2pipe::metrics::{Calibration, CalibrationSums};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    codes: Vec<u8>,
    truth: Vec<u8>,
    /// A plane a class.
    probabilities: Vec<Vec<f32>>,
    pixels: u64,
    ece: f64,
    brier: f64,
    confidence: f64,
    accuracy: f64,
    counts: Vec<u64>,
    /// Of bins with a pixel.
    accuracies: Vec<f64>,
    confidences: Vec<f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str::<Golden>(include_str!("golden/metrics_calibration.json")).unwrap().cases
}

/// In strips of so many pixels.
fn calibration(case: &Case, strip: usize) -> Calibration {
    let mut sums = CalibrationSums::default();
    for (at, truth) in case.truth.chunks(strip).enumerate() {
        let start = at * strip;
        let planes: Vec<f32> =
            case.probabilities.iter().flat_map(|plane| &plane[start..start + truth.len()]).copied().collect();
        sums.add(truth, &planes, &case.codes, 0).unwrap();
    }
    sums.calibration().unwrap()
}

#[test]
fn calibration_equals_scikit_learn() {
    for case in cases() {
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        for found in [calibration(&case, 1000), calibration(&case, 7)] {
            assert_eq!(found.pixels, case.pixels);
            close(found.ece, case.ece);
            close(found.brier, case.brier);
            close(found.confidence, case.confidence);
            close(found.accuracy, case.accuracy);
            assert_eq!(found.bins.iter().map(|bin| bin.pixels).collect::<Vec<_>>(), case.counts);
            let filled: Vec<(f64, f64)> =
                found.bins.iter().filter_map(|bin| Some((bin.accuracy?, bin.confidence?))).collect();
            assert_eq!(filled.len(), case.accuracies.len());
            for ((accuracy, confidence), (a, c)) in filled.iter().zip(case.accuracies.iter().zip(&case.confidences)) {
                close(*accuracy, *a);
                close(*confidence, *c);
            }
        }
    }
}

#[test]
fn any_number_of_threads_sums_to_the_same_bits() {
    let pixels = 100_000;
    let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 8;
    let first: Vec<f32> = (0..pixels).map(|i| noise(i) as f32 / (1 << 24) as f32).collect();
    let planes: Vec<f32> = first.iter().copied().chain(first.iter().map(|p| 1.0 - p)).collect();
    let truth: Vec<u8> = (0..pixels).map(|i| (noise(i + 7) % 3) as u8).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut sums = CalibrationSums::default();
        pool.install(|| sums.add(&truth, &planes, &[1, 2], 0)).unwrap();
        sums
    };
    assert!(with(1) == with(3) && with(3) == with(8));
}
