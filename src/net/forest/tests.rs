//! A forest against cases done by hand, against `rafor`'s own answers, and against itself on other numbers of threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::flat::{Forest, Node};
use super::grow::{grow, lay_flat, one_tree, read};
use super::sample::{Pixels, draw};
use super::train::{ForestHooks, TrainedForest, train};
use super::{ForestConfig, load, predict_scene, save};
use crate::net::predict::{PredictHooks, SceneSource};
use crate::net::rng::Rng;
use crate::net::source::{Part, PatchSource, Place};
use crate::net::{Ended, IGNORE, NetError, Result};

const CONFIG: ForestConfig = ForestConfig { trees: 7, pixels: 1000, max_depth: 25, min_leaf: 1 };

/// Pixels of two bands and three classes that overlap: class 0 low in both, 1 high in the first, 2 high in the second.
fn clouds(count: usize, seed: u64) -> Pixels {
    let mut rng = Rng::new(seed);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for index in 0..count {
        let class = index % 3;
        values.push((rng.normal() + if class == 1 { 2.0 } else { 0.0 }) as f32);
        values.push((rng.normal() + if class == 2 { 2.0 } else { 0.0 }) as f32);
        labels.push(class as u8);
    }
    Pixels { bands: 2, values, labels }
}

fn grown(config: &ForestConfig, pixels: &Pixels, classes: usize) -> Forest {
    grow(config, (pixels, classes), &Rng::new(5), &ForestHooks::quiet()).unwrap().unwrap()
}

fn answers(forest: &Forest, values: &[f32]) -> Vec<f32> {
    let pixels = values.len() / forest.bands();
    let mut out = vec![f32::NAN; pixels * forest.classes()];
    forest.probabilities(values, &vec![true; pixels], &mut out).unwrap();
    out
}

/// Three heaps in the second band, at 0 (class 2, 20 pixels), 4 (class 0, 40) and 10 (class 1, 40); the first band is
/// constant, and nobody is of class 3. Gini leaves `2ab / (a + b)` of two classes in a node: cutting between 4 and 10 leaves
/// 26.7, between 0 and 4 it leaves 40. So 7 comes first and 2 next, half-way between the heaps, whatever the bootstrap.
fn heaps() -> Pixels {
    let heaps = [(0.0, 2, 20), (4.0, 0, 40), (10.0, 1, 40)];
    let pixels = || heaps.iter().flat_map(|&(value, class, count)| (0..count).map(move |_| (value, class)));
    Pixels {
        bands: 2,
        values: pixels().flat_map(|(value, _)| [1.0, value]).collect(),
        labels: pixels().map(|(_, class)| class).collect(),
    }
}

#[test]
fn splits_are_those_on_paper() {
    let forest = grown(&CONFIG, &heaps(), 4);
    assert_eq!((forest.roots.as_slice(), forest.nodes.len()), (&[0, 2, 4, 6, 8, 10, 12][..], 14));
    for (tree, nodes) in forest.nodes.chunks_exact(2).enumerate() {
        let (node, leaf) = (2 * tree as i32, 3 * tree as i32);
        let root = Node { band: 1, threshold: 7.0, children: [node + 1, -1 - leaf] };
        let below = Node { band: 1, threshold: 2.0, children: [-3 - leaf, -2 - leaf] };
        assert_eq!(nodes, [root, below]);
    }
    let leaves = [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]].concat();
    assert!(forest.leaves.chunks_exact(12).all(|tree| tree == leaves));
    // At the threshold goes left.
    assert_eq!(
        answers(&forest, &[1.0, 7.0, 1.0, 7.001, 9.0, -5.0]),
        leaves[4..8].iter().chain(&leaves[..4]).chain(&leaves[8..]).copied().collect::<Vec<_>>()
    );
}

