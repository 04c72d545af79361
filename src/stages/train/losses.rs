//! The losses that `train` knows, and what is checked of them beyond types.

use serde_json::Value;

use super::params::{float, param};
use crate::spec::{Default, Finding, ParamSpec, ParamType, Stage, VariantSpec};

const CLASS_WEIGHTS: ParamSpec = param(
    "class_weights",
    ParamType::Choice(&["none", "inverse_sqrt", "inverse", "effective_number"]),
    Default::Json("\"none\""),
    "How rare classes are made to count more, by their labelled training pixels; the mean weight is 1.",
);

const BETA: ParamSpec = param(
    "beta",
    float(0.0, 0.999_999_999),
    Default::Absent,
    "For effective_number (Cui et al. 2019), which needs it: weights are (1 - beta) / (1 - beta^n).",
);

const WEIGHT_CAP: ParamSpec =
    param("weight_cap", float(1.0, 1e6), Default::Absent, "Greatest class weight; higher ones are lowered to it.");

const CROSS_ENTROPY: VariantSpec = VariantSpec {
    kind: "cross_entropy",
    params: &[
        CLASS_WEIGHTS,
        BETA,
        WEIGHT_CAP,
        param("smoothing", float(0.0, 0.9), Default::Json("0.0"), "Label smoothing."),
    ],
    doc: "Softmax cross-entropy over labelled pixels.",
};

const FOCAL: VariantSpec = VariantSpec {
    kind: "focal",
    params: &[
        param(
            "gamma",
            float(0.0, 10.0),
            Default::Json("2.0"),
            "How much less pixels count that are right already; 0: cross-entropy.",
        ),
        CLASS_WEIGHTS,
        BETA,
        WEIGHT_CAP,
    ],
    doc: "Focal loss (Lin et al. 2017) over labelled pixels.",
};

const DICE: VariantSpec = VariantSpec {
    kind: "dice",
    params: &[param("smooth", float(0.0, 1e6), Default::Json("1.0"), "Added above and below the fraction.")],
    doc: "Dice loss (Milletari et al. 2016), the mean over the classes of a batch.",
};

const LOVASZ: VariantSpec = VariantSpec {
    kind: "lovasz",
    params: &[],
    doc: "Lovász-softmax (Berman et al. 2018), which stands for the Jaccard of the classes of a batch.",
};

const SUM: VariantSpec = VariantSpec {
    kind: "sum",
    params: &[param(
        "terms",
        ParamType::List(&ParamType::Object(&[
            param(
                "loss",
                ParamType::Variant(&[CROSS_ENTROPY, FOCAL, DICE, LOVASZ]),
                Default::Required,
                "The loss of the term, as above.",
            ),
            param("weight", float(1e-6, 1e6), Default::Json("1.0"), "What it is multiplied by."),
        ])),
        Default::Required,
        "The losses that are added up, one or more.",
    )],
    doc: "Several losses, each times its weight.",
};

/// The parameter `loss`.
pub(super) const LOSS: ParamSpec = param(
    "loss",
    ParamType::Variant(&[CROSS_ENTROPY, FOCAL, DICE, LOVASZ, SUM]),
    Default::Json("{\"kind\":\"cross_entropy\"}"),
    "The loss.",
);

/// What is wrong with a stage's loss.
pub(super) fn check(stage: &Stage) -> Vec<Finding> {
    let Some(loss) = stage.with.get("loss") else { return Vec::new() };
    let path = vec!["with".to_owned(), "loss".to_owned()];
    let Some(terms) = loss.get("terms").and_then(Value::as_array) else {
        return check_beta(loss, path).into_iter().collect();
    };
    let below = |keys: &[String]| path.iter().chain(keys).cloned().collect::<Vec<String>>();
    if terms.is_empty() {
        return vec![Finding {
            path: below(&["terms".into()]),
            message: "a sum of no terms has nothing to learn by".into(),
            help: Some("for example `terms: [{ loss: { kind: cross_entropy } }, { loss: { kind: lovasz } }]`".into()),
        }];
    }
    let of_term = |(index, term): (usize, &Value)| {
        check_beta(term.get("loss")?, below(&["terms".into(), index.to_string(), "loss".into()]))
    };
    terms.iter().enumerate().filter_map(of_term).collect()
}

fn check_beta(loss: &Value, mut path: Vec<String>) -> Option<Finding> {
    let effective = loss.get("class_weights")? == "effective_number";
    path.push("class_weights".into());
    (effective && loss.get("beta").is_none()).then(|| Finding {
        path,
        message: "effective_number needs `beta`".into(),
        help: Some(
            "classes with more than 1 / (1 - beta) pixels weigh about the same: for example `beta: 0.99999`".into(),
        ),
    })
}
