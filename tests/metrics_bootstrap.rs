//! Intervals equal those of scikit-learn's scores over drawn blocks of pixels. `tests/golden/metrics_bootstrap.py` made them.

#![expect(clippy::unwrap_used, reason = "a golden file that cannot be read fails the test")]

use std::collections::BTreeMap;

use s2pipe::metrics::{Block, Bootstrap, Intervals, count_blocks};
use s2pipe::net::rng::Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    scenes: Vec<Scene>,
    block: usize,
    samples: usize,
    confidence: f64,
    seed: u64,
    blocks: usize,
    mean: [f64; 2],
    jaccard: BTreeMap<i64, [f64; 2]>,
}

/// A digit a pixel.
#[derive(Deserialize)]
struct Scene {
    truth: Vec<String>,
    map: Vec<String>,
}

fn codes(rows: &[String]) -> Vec<u8> {
    rows.iter().flat_map(|row| row.bytes().map(|digit| digit - b'0')).collect()
}

impl Case {
    fn blocks(&self) -> Vec<Block> {
        let count = |scene: &Scene| {
            count_blocks(&codes(&scene.truth), &codes(&scene.map), scene.truth[0].len(), self.block, 0).unwrap()
        };
        self.scenes.iter().flat_map(count).collect()
    }

    fn draw(&self) -> Intervals {
        let options = Bootstrap { samples: self.samples, block: self.block, confidence: self.confidence };
        Intervals::draw(&self.blocks(), &options, |sample| {
            let mut rng = Rng::new(self.seed + sample as u64);
            move |n| rng.below(n)
        })
        .unwrap()
    }
}

fn cases() -> Vec<Case> {
    let text = include_str!("golden/metrics_bootstrap.json");
    serde_json::from_str::<Golden>(text).unwrap().cases
}

#[test]
fn intervals_equal_those_of_scikit_learn_s_scores() {
    let close = |found: [f64; 2], expected: [f64; 2]| found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-12);
    for case in cases() {
        let found = case.draw();
        assert_eq!(found.blocks, case.blocks);
        assert!(close(found.mean.unwrap(), case.mean), "{:?}, expected {:?}", found.mean, case.mean);
        assert!(found.jaccard.keys().eq(case.jaccard.keys()));
        for (label, &expected) in &case.jaccard {
            assert!(close(found.jaccard[label], expected), "label {label}: {:?}, {expected:?}", found.jaccard[label]);
        }
    }
}

#[test]
fn any_number_of_threads_draws_the_same() {
    let case = &cases()[0];
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.draw())
    };
    assert!(with(1) == with(2) && with(2) == with(7));
}
