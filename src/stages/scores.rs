//! The numbers of a JSON file by name: what runs and variants are compared by.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::document::read_document;
use super::evaluate::{METRICS_VERSION, Metrics};
use crate::engine::StageError;
use crate::metrics::Score;

/// Scores that are one number for all classes, as [`scores_of`] names them.
pub const OVERALL: [&str; 6] = ["accuracy", "f1", "jaccard", "kappa", "precision", "recall"];

/// Scores that every class has, as [`scores_of`] names them: `jaccard.4`.
pub const BY_CLASS: [&str; 4] = ["f1", "jaccard", "precision", "recall"];

/// The scores of a file.
///
/// - `metrics.json` of `evaluate`, over all its scenes: those of [`OVERALL`] (`jaccard`, `f1`, `precision` and `recall`
///   are means over classes), and those of [`BY_CLASS`] with the label code of each class that occurs, `jaccard.4`. A
///   score that there is no number for is left out.
/// - Any other JSON: every number in it by the keys and positions that lead to it, `folds.0.loss`; a file that is one
///   number alone has it as `value`.
///
/// # Errors
/// A sentence naming the file when it cannot be read, is not JSON, or is a metrics file of another version.
pub fn scores_of(path: &Path) -> Result<BTreeMap<String, f64>, StageError> {
    let wrong = |problem: String| StageError::failed(format!("{}: {problem}", path.display()));
    let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| wrong(format!("is not JSON: {e}")))?;
    let family = METRICS_VERSION.split('/').next().unwrap_or(METRICS_VERSION);
    let format = value.get("format").and_then(Value::as_str).unwrap_or_default();
    if format.split('/').next() == Some(family) {
        let metrics: Metrics = read_document(path, "a metrics file", METRICS_VERSION)?;
        return Ok(of_score(&metrics.all));
    }
    let mut scores = BTreeMap::new();
    add_numbers(&value, "", &mut scores);
    Ok(scores)
}

/// Says `jaccard.water` for `jaccard.6`, by the names of label codes.
pub fn name_classes(scores: BTreeMap<String, f64>, names: &BTreeMap<String, String>) -> BTreeMap<String, f64> {
    scores.into_iter().map(|(score, value)| (with_class_name(&score, names), value)).collect()
}

/// The same for the name of one score; what is no score of a class stays as it is.
pub fn with_class_name(score: &str, names: &BTreeMap<String, String>) -> String {
    match score.split_once('.').filter(|(what, _)| BY_CLASS.contains(what)) {
        Some((what, code)) => names.get(code).map_or_else(|| score.to_owned(), |name| format!("{what}.{name}")),
        None => score.to_owned(),
    }
}

fn of_score(score: &Score) -> BTreeMap<String, f64> {
    let overall = [
        ("accuracy", score.accuracy),
        ("f1", score.means.f1),
        ("jaccard", score.mean),
        ("kappa", score.kappa),
        ("precision", score.means.precision),
        ("recall", score.means.recall),
    ];
    let by_class =
        [("f1", &score.f1), ("jaccard", &score.jaccard), ("precision", &score.precision), ("recall", &score.recall)];
    let overall = overall.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let by_class = by_class
        .into_iter()
        .flat_map(|(name, values)| values.iter().map(move |(code, value)| (format!("{name}.{code}"), *value)));
    overall.chain(by_class).collect()
}

fn add_numbers(value: &Value, path: &str, scores: &mut BTreeMap<String, f64>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Number(number) => {
            let name = if path.is_empty() { "value" } else { path };
            scores.extend(number.as_f64().map(|number| (name.to_owned(), number)));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| add_numbers(item, &below(&i.to_string()), scores));
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| add_numbers(item, &below(key), scores)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ConfusionMatrix;
    use crate::stages::document::write_document;

    fn of_text(text: &str) -> Result<BTreeMap<String, f64>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        scores_of(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn metrics_have_headline_and_class_scores() {
        let matrix = ConfusionMatrix::from_counts(&[1, 6], &[vec![3, 1], vec![0, 4]]).unwrap();
        let all = Score::new(&matrix, &crate::metrics::ScoreOptions::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.json");
        let metrics = Metrics {
            format: METRICS_VERSION.into(),
            all,
            scenes: BTreeMap::new(),
            intervals: None,
            calibration: None,
            boundary: None,
            areas: None,
        };
        write_document(&path, &metrics).unwrap();
        let scores = scores_of(&path).unwrap();
        assert_eq!((scores["jaccard.1"], scores["jaccard.6"], scores["accuracy"]), (0.75, 0.8, 0.875));
        assert!((scores["jaccard"] - 0.775).abs() < 1e-12);
        let overall: Vec<&str> = scores.keys().filter(|k| !k.contains('.')).map(String::as_str).collect();
        assert_eq!(overall, OVERALL);
        let classes: std::collections::BTreeSet<&str> =
            scores.keys().filter_map(|k| Some(k.split_once('.')?.0)).collect();
        assert!(classes.iter().eq(BY_CLASS.iter()));
        let named = name_classes(scores, &BTreeMap::from([("6".to_owned(), "water".to_owned())]));
        assert_eq!((named["jaccard.water"], named["jaccard.1"]), (0.8, 0.75));
    }

    #[test]
    fn any_other_json_gives_its_numbers_by_path() {
        let scores =
            of_text(r#"{"loss": 0.5, "ok": true, "note": "3", "folds": [{"loss": 1}, {"loss": -2e-3}]}"#).unwrap();
        let expected = [("folds.0.loss", 1.0), ("folds.1.loss", -0.002), ("loss", 0.5)];
        assert!(scores.iter().map(|(k, v)| (k.as_str(), *v)).eq(expected), "{scores:?}");
        assert_eq!(of_text("0.25").unwrap()["value"], 0.25);
        assert!(of_text("[]").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(of_text("loss: 3").unwrap_err().contains("a.json: is not JSON"));
        let newer = of_text(r#"{"format": "s2pipe.metrics/2"}"#).unwrap_err();
        assert!(newer.contains("\"s2pipe.metrics/2\", this version reads \"s2pipe.metrics/1\""), "{newer}");
        assert!(scores_of(Path::new("/nowhere/a.json")).unwrap_err().to_string().contains("/nowhere/a.json"));
    }
}
