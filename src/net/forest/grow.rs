//! Grows trees with `rafor` and lays them flat.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rafor::prelude::*;
use rayon::prelude::*;
use serde::Deserialize;

use super::config::ForestConfig;
use super::flat::{Forest, Node};
use super::sample::Pixels;
use super::train::ForestHooks;
use crate::net::rng::Rng;
use crate::net::{NetError, Result};

/// Grows the trees of a forest; fewer than asked for where the deadline comes, `None` where it leaves time for none.
///
/// # Errors
/// [`NetError::Cancelled`], asked before every tree; a forest of more nodes than an `i32` counts.
pub(super) fn grow(
    config: &ForestConfig,
    (pixels, classes): (&Pixels, usize),
    rng: &Rng,
    hooks: &ForestHooks<'_>,
) -> Result<Option<Forest>> {
    let labels: Vec<i64> = pixels.labels.iter().map(|label| i64::from(*label)).collect();
    let done = AtomicUsize::new(0);
    let tree = |index: usize| {
        if (hooks.cancelled)() {
            return Err(NetError::Cancelled);
        }
        if hooks.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        let seed = rng.fork(&format!("tree/{index}")).next_u64();
        let grown = read(&one_tree(config, &pixels.values, &labels, seed))?;
        (hooks.on_tree)(done.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(Some(grown))
    };
    let trees: Vec<Option<Grown>> = (0..config.trees).into_par_iter().map(tree).collect::<Result<_>>()?;
    let trees: Vec<Grown> = trees.into_iter().flatten().collect();
    if trees.is_empty() { Ok(None) } else { lay_flat(&trees, pixels.bands, classes).map(Some) }
}

/// A forest of one tree: a bootstrap sample of the pixels, splits by Gini among the square root of the bands at each node.
///
/// One at a time, since the order of the trees of a larger forest depends on which thread is done first.
pub(super) fn one_tree(config: &ForestConfig, values: &[f32], labels: &[i64], seed: u64) -> rafor::rf::Classifier {
    let mut trainer = rafor::rf::Classifier::trainer();
    trainer.with_trees(1).with_threads(1).with_seed(seed);
    trainer.with_max_depth(config.max_depth).with_min_samples_leaf(config.min_leaf);
    trainer.train(values, labels)
}

/// What `rafor` 0.3.0 says of a forest when it is serialised: the only way to its nodes. `Cargo.toml` asks for this very
/// version therefore.
#[derive(Deserialize)]
pub(super) struct Grown {
    ensemble: Vec<GrownTree>,
    classes_map: GrownClasses,
}

#[derive(Deserialize)]
struct GrownClasses {
    /// The class index behind each of its own, which leave out classes without a pixel.
    decode_table: Vec<usize>,
}

#[derive(Deserialize)]
struct GrownTree {
    /// `[leaves, its own classes]`.
    proba: Vec<f32>,
    tree: GrownNodes,
}

#[derive(Deserialize)]
struct GrownNodes {
    nodes: Vec<GrownNode>,
}

#[derive(Deserialize)]
struct GrownNode {
    left: u32,
    right: u32,
    threshold: f32,
    feature: u16,
    left_is_leaf: bool,
    right_is_leaf: bool,
}

/// Through JSON, which gives every f32 back as it was.
pub(super) fn read(forest: &rafor::rf::Classifier) -> Result<Grown> {
    let read = serde_json::to_vec(forest).and_then(|text| serde_json::from_slice(&text));
    read.map_err(|e| NetError::Config(format!("a grown tree could not be read: {e}")))
}

/// All trees one after the other, with all classes.
pub(super) fn lay_flat(trees: &[Grown], bands: usize, classes: usize) -> Result<Forest> {
    let (mut roots, mut nodes, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
    for (tree, decode) in trees.iter().flat_map(|t| t.ensemble.iter().map(|tree| (tree, &t.classes_map.decode_table))) {
        let (first_node, first_leaf) = (nodes.len(), leaves.len() / classes);
        roots.push(i32::try_from(first_node).map_err(|_| too_large())?.cast_unsigned());
        for node in &tree.tree.nodes {
            let child = |index: u32, is_leaf: bool| -> Result<i32> {
                let index = index as usize + if is_leaf { first_leaf } else { first_node };
                let index = i32::try_from(index).map_err(|_| too_large())?;
                Ok(if is_leaf { -1 - index } else { index })
            };
            let children = [child(node.left, node.left_is_leaf)?, child(node.right, node.right_is_leaf)?];
            nodes.push(Node { band: node.feature.into(), threshold: node.threshold, children });
        }
        for own in tree.proba.chunks_exact(decode.len()) {
            let mut all = vec![0.0; classes];
            own.iter().zip(decode).for_each(|(p, class)| all[*class] = *p);
            leaves.extend(all);
        }
    }
    Forest::new((bands, classes), roots, nodes, leaves).map_err(NetError::Config)
}

fn too_large() -> NetError {
    NetError::Config(
        "the forest has more than two thousand million nodes: take fewer trees or pixels, or more pixels a leaf".into(),
    )
}