#[test]
fn depth_and_leaves_are_kept_to() {
    let one = ForestConfig { max_depth: 1, ..CONFIG };
    // A draw of 100 out of 100 has some 13 of the 20 different pixels at 0: they make no leaf of 20.
    for config in [one, ForestConfig { min_leaf: 20, ..CONFIG }] {
        let forest = grown(&config, &heaps(), 4);
        assert_eq!((forest.nodes.len(), forest.leaves.len()), (7, 7 * 2 * 4));
        assert!(forest.nodes.iter().all(|node| node.threshold == 7.0));
        let mixed = answers(&forest, &[1.0, 0.0]);
        assert!((0.5..0.8).contains(&mixed[0]) && (mixed[0] + mixed[2] - 1.0).abs() < 1e-6, "{mixed:?}");
    }
    let stump = grown(&ForestConfig { min_leaf: 90, ..CONFIG }, &heaps(), 4);
    let mixed = answers(&stump, &[1.0, 0.0]);
    assert!((mixed[0] - 0.4).abs() < 0.1 && (mixed[1] - 0.4).abs() < 0.1 && (mixed[2] - 0.2).abs() < 0.1, "{mixed:?}");
}

#[test]
fn answers_are_those_of_the_library_to_the_last_bit() {
    let (pixels, asked) = (clouds(600, 1), clouds(5000, 2));
    let labels: Vec<i64> = pixels.labels.iter().map(|label| i64::from(*label)).collect();
    let trees: Vec<_> = (0..9).map(|seed| one_tree(&CONFIG, &pixels.values, &labels, seed)).collect();
    let flat = lay_flat(&trees.iter().map(|tree| read(tree).unwrap()).collect::<Vec<_>>(), 2, 3).unwrap();
    let mut sums = vec![0.0; 5000 * 3];
    for tree in &trees {
        sums.iter_mut().zip(tree.proba(&asked.values, 1)).for_each(|(sum, p)| *sum += p);
    }
    let expected: Vec<f32> = sums.iter().map(|sum| sum / 9.0).collect();
    assert_eq!(answers(&flat, &asked.values), expected);
    assert!(flat.nodes.len() > 9 * 20, "a forest of stumps shows nothing");
}

#[test]
fn the_bayes_rule_is_learnt_as_well_as_noise_allows() {
    let config = ForestConfig { trees: 30, pixels: 6000, max_depth: 25, min_leaf: 5 };
    let (forest, asked) = (grown(&config, &clouds(6000, 1), 3), clouds(6000, 2));
    let right = answers(&forest, &asked.values);
    let right = right.chunks_exact(3).zip(&asked.labels).filter(|(p, l)| p.iter().all(|q| *q <= p[usize::from(**l)]));
    // The best rule there is takes the nearest of the three centres.
    let distance = |p: &[f32], (x, y): (f32, f32)| (p[0] - x).powi(2) + (p[1] - y).powi(2);
    let nearest = |p: &[f32]| {
        let d = [(0.0, 0.0), (2.0, 0.0), (0.0, 2.0)].map(|centre| distance(p, centre));
        (0..3).min_by(|a, b| d[*a].total_cmp(&d[*b])).unwrap() as u8
    };
    let best = asked.values.chunks_exact(2).zip(&asked.labels).filter(|(p, l)| nearest(p) == **l).count();
    let right = right.count();
    assert!(right + 240 > best && right <= best + 60, "{right} right, {best} by the best rule");
}

#[test]
fn is_the_same_on_any_number_of_threads_and_another_with_another_seed() {
    let pixels = clouds(2000, 3);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let forest = grown(&CONFIG, &pixels, 3);
            let p = answers(&forest, &clouds(9000, 4).values);
            (forest, p)
        })
    };
    let one = on(1);
    assert!(one == on(2) && one == on(4));
    let other = grow(&CONFIG, (&pixels, 3), &Rng::new(6), &ForestHooks::quiet()).unwrap().unwrap();
    assert_ne!(one.0, other);
    assert_ne!(one.0.nodes[0], one.0.nodes[one.0.roots[1] as usize], "trees differ");
}

