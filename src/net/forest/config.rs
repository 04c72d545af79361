//! How large a forest is.

use serde::{Deserialize, Serialize};

use crate::net::{NetError, Result};

/// Sizes of a random forest, as the pipeline file has them: `{kind: random_forest, trees: 100}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestConfig {
    /// Number of trees.
    pub trees: usize,
    /// Labelled pixels that are drawn to grow them; all where there are fewer.
    pub pixels: usize,
    /// Most questions from the root of a tree to a leaf.
    pub max_depth: usize,
    /// Fewest pixels of the drawn ones in a leaf, those counted once that a tree's own draw has several times.
    pub min_leaf: usize,
}

impl ForestConfig {
    /// Refuses sizes that make no forest.
    ///
    /// # Errors
    /// [`NetError::Config`] with the value and the range that it must lie in.
    pub fn check(&self) -> Result<()> {
        let values = [
            ("trees", self.trees),
            ("pixels", self.pixels),
            ("max_depth", self.max_depth),
            ("min_leaf", self.min_leaf),
        ];
        match values.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(NetError::Config(format!("random_forest: {name} is 1 or more, found 0"))),
            None => Ok(()),
        }
    }
}
