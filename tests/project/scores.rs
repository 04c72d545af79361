//! Scores by their definition, from the written rasters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use s2pipe::raster::read_labels;
use serde_json::Value;

/// Truth and map of all labelled pixels of a scene.
pub(crate) fn labelled(truth: &Path, map: &Path) -> Vec<(u8, u8)> {
    let (truth, map) = (read_labels(truth).unwrap().codes, read_labels(map).unwrap().codes);
    assert_eq!(truth.len(), map.len());
    truth.into_iter().zip(map).filter(|(t, _)| *t != 0).collect()
}

/// Jaccard of each class: pixels that are it in both over pixels that are it in either.
fn jaccard(pairs: &[(u8, u8)]) -> BTreeMap<u8, f64> {
    let count = |wanted: &dyn Fn(u8, u8) -> bool| pairs.iter().filter(|(t, m)| wanted(*t, *m)).count() as f64;
    let codes: BTreeSet<u8> = pairs.iter().flat_map(|(t, m)| [*t, *m]).collect();
    codes.into_iter().map(|c| (c, count(&|t, m| t == c && m == c) / count(&|t, m| t == c || m == c))).collect()
}

/// A score of `metrics.json` must be that of these pixels.
#[track_caller]
pub(crate) fn assert_scores(score: &Value, pairs: &[(u8, u8)]) {
    let expected = jaccard(pairs);
    let found: BTreeMap<u8, f64> = serde_json::from_value(score["jaccard"].clone()).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (code, value) in &expected {
        assert!((found[code] - value).abs() < 1e-12, "class {code}: {} is not {value}", found[code]);
    }
    let mean = expected.values().sum::<f64>() / expected.len() as f64;
    let hits = pairs.iter().filter(|(t, m)| t == m).count();
    assert!((score["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!((score["accuracy"].as_f64().unwrap() - hits as f64 / pairs.len() as f64).abs() < 1e-12);
    assert_eq!(score["pixels"].as_u64().unwrap(), pairs.len() as u64);
}