#[test]
fn comes_back_from_its_file_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let forest = grown(&CONFIG, &clouds(500, 1), 3);
    save(&forest, &CONFIG, &path).unwrap();
    assert_eq!(load(&path).unwrap(), forest);
    let bytes = std::fs::read(&path).unwrap();
    save(&forest, &CONFIG, &path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let is_network = crate::net::weights::load(&path).unwrap_err().to_string();
    assert!(is_network.contains("a random forest is no network"), "{is_network}");
    for (from, to, says) in [
        ("\\\"bands\\\":2", "\\\"bands\\\":1", "leads nowhere"),
        ("\\\"format\\\":1", "\\\"format\\\":2", "format Some(2)"),
        ("random_forest", "random_forexx", "unknown variant"),
    ] {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut damaged = bytes.clone();
        damaged[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, damaged).unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("model.safetensors"), "{error}");
    }
    let node = |children| Node { band: 0, threshold: 0.0, children };
    let circle = Forest::new((1, 1), vec![0], vec![node([-1, 0])], vec![1.0]);
    assert!(circle.unwrap_err().contains("leads nowhere"), "a node that leads to itself");
    assert!(Forest::new((1, 1), vec![0], vec![node([-1, -2])], vec![1.0]).is_err(), "one leaf, not two");
    assert!(Forest::new((1, 1), vec![0], vec![node([-1, -1])], vec![1.0]).is_ok());
}

/// One scene of 6 x 12 pixels whose single band counts them; patches of 6 x 6 at columns 0, 3 and 6. Every fourth pixel has
/// no label, the others are of class 0 in the left half and 1 in the right.
struct Overlapping;

impl PatchSource for Overlapping {
    fn bands(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        6
    }

    fn train_len(&self) -> usize {
        3
    }

    fn holdout_len(&self) -> usize {
        1
    }

    fn class_pixels(&self) -> Vec<u64> {
        vec![27, 27]
    }

    fn read(&self, _: Part, index: usize, bands: &mut [f32], labels: &mut [u8]) -> Result<()> {
        for (i, (band, label)) in bands.iter_mut().zip(labels).enumerate() {
            let (row, col) = (i / 6, i % 6 + 3 * index);
            *band = (row * 12 + col) as f32;
            *label = if (row * 12 + col) % 4 == 3 { IGNORE } else { u8::from(col >= 6) };
        }
        Ok(())
    }

    fn place(&self, index: usize) -> Option<Place> {
        Some(Place { scene: 0, row: 0, col: 3 * index })
    }
}

#[test]
fn pixels_are_drawn_once_each_and_all_as_likely() {
    let drawn = |most, seed| draw(&Overlapping, most, Rng::new(seed), &|| false).unwrap();
    let all = drawn(1000, 0);
    let mut values: Vec<usize> = all.values.iter().map(|v| *v as usize).collect();
    values.sort_unstable();
    assert_eq!(values, (0..72).filter(|v| v % 4 != 3).collect::<Vec<_>>());
    assert!(all.values.iter().zip(&all.labels).all(|(v, label)| (*v as usize % 12 >= 6) == (*label == 1)));
    let mut times = [0; 72];
    for seed in 0..900 {
        let some = drawn(18, seed);
        assert_eq!((some.values.len(), some.labels.len()), (18, 18));
        some.values.iter().for_each(|v| times[*v as usize] += 1);
    }
    // A third of 900 draws, within five standard deviations of sqrt(900 * 1/3 * 2/3) = 14.
    let labelled = times.iter().enumerate().filter(|(v, _)| v % 4 != 3);
    assert!(labelled.clone().count() == 54 && labelled.clone().all(|(_, n)| (230..370).contains(n)), "{times:?}");
}

