//! The augmentation that `train` knows, and what is checked of it beyond types.

use super::params::{float, param};
use crate::net::augment::AugmentConfig;
use crate::spec::{Default, Finding, ParamSpec, ParamType, Stage};

/// The parameter `augment`. What is off by default stays out of a task's record, see [`super::record`].
pub(super) const AUGMENT: ParamSpec = param(
    "augment",
    ParamType::Object(&[
        param("flips", ParamType::Bool, Default::Json("true"), "The eight flips and rotations."),
        param("jitter", float(0.0, 0.9), Default::Json("0.0"), "Radiometric jitter per band, in standard deviations."),
        param(
            "jitter_scene",
            float(0.0, 0.9),
            Default::Json("0.0"),
            "Radiometric jitter of all bands together, in standard deviations.",
        ),
        param(
            "scale",
            ParamType::List(&float(AugmentConfig::LEAST_SCALE, AugmentConfig::GREATEST_SCALE)),
            Default::Json("[1.0, 1.0]"),
            "Least and greatest zoom; above 1 what is in a patch grows.",
        ),
        param(
            "noise",
            float(0.0, 10.0),
            Default::Json("0.0"),
            "Gaussian noise of every value, in standard deviations.",
        ),
        param("drop_bands", float(0.0, 0.9), Default::Json("0.0"), "Probability that a band of a patch is left out."),
        param(
            "cutmix",
            float(0.0, 1.0),
            Default::Json("0.0"),
            "Probability that a patch gets a rectangle of another (Yun et al. 2019).",
        ),
    ]),
    Default::Json("{}"),
    "What is varied at random while training.",
);

/// What is wrong with a stage's augmentation.
pub(super) fn check(stage: &Stage) -> Option<Finding> {
    let scale = stage.with.get("augment")?.get("scale")?.as_array()?;
    let bounds: Vec<f64> = scale.iter().filter_map(serde_json::Value::as_f64).collect();
    let message = match bounds[..] {
        [least, greatest] if least <= greatest => return None,
        [least, greatest] => format!("a scale from {least} to {greatest} has its least above its greatest"),
        _ => format!("a scale has a least and a greatest zoom, and {} numbers are given", bounds.len()),
    };
    Some(Finding {
        path: vec!["with".into(), "augment".into(), "scale".into()],
        message,
        help: Some("for example `scale: [0.75, 1.5]`".into()),
    })
}
