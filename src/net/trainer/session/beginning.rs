//! What a training begins with: weights of the sampling, and what tells it from any other.

use candle_core::Var;

use crate::net::config::TrainConfig;
use crate::net::sampling::class_balanced_weights;
use crate::net::segmenter::Segmenter;
use crate::net::source::{Part, PatchSource};
use crate::net::{NetError, Result};

/// Weights of the training patches by which every class is drawn as often.
pub(super) fn balanced(source: &dyn PatchSource) -> Result<Vec<f32>> {
    let patches = (0..source.train_len()).map(|index| source.patch_pixels(index)).collect::<Result<Vec<_>>>()?;
    Ok(class_balanced_weights(&patches))
}

/// Tells this training from any other: configuration, shapes of the network, and the data by its sizes, weights, class
/// counts and first, middle and last patch. The caller gives each training a folder of its own; this is the second lock.
pub(super) fn fingerprint(config: &TrainConfig, network: &dyn Segmenter, source: &dyn PatchSource) -> Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("s2pipe training fingerprint 1");
    let config = serde_json::to_string(config).map_err(|e| NetError::Config(format!("the configuration: {e}")))?;
    hasher.update(config.as_bytes());
    let mut number = |n: u64| {
        hasher.update(&n.to_le_bytes());
    };
    let (train, holdout) = (source.train_len(), source.holdout_len());
    [source.bands(), source.size(), train, holdout].into_iter().for_each(|n| number(n as u64));
    source.class_pixels().into_iter().for_each(&mut number);
    (0..train).for_each(|i| number(u64::from(source.weight(i).to_bits())));
    network.parameters().iter().for_each(|(_, var): &(String, Var)| number(var.elem_count() as u64));
    let pixels = source.size() * source.size();
    let (mut bands, mut labels) = (vec![0.0; pixels * source.bands()], vec![0; pixels]);
    for (part, len) in [(Part::Train, train), (Part::Holdout, holdout)] {
        for index in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|i| *i < len) {
            source.read(part, index, &mut bands, &mut labels)?;
            hasher.update(&bands.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
            hasher.update(&labels);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