#[test]
fn a_training_leaves_one_record_and_hears_what_it_is_told() {
    let config = ForestConfig { trees: 5, pixels: 54, max_depth: 25, min_leaf: 1 };
    let heard = AtomicUsize::new(0);
    let on_tree = |_: usize| {
        heard.fetch_add(1, Ordering::Relaxed);
    };
    let hooks = ForestHooks { on_tree: &on_tree, ..ForestHooks::quiet() };
    let TrainedForest { forest, history } = train(&config, 3, &Overlapping, &hooks).unwrap().unwrap();
    assert_eq!(
        (forest.trees(), heard.load(Ordering::Relaxed), history.best_epoch, history.ended),
        (5, 5, 1, Ended::AllEpochs)
    );
    // The hold-out is the left patch: class 0 throughout. Its loss by the definition.
    let score = history.epochs[0].holdout.as_ref().unwrap();
    let values: Vec<f32> = (0..72).filter(|v| v % 12 < 6 && v % 4 != 3).map(|v| v as f32).collect();
    let p = answers(&forest, &values);
    let loss = p.chunks_exact(2).map(|p| -f64::from(p[0].max(1e-7)).ln()).sum::<f64>() / values.len() as f64;
    let right = p.chunks_exact(2).filter(|p| p[0] >= p[1]).count() as f64 / values.len() as f64;
    assert!((score.loss - loss).abs() < 1e-12 && score.mean_jaccard == right, "{score:?}, {loss}, {right}");
    assert_eq!(score.jaccard, [Some(right), None]);
    assert!(right > 0.9 && history.epochs[0].train_loss > 0.0);
    let cancelled = ForestHooks { cancelled: &|| true, ..ForestHooks::quiet() };
    assert!(matches!(train(&config, 3, &Overlapping, &cancelled), Err(NetError::Cancelled)));
    let late = ForestHooks { deadline: Some(Instant::now()), ..ForestHooks::quiet() };
    assert!(train(&config, 3, &Overlapping, &late).unwrap().is_none());
    let none = train(&ForestConfig { trees: 0, ..config }, 3, &Overlapping, &hooks).unwrap_err().to_string();
    assert!(none.contains("trees is 1 or more"), "{none}");
}

/// A scene of [`clouds`], without data in every seventh pixel.
struct Scene(Pixels, usize);

impl SceneSource for Scene {
    fn width(&self) -> usize {
        self.1
    }

    fn height(&self) -> usize {
        self.0.labels.len() / self.1
    }

    fn bands(&self) -> usize {
        2
    }

    fn read(&self, row: usize, col: usize, h: usize, w: usize, out: &mut [f32], valid: &mut [bool]) -> Result<()> {
        assert_eq!((col, w, h * w, h * w * 2), (0, self.1, valid.len(), out.len()));
        out.copy_from_slice(&self.0.values[row * w * 2..][..h * w * 2]);
        valid.iter_mut().enumerate().for_each(|(i, valid)| *valid = !(row * w + i).is_multiple_of(7));
        Ok(())
    }
}

#[test]
fn a_scene_is_mapped_row_by_row() {
    let forest = grown(&CONFIG, &clouds(600, 1), 3);
    let scene = Scene(clouds(37 * 30, 2), 30);
    let expected = answers(&forest, &scene.0.values);
    for wants in [true, false] {
        let (mut labels, mut p) = (Vec::new(), Vec::new());
        let mut sink = |top: usize, rows: usize, l: &[u8], q: &[f32]| {
            assert_eq!((top * 30, rows * 30), (labels.len(), l.len()));
            labels.extend_from_slice(l);
            p.extend_from_slice(q);
            Ok(())
        };
        let seen = Cell::new(0);
        let progress = |done: usize, total: usize| {
            assert!(total == 37 && done > seen.replace(done));
        };
        let hooks = PredictHooks { progress: &progress, cancelled: &|| false };
        predict_scene(&forest, &scene, wants, &mut sink, &hooks).unwrap();
        assert_eq!((seen.get(), labels.len(), p.len()), (37, 37 * 30, if wants { 37 * 30 * 3 } else { 0 }));
        for (pixel, label) in labels.iter().enumerate() {
            let q = &expected[pixel * 3..][..3];
            if pixel % 7 == 0 {
                assert!(*label == IGNORE && p.get(pixel * 3..pixel * 3 + 3).is_none_or(|p| p == [0.0; 3]));
                continue;
            }
            assert!(q.iter().all(|other| *other <= q[usize::from(*label)]));
            assert!(!wants || &p[pixel * 3..][..3] == q);
        }
    }
    let stop = PredictHooks { cancelled: &|| true, ..PredictHooks::quiet() };
    let mut nobody = |_: usize, _: usize, _: &[u8], _: &[f32]| Ok(());
    assert!(matches!(predict_scene(&forest, &scene, true, &mut nobody, &stop), Err(NetError::Cancelled)));
}
