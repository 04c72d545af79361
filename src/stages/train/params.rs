//! The parameters of the `train` kind.

use super::augment::AUGMENT;
use super::init::INIT;
use super::losses::LOSS;
use super::models::MODEL;
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
    VariantSpec {
        kind: "poly",
        params: &[
            param(
                "power",
                float(0.01, 10.0),
                Default::Json("0.9"),
                "Of the share of the steps that are left; 1 falls in a straight line.",
            ),
            param(
                "warmup",
                float(0.0, 0.9),
                Default::Json("0.0"),
                "Share of all steps in which the rate rises from 0.",
            ),
        ],
        doc: "Linear rise, then (1 - t)^power down to 0 (DeepLab, Chen et al. 2017).",
    },
];

/// Everything under `with:` of a `train` stage.
pub(super) static PARAMS: &[ParamSpec] = &[
    MODEL,
    INIT,
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
        "scale_lr",
        ParamType::Object(&[
            param("from_batch", int(1, 4096), Default::Required, "Patches a step that `lr` was found with."),
            param(
                "rule",
                ParamType::Choice(&["linear", "sqrt"]),
                Default::Absent,
                "How the rate grows with the batch: as it does, or as its root; sqrt with adamw, linear with sgd when not given.",
            ),
        ]),
        Default::Absent,
        "Makes the learning rate go with `batch`, from the one that it was found with.",
    ),
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
        "swa",
        ParamType::Object(&[param(
            "start",
            float(0.0, 0.99),
            Default::Json("0.75"),
            "Share of the epochs that are over before the first one counts.",
        )]),
        Default::Absent,
        "Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights at the ends of the last epochs, scored \
         and kept instead of the weights themselves.",
    ),
    AUGMENT,
    param(
        "sampling",
        ParamType::Choice(&["shuffled", "weighted", "class_balanced"]),
        Default::Json("\"shuffled\""),
        "Every patch once an epoch; or drawn by weight, so that rare classes are seen more often; or so that patches of \
         every class are drawn as often.",
    ),
    param("evaluate_every", int(1, 100_000), Default::Json("1"), "Score on the hold-out after every so many epochs."),
    param(
        "patience",
        int(1, 100_000),
        Default::Absent,
        "Ends training when so many scores on the hold-out in a row were no higher than the highest before.",
    ),
    PRECISION,
    param(
        "deterministic",
        ParamType::Bool,
        Default::Json("true"),
        "Same bits every time on the same GPU, by convolutions that add up in a fixed order; false lets the fastest be \
         chosen. The CPU is always deterministic.",
    ),
];
