//! A grown forest as flat arrays, and how a pixel finds its way through them.

use rayon::prelude::*;

use crate::net::{NetError, Result};

/// A question: does the band's value lie above the threshold?
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) band: u32,
    pub(super) threshold: f32,
    /// Where to go on when it does not, and when it does. From 0: a node, behind this one; below: leaf `-1 - child`.
    pub(super) children: [i32; 2],
}

/// A random forest: all nodes and leaves of all trees.
#[derive(Clone, PartialEq, Debug)]
pub struct Forest {
    pub(super) bands: usize,
    pub(super) classes: usize,
    /// First node of each tree.
    pub(super) roots: Vec<u32>,
    pub(super) nodes: Vec<Node>,
    /// Class probabilities of the leaves, `[leaves, classes]`.
    pub(super) leaves: Vec<f32>,
}

/// Pixels that one thread takes through all trees: enough of them to make it worth bringing a tree into its cache.
const BLOCK: usize = 4096;

impl Forest {
    /// Of the arrays, which must hang together: this is what makes sure that every walk ends in a leaf.
    ///
    /// # Errors
    /// What does not, in half a sentence.
    pub(super) fn new(
        (bands, classes): (usize, usize),
        roots: Vec<u32>,
        nodes: Vec<Node>,
        leaves: Vec<f32>,
    ) -> std::result::Result<Self, String> {
        if bands == 0 || classes == 0 || roots.is_empty() || !leaves.len().is_multiple_of(classes) {
            return Err(format!("{} trees of {bands} bands and {classes} classes make no forest", roots.len()));
        }
        if let Some(root) = roots.iter().find(|root| **root as usize >= nodes.len()) {
            return Err(format!("a tree begins at node {root}, and there are {}", nodes.len()));
        }
        let count = leaves.len() / classes;
        for (index, node) in nodes.iter().enumerate() {
            let good = |child: &i32| match usize::try_from(*child) {
                Ok(child) => (index + 1..nodes.len()).contains(&child),
                Err(_) => ((-1 - child) as usize) < count,
            };
            if node.band as usize >= bands || !node.children.iter().all(good) {
                return Err(format!("node {index} leads nowhere: {node:?}"));
            }
        }
        Ok(Self { bands, classes, roots, nodes, leaves })
    }

    /// Bands of a pixel.
    #[must_use]
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// Classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of trees.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Class probabilities of pixels: the mean of all trees' leaves. `values` is `[pixels, bands]`, normalised; `out` becomes
    /// `[pixels, classes]`, all 0 where `wanted` is false. The same bits on any number of threads.
    ///
    /// # Errors
    /// [`NetError::Config`] when the three are not of equally many pixels.
    pub fn probabilities(&self, values: &[f32], wanted: &[bool], out: &mut [f32]) -> Result<()> {
        if values.len() != wanted.len() * self.bands || out.len() != wanted.len() * self.classes {
            return Err(NetError::Config(format!(
                "a forest of {} bands and {} classes was given {} values for {} pixels and {} probabilities",
                self.bands,
                self.classes,
                values.len(),
                wanted.len(),
                out.len()
            )));
        }
        out.par_chunks_mut(BLOCK * self.classes)
            .zip(values.par_chunks(BLOCK * self.bands))
            .zip(wanted.par_chunks(BLOCK))
            .for_each(|((out, values), wanted)| self.block(values, wanted, out));
        Ok(())
    }

    fn block(&self, values: &[f32], wanted: &[bool], out: &mut [f32]) {
        out.fill(0.0);
        for root in &self.roots {
            let pixels = values.chunks_exact(self.bands).zip(out.chunks_exact_mut(self.classes)).zip(wanted);
            for ((pixel, sums), _) in pixels.filter(|(_, wanted)| **wanted) {
                let leaf = self.leaf(*root as usize, pixel) * self.classes;
                sums.iter_mut().zip(&self.leaves[leaf..]).for_each(|(sum, p)| *sum += p);
            }
        }
        let trees = self.roots.len() as f32;
        out.iter_mut().for_each(|sum| *sum /= trees);
    }

    fn leaf(&self, root: usize, pixel: &[f32]) -> usize {
        let mut at = root;
        loop {
            let node = &self.nodes[at];
            let child = node.children[usize::from(pixel[node.band as usize] > node.threshold)];
            match usize::try_from(child) {
                Ok(next) => at = next,
                Err(_) => return (-1 - child) as usize,
            }
        }
    }
}
