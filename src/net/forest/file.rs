//! Forests in safetensors: flat tensors that any program can walk.
//!
//! | tensor | type | what it is |
//! |---|---|---|
//! | `root` | i32 `[trees]` | first node of each tree |
//! | `band` | i32 `[nodes]` | which value of a pixel is asked about |
//! | `threshold` | f32 `[nodes]` | a normalised value: at most this leads left, more leads right |
//! | `left`, `right` | i32 `[nodes]` | from 0: the next node; below: leaf `-1 - value` |
//! | `probability` | f32 `[leaves, classes]` | shares of the classes in a leaf; a forest's answer is the mean over its trees |

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::config::ForestConfig;
use super::flat::{Forest, Node};
use crate::net::models::ModelConfig;
use crate::net::weights::{FORMAT, WeightsHeader, open, pack, write_whole};
use crate::net::{NetError, Result};

/// Writes a forest to `path`: the same forest gives the same bytes.
///
/// # Errors
/// [`NetError::Io`].
pub fn save(forest: &Forest, config: &ForestConfig, path: &Path) -> Result<()> {
    write_whole(path, &to_bytes(forest, config)?)
}

/// Reads a file that [`save`] wrote.
///
/// # Errors
/// [`NetError::Io`]; [`NetError::Weights`] where it holds no whole forest.
pub fn load(path: &Path) -> Result<Forest> {
    let bytes = std::fs::read(path).map_err(|source| NetError::Io { path: path.to_owned(), source })?;
    from_bytes(&bytes).map_err(|problem| NetError::Weights { path: path.to_owned(), problem })
}

fn to_bytes(forest: &Forest, config: &ForestConfig) -> Result<Vec<u8>> {
    let (model, classes) = (ModelConfig::RandomForest(*config), forest.classes);
    let header = WeightsHeader { format: FORMAT, model, bands: forest.bands, classes, metadata: BTreeMap::new() };
    let of_nodes = |value: fn(&Node) -> [u8; 4]| forest.nodes.iter().flat_map(value).collect::<Vec<u8>>();
    // As i32, since few programs read u32: `lay_flat` keeps all numbers below 2^31.
    let root = forest.roots.iter().flat_map(|root| root.to_le_bytes()).collect();
    let probability = forest.leaves.iter().flat_map(|p| p.to_le_bytes()).collect();
    let (trees, nodes) = (vec![forest.roots.len()], vec![forest.nodes.len()]);
    let tensors: [(&str, Dtype, Vec<usize>, Vec<u8>); 6] = [
        ("root", Dtype::I32, trees, root),
        ("band", Dtype::I32, nodes.clone(), of_nodes(|node| node.band.to_le_bytes())),
        ("threshold", Dtype::F32, nodes.clone(), of_nodes(|node| node.threshold.to_le_bytes())),
        ("left", Dtype::I32, nodes.clone(), of_nodes(|node| node.children[0].to_le_bytes())),
        ("right", Dtype::I32, nodes, of_nodes(|node| node.children[1].to_le_bytes())),
        ("probability", Dtype::F32, vec![forest.leaves.len() / classes, classes], probability),
    ];
    let views = tensors.iter();
    let views = views.map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)));
    let views = views.collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
    views.map_err(|e| NetError::Config(format!("forest: {e}"))).and_then(|views| pack(views, &header))
}

fn from_bytes(bytes: &[u8]) -> std::result::Result<Forest, String> {
    let (file, header) = open(bytes)?;
    let tensors = Tensors(file);
    let (band, threshold) = (tensors.counts("band")?, tensors.floats("threshold", 1)?);
    let (left, right) = (tensors.ints("left")?, tensors.ints("right")?);
    if [threshold.len(), left.len(), right.len()] != [band.len(); 3] {
        return Err("tensors band, threshold, left and right are of different lengths".into());
    }
    let nodes = band.into_iter().zip(threshold).zip(left.into_iter().zip(right));
    let nodes = nodes.map(|((band, threshold), (left, right))| Node { band, threshold, children: [left, right] });
    let (root, probability) = (tensors.counts("root")?, tensors.floats("probability", 2)?);
    Forest::new((header.bands, header.classes), root, nodes.collect(), probability)
}

/// The tensors of a file, by name and type.
struct Tensors<'a>(SafeTensors<'a>);

impl Tensors<'_> {
    fn words(&self, name: &str, dtype: Dtype, axes: usize) -> std::result::Result<Vec<[u8; 4]>, String> {
        let view = self.0.tensor(name).map_err(|e| format!("tensor {name}: {e}"))?;
        let (found, shape) = (view.dtype(), view.shape());
        if found != dtype || shape.len() != axes {
            return Err(format!("tensor {name} is {found:?} of {} axes, expected {dtype:?} of {axes}", shape.len()));
        }
        Ok(view.data().as_chunks().0.to_vec())
    }

    fn floats(&self, name: &str, axes: usize) -> std::result::Result<Vec<f32>, String> {
        Ok(self.words(name, Dtype::F32, axes)?.into_iter().map(f32::from_le_bytes).collect())
    }

    fn ints(&self, name: &str) -> std::result::Result<Vec<i32>, String> {
        Ok(self.words(name, Dtype::I32, 1)?.into_iter().map(i32::from_le_bytes).collect())
    }

    fn counts(&self, name: &str) -> std::result::Result<Vec<u32>, String> {
        let count =
            |value: i32| u32::try_from(value).map_err(|_| format!("tensor {name} counts from 0, found {value}"));
        self.ints(name)?.into_iter().map(count).collect()
    }
}
