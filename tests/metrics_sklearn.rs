//! Every score equals scikit-learn's to 1e-12. `tests/golden/metrics_sklearn.py` made the values.

#![expect(clippy::unwrap_used, reason = "a golden file that cannot be read fails the test")]
use s2pipe::metrics::{Average, Averaged, ConfusionMatrix, Score, ScoreOptions};
use serde_json::Value;

const TOLERANCE: f64 = 1e-12;

type Rate = fn(&ConfusionMatrix, Option<&[i64]>, Average, f64) -> Averaged;

const RATES: [(&str, Rate); 4] = [
    ("jaccard", ConfusionMatrix::jaccard),
    ("precision", ConfusionMatrix::precision),
    ("recall", ConfusionMatrix::recall),
    ("f1", ConfusionMatrix::f1),
];

const AVERAGES: [(&str, Average); 4] =
    [("none", Average::None), ("macro", Average::Macro), ("micro", Average::Micro), ("weighted", Average::Weighted)];

struct Case {
    name: String,
    record: Value,
    labels: Option<Vec<i64>>,
    zero_division: f64,
    matrix: ConfusionMatrix,
}

fn cases() -> Vec<Case> {
    let path = std::env::var("S2PIPE_METRICS_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics_sklearn.json").to_owned());
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases: Vec<Case> = golden["cases"].as_array().unwrap().iter().map(case).collect();
    assert!(cases.len() >= 50, "the golden file holds only {} cases", cases.len());
    cases
}

fn case(record: &Value) -> Case {
    let (truth, prediction) = (labels(&record["truth"]), labels(&record["prediction"]));
    let ignore = record["ignore"].as_i64();
    let mut matrix = ConfusionMatrix::new();
    matrix.add_i64(&truth, &prediction, ignore).unwrap();
    if let (Some(truth), Some(prediction)) = (bytes(&truth), bytes(&prediction)) {
        let mut from_bytes = ConfusionMatrix::new();
        from_bytes.add(&truth, &prediction, ignore.map(|label| label as u8)).unwrap();
        assert_eq!(from_bytes, matrix, "{}: the 8-bit and the 64-bit way differ", record["name"]);
    }
    Case {
        name: record["name"].as_str().unwrap().to_owned(),
        labels: record["labels"].as_array().map(|_| labels(&record["labels"])),
        zero_division: record["zero_division"].as_f64().unwrap(),
        record: record.clone(),
        matrix,
    }
}

fn labels(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|label| label.as_i64().unwrap()).collect()
}

fn bytes(labels: &[i64]) -> Option<Vec<u8>> {
    labels.iter().map(|&label| u8::try_from(label).ok()).collect()
}

/// Golden null is NaN.
fn assert_close(found: f64, expected: &Value, what: &str) {
    match expected.as_f64() {
        Some(expected) => assert!((found - expected).abs() <= TOLERANCE, "{what}: {found}, scikit-learn {expected}"),
        None => assert!(found.is_nan(), "{what}: {found}, scikit-learn NaN"),
    }
}

#[test]
fn rates_equal_scikit_learn() {
    for case in cases().iter().filter(|case| case.record["raises"] == false) {
        for (name, rate) in RATES {
            for (key, average) in AVERAGES {
                let what = format!("{}: {name} {key}", case.name);
                let expected = &case.record[name][key];
                match rate(&case.matrix, case.labels.as_deref(), average, case.zero_division) {
                    Averaged::Mean(found) => assert_close(found, expected, &what),
                    Averaged::PerLabel(found) => {
                        let expected = expected.as_array().unwrap();
                        assert_eq!(found.len(), expected.len(), "{what}");
                        found.iter().zip(expected).for_each(|(f, e)| assert_close(*f, e, &what));
                    }
                }
            }
        }
        assert_close(case.matrix.accuracy(), &case.record["accuracy"], &format!("{}: accuracy", case.name));
        assert_close(case.matrix.kappa(), &case.record["kappa"], &format!("{}: kappa", case.name));
    }
}

#[test]
fn labels_and_confusion_equal_scikit_learn() {
    for case in cases() {
        let present = case.matrix.labels();
        assert_eq!(present, labels(&case.record["present"]), "{}", case.name);
        let Some(expected) = case.record["confusion"].as_array() else { continue };
        let found = case.matrix.dense(case.labels.as_deref().unwrap_or(&present));
        let expected: Vec<Vec<u64>> =
            expected.iter().map(|row| labels(row).into_iter().map(|count| count as u64).collect()).collect();
        assert_eq!(found, expected, "{}", case.name);
    }
}

#[test]
fn score_holds_the_same_numbers_as_the_matrix() {
    for case in cases() {
        let options = ScoreOptions {
            labels: case.labels.clone(),
            declared: vec![1, 2, 99],
            average: Average::Macro,
            zero_division: case.zero_division,
        };
        let score = Score::new(&case.matrix, &options).unwrap();
        assert!(score.absent.contains(&99), "{}", case.name);
        assert!(!score.jaccard.contains_key(&99), "{}", case.name);
        if case.record["raises"] == false {
            assert_close(score.mean.unwrap_or(f64::NAN), &case.record["jaccard"]["macro"], &case.name);
            assert_close(score.means.f1.unwrap_or(f64::NAN), &case.record["f1"]["macro"], &case.name);
            assert_close(score.accuracy.unwrap(), &case.record["accuracy"], &case.name);
        } else {
            assert_eq!(score.pixels, 0);
            assert_eq!(score.accuracy, None, "{}", case.name);
            assert_eq!(score.notes, ["no pixel was scored: the truth is empty, or all of it is ignored"]);
        }
    }
}
