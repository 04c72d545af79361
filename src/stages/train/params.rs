//! The parameters of the `train` kind.

use super::forest::RANDOM_FOREST;
use super::losses::LOSS;
use crate::spec::{Default, ParamSpec, ParamType, VariantSpec};
use crate::stages::params::PRECISION;

pub(super) const fn param(name: &'static str, ty: ParamType, default: Default, doc: &'static str) -> ParamSpec {
    ParamSpec { name, ty, default, doc }
}

pub(super) const fn int(min: i64, max: i64) -> ParamType {
    ParamType::Int { min, max }
}

pub(super) const fn float(min: f64, max: f64) -> ParamType {
    ParamType::Float { min, max }
}

const UNET: VariantSpec = VariantSpec {
    kind: "unet",
    params: &[
        param(
            "width",
            int(1, 1024),
            Default::Json("16"),
            "Channels of the first level; each level down has twice as many.",
        ),
        param(
            "depth",
            int(1, 8),
            Default::Json("4"),
            "How often the image is halved; patches must be a multiple of 2^depth.",
        ),
    ],
    doc: "U-Net (Ronneberger et al. 2015) with batch normalisation.",
};

const ADAMW: VariantSpec = VariantSpec {
    kind: "adamw",
    params: &[
        param("lr", float(1e-9, 10.0), Default::Json("0.002"), "Learning rate, at the peak of the schedule."),
        param(
            "weight_decay",
            float(0.0, 10.0),
            Default::Json("0.01"),
            "Decoupled weight decay; not applied to biases and normalisation.",
        ),
        param(
            "betas",
            ParamType::List(&float(0.0, 0.999_999)),
            Default::Json("[0.9, 0.999]"),
            "Memory of the two moments.",
        ),
        param("eps", float(1e-12, 1.0), Default::Json("1e-8"), "Keeps the division finite."),
    ],
    doc: "AdamW (Loshchilov and Hutter 2019).",
};

const SGD: VariantSpec = VariantSpec {
    kind: "sgd",
    params: &[
        param("lr", float(1e-9, 10.0), Default::Json("0.01"), "Learning rate, at the peak of the schedule."),
        param(
            "momentum",
            float(0.0, 0.9999),
            Default::Json("0.9"),
            "What of the running sum of gradients a step leaves in it.",
        ),
        param("nesterov", ParamType::Bool, Default::Json("true"), "Whether steps look ahead by the momentum."),
        param(
            "weight_decay",
            float(0.0, 10.0),
            Default::Json("0.0001"),
            "Added to the gradient as a share of the weight; not of biases and normalisation.",
        ),
    ],
    doc: "Stochastic gradient descent with momentum (Sutskever et al. 2013), as in PyTorch.",
};

const SCHEDULES: &[VariantSpec] = &[
    VariantSpec { kind: "constant", params: &[], doc: "The same learning rate throughout." },
    VariantSpec {
        kind: "cosine",
        params: &[
            param(
                "warmup",
                float(0.0, 0.9),
                Default::Json("0.05"),
                "Share of all steps in which the rate rises from 0.",
            ),
            param("floor", float(0.0, 1.0), Default::Json("0.0"), "Where it ends, as a share of the peak."),
        ],
        doc: "Linear rise, then half a cosine down.",
    },
    VariantSpec {
        kind: "one_cycle",
        params: &[param(
            "warmup",
            float(0.0, 0.9),
            Default::Json("0.3"),
            "Share of all steps in which the rate rises.",
        )],
        doc: "One-cycle (Smith and Topin 2018), as in PyTorch.",
    },
];

/// Everything under `with:` of a `train` stage.
pub(super) static PARAMS: &[ParamSpec] = &[
    param(
        "model",
        ParamType::Variant(&[UNET, RANDOM_FOREST]),
        Default::Json("{\"kind\":\"unet\"}"),
        "The network, or the forest, which reads no other setting here.",
    ),
    param("epochs", int(1, 100_000), Default::Json("40"), "Passes over the training patches."),
    param(
        "batch",
        ParamType::IntOrWord { min: 1, max: 4096, word: "auto" },
        Default::Json("8"),
        "Patches a step; auto: 8, computed in parts whose gradients are added up where a GPU is short of memory.",
    ),
    param(
        "steps_per_epoch",
        int(1, 1_000_000),
        Default::Absent,
        "Steps an epoch; one pass over the patches when not given.",
    ),
    param("optimizer", ParamType::Variant(&[ADAMW, SGD]), Default::Json("{\"kind\":\"adamw\"}"), "The optimiser."),
    param(
        "schedule",
        ParamType::Variant(SCHEDULES),
        Default::Json("{\"kind\":\"cosine\"}"),
        "The course of the learning rate.",
    ),
    LOSS,
    param("clip", float(1e-6, 1e6), Default::Absent, "Greatest norm of the gradient; longer ones are shortened to it."),
    param(
        "ema",
        ParamType::Object(&[param(
            "decay",
            float(0.0, 0.999_999),
            Default::Json("0.999"),
            "What of the average a step leaves in it; less in the first steps.",
        )]),
        Default::Absent,
        "Exponential moving averages of the weights, scored and kept instead of the weights themselves.",
    ),
    param(
        "augment",
        ParamType::Object(&[
            param("flips", ParamType::Bool, Default::Json("true"), "The eight flips and rotations."),
            param(
                "jitter",
                float(0.0, 0.9),
                Default::Json("0.0"),
                "Radiometric jitter per band, in standard deviations.",
            ),
        ]),
        Default::Json("{}"),
        "What is varied at random while training.",
    ),
    param(
        "sampling",
        ParamType::Choice(&["shuffled", "weighted", "class_balanced"]),
        Default::Json("\"shuffled\""),
        "Every patch once an epoch; or drawn by weight, so that rare classes are seen more often; or so that patches of \
         every class are drawn as often.",
    ),
    param("evaluate_every", int(1, 100_000), Default::Json("1"), "Score on the hold-out after every so many epochs."),
    PRECISION,
    param(
        "deterministic",
        ParamType::Bool,
        Default::Json("true"),
        "Same bits every time on the same GPU, by convolutions that add up in a fixed order; false lets the fastest be \
         chosen. The CPU is always deterministic.",
    ),
];
