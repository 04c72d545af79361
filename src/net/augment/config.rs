//! What to vary.

use serde::{Deserialize, Serialize};

use crate::net::{NetError, Result};

/// What to vary. All but the flips is off by default, and what is off is not written either, so that a training without it
/// stays the training that it was.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Draw one of the eight flips and rotations for every patch. Nadir images have no up: all eight are as likely.
    pub flips: bool,
    /// Half-width `j` of the radiometric jitter, in standard deviations of a band: each band of each patch becomes
    /// `x * (1 + j u) + j v` with `u`, `v` uniform in `[-1, 1)`. 0 turns it off.
    pub jitter: f32,
    /// As `jitter`, but with one `u` and one `v` for all bands of a patch, as the light on a whole scene changes.
    #[serde(skip_serializing_if = "is_0")]
    pub jitter_scene: f32,
    /// Least and greatest zoom of a patch, log-uniform between them, about a random point of it: above 1 its content grows,
    /// below 1 it shrinks, and what lies beyond the patch is mirrored. Both in `[0.25, 4]`; `[1, 1]` turns it off.
    #[serde(skip_serializing_if = "is_unscaled")]
    pub scale: [f64; 2],
    /// Standard deviation of Gaussian noise, one draw a value, in standard deviations of a band. 0 turns it off.
    #[serde(skip_serializing_if = "is_0")]
    pub noise: f32,
    /// Probability that a band of a patch becomes 0 (its mean), each band by itself; of all bands, one is left. 0 turns it
    /// off.
    #[serde(skip_serializing_if = "is_0")]
    pub drop_bands: f32,
    /// Probability that a patch gets a rectangle of another patch of its batch, bands and labels (CutMix; Yun et al. 2019).
    /// 0 turns it off.
    #[serde(skip_serializing_if = "is_0")]
    pub cutmix: f32,
}

/// `scale` that changes nothing.
const UNSCALED: [f64; 2] = [1.0, 1.0];

fn is_0(value: &f32) -> bool {
    *value == 0.0
}

fn is_unscaled(scale: &[f64; 2]) -> bool {
    *scale == UNSCALED
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self { flips: true, jitter: 0.0, jitter_scene: 0.0, scale: UNSCALED, noise: 0.0, drop_bands: 0.0, cutmix: 0.0 }
    }
}

impl AugmentConfig {
    /// Least zoom: what is beyond the patch is then 15 times what is in it.
    pub const LEAST_SCALE: f64 = 0.25;
    /// Greatest zoom.
    pub const GREATEST_SCALE: f64 = 4.0;

    /// Checks the values.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is out of its range, or a `scale` whose least is above its greatest.
    pub fn check(&self) -> Result<()> {
        let below_1 = [("jitter", self.jitter), ("jitter_scene", self.jitter_scene), ("drop_bands", self.drop_bands)];
        let allowed = Self::LEAST_SCALE..=Self::GREATEST_SCALE;
        let problem = if let Some((name, value)) = below_1.iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            format!("augment.{name} is a number from 0 to below 1, found {value}")
        } else if !(0.0..=1.0).contains(&self.cutmix) {
            format!("augment.cutmix is a probability from 0 to 1, found {}", self.cutmix)
        } else if !(self.noise >= 0.0 && self.noise.is_finite()) {
            format!("augment.noise is a number from 0 up, found {}", self.noise)
        } else if let Some(scale) = self.scale.iter().find(|scale| !allowed.contains(*scale)) {
            format!("augment.scale is from {} to {}, found {scale}", Self::LEAST_SCALE, Self::GREATEST_SCALE)
        } else if self.scale[0] > self.scale[1] {
            format!("augment.scale is [least, greatest], found {:?}", self.scale)
        } else {
            return Ok(());
        };
        Err(NetError::Config(problem))
    }

    /// Whether batches have to be made on the host: a GPU that holds the patches only turns and jitters them.
    pub(crate) fn needs_host(&self) -> bool {
        *self != Self { flips: self.flips, jitter: self.jitter, ..Self::default() }
    }

    /// Whether the labelled pixels of a batch may be others than those of its patches.
    pub(crate) fn changes_labels(&self) -> bool {
        !is_unscaled(&self.scale) || self.cutmix > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_not_written() {
        let text = |config: &AugmentConfig| serde_json::to_string(config).unwrap();
        assert_eq!(text(&AugmentConfig::default()), r#"{"flips":true,"jitter":0.0}"#);
        let all = AugmentConfig {
            jitter_scene: 0.25,
            scale: [0.5, 2.0],
            noise: 0.125,
            drop_bands: 0.5,
            cutmix: 1.0,
            ..AugmentConfig::default()
        };
        assert_eq!(serde_json::from_str::<AugmentConfig>(&text(&all)).unwrap(), all);
        assert!(all.check().is_ok() && all.needs_host() && all.changes_labels());
    }

    #[test]
    fn only_turns_and_jitter_are_for_a_gpu_that_holds_the_patches() {
        let plain = AugmentConfig { flips: false, jitter: 0.3, ..AugmentConfig::default() };
        assert!(!plain.needs_host() && !AugmentConfig::default().needs_host());
        let one = [
            AugmentConfig { jitter_scene: 0.1, ..plain },
            AugmentConfig { scale: [1.0, 1.5], ..plain },
            AugmentConfig { noise: 0.1, ..plain },
            AugmentConfig { drop_bands: 0.1, ..plain },
            AugmentConfig { cutmix: 0.1, ..plain },
        ];
        assert!(one.iter().all(AugmentConfig::needs_host));
        assert_eq!(one.map(|config| config.changes_labels()), [false, true, false, false, true]);
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        let off = AugmentConfig::default();
        for (bad, named) in [
            (AugmentConfig { jitter: 1.0, ..off }, "jitter"),
            (AugmentConfig { jitter: f32::NAN, ..off }, "jitter"),
            (AugmentConfig { jitter_scene: -0.1, ..off }, "jitter_scene"),
            (AugmentConfig { drop_bands: 1.0, ..off }, "drop_bands"),
            (AugmentConfig { noise: f32::INFINITY, ..off }, "noise"),
            (AugmentConfig { cutmix: 1.1, ..off }, "cutmix"),
            (AugmentConfig { scale: [0.2, 1.0], ..off }, "scale"),
            (AugmentConfig { scale: [1.0, f64::NAN], ..off }, "scale"),
            (AugmentConfig { scale: [2.0, 1.0], ..off }, "[least, greatest]"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
