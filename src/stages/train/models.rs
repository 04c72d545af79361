//! The networks that `train` knows, and what is checked of them beyond types.

use super::forest::RANDOM_FOREST;
use super::params::{int, param};
use crate::spec::{Default, Finding, ParamSpec, ParamType, Pipeline, Stage, VariantSpec};
use crate::stages::params::{halvings, made_by};

const WIDTH: ParamSpec = param(
    "width",
    int(1, 1024),
    Default::Json("16"),
    "Channels of the first level; each level down has twice as many. Of a ResNet: of its first convolution, 64 in the paper.",
);

const fn depth(default: &'static str) -> ParamSpec {
    param(
        "depth",
        int(1, 8),
        Default::Json(default),
        "How often the image is halved; patches must be a multiple of 2^depth.",
    )
}

/// Absent and not `plain`: what is not asked for is not in the record, so that trainings keep their keys.
const BLOCK: ParamSpec = param(
    "block",
    ParamType::Choice(&[PLAIN, "residual"]),
    Default::Absent,
    "What a level does: plain convolutions, as when left out, or a residual block (He et al. 2016).",
);

/// The block that changes nothing: in no record.
pub(super) const PLAIN: &str = "plain";

/// Absent as [`BLOCK`] is.
const ENCODER: ParamSpec = param(
    "encoder",
    ParamType::Choice(&[BLOCKS, "resnet18", "resnet34"]),
    Default::Absent,
    "What the way down is made of: blocks, as when left out, or a ResNet (He et al. 2016), which may begin with weights of \
     its own (`init`).",
);

/// The encoder that changes nothing: in no record.
pub(super) const BLOCKS: &str = "blocks";

const UNET: VariantSpec = VariantSpec {
    kind: "unet",
    params: &[WIDTH, depth("4"), BLOCK, ENCODER],
    doc: "U-Net (Ronneberger et al. 2015) with batch normalisation.",
};

const MLP: VariantSpec = VariantSpec {
    kind: "mlp",
    params: &[
        param("width", int(1, 1024), Default::Json("64"), "Units of a hidden layer."),
        param("depth", int(0, 8), Default::Json("2"), "Hidden layers; with 0 it is a logistic regression."),
    ],
    doc: "A perceptron that sees one pixel at a time, with batch normalisation.",
};

const FPN: VariantSpec = VariantSpec {
    kind: "fpn",
    params: &[
        WIDTH,
        depth("4"),
        param("pyramid", int(1, 1024), Default::Json("32"), "Channels of every level of the pyramid."),
        BLOCK,
        ENCODER,
    ],
    doc: "Feature pyramid network (Kirillov et al. 2019), down to the full resolution.",
};

const DEEPLAB: VariantSpec = VariantSpec {
    kind: "deeplabv3plus",
    params: &[
        WIDTH,
        depth("3"),
        param(
            "rates",
            ParamType::List(&int(1, 64)),
            Default::Json("[2, 4, 8]"),
            "Pixels of the coarsest level between the taps of each of three dilated convolutions.",
        ),
        param("aspp", int(1, 1024), Default::Json("64"), "Channels of each branch over the coarsest level."),
        BLOCK,
        ENCODER,
    ],
    doc: "DeepLabv3+ (Chen et al. 2018) over the U-Net's way down, or a ResNet.",
};

const SEGFORMER: VariantSpec = VariantSpec {
    kind: "segformer",
    params: &[
        param(
            "width",
            int(1, 1024),
            Default::Json("16"),
            "Channels of the first stage; each stage further has twice as many.",
        ),
        param(
            "depth",
            int(1, 5),
            Default::Json("4"),
            "Stages, each of which halves the image; patches must be a multiple of 2^depth.",
        ),
        param("blocks", int(1, 16), Default::Json("2"), "Transformer blocks of a stage."),
        param(
            "heads",
            int(1, 64),
            Default::Json("1"),
            "Heads of the first stage's attention; each stage further has twice as many.",
        ),
        param(
            "ffn",
            int(1, 8),
            Default::Json("4"),
            "How many times as many channels the feed-forward part of a block has inside.",
        ),
        param("decoder", int(1, 1024), Default::Json("64"), "Channels of every stage in the decoder."),
    ],
    doc: "SegFormer (Xie et al. 2021): transformer blocks at several resolutions.",
};

/// The parameter `model`.
pub(super) const MODEL: ParamSpec = param(
    "model",
    ParamType::Variant(&[UNET, MLP, FPN, DEEPLAB, SEGFORMER, RANDOM_FOREST]),
    Default::Json("{\"kind\":\"unet\"}"),
    "The network, or the forest, which reads no other setting here.",
);

/// What is wrong with a stage's network.
pub(super) fn check(pipeline: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let findings = check_size(pipeline, stage).into_iter().chain(check_rates(stage)).chain(check_heads(stage));
    findings.chain(check_encoder(stage)).collect()
}

/// The side of the patches must be a multiple of what the network halves away.
fn check_size(pipeline: &Pipeline, stage: &Stage) -> Option<Finding> {
    let size = made_by(pipeline, stage, "patches")?.with.get("size")?.as_u64()?;
    let depth = halvings(stage)?;
    let multiple = 1u64 << depth;
    let below = (size / multiple * multiple).max(multiple);
    (size % multiple != 0).then(|| Finding {
        path: vec!["with".into(), "model".into(), "depth".into()],
        message: format!("a depth of {depth} halves patches {depth} times, and {size} px is no multiple of {multiple}"),
        help: Some(format!("use patches of {below} or {} px, or a smaller depth", below + multiple)),
    })
}

/// A ResNet has its own depth and its own blocks.
fn check_encoder(stage: &Stage) -> Vec<Finding> {
    let text = |name: &str| stage.with.get("model")?.get(name)?.as_str();
    let Some(encoder) = text("encoder").filter(|encoder| *encoder != BLOCKS) else { return Vec::new() };
    let finding = |name: &str, message: String, help: &str| Finding {
        path: vec!["with".into(), "model".into(), name.into()],
        message,
        help: Some(help.into()),
    };
    let mut findings = Vec::new();
    if text("block").is_some_and(|block| block != PLAIN) {
        let message = format!("`{encoder}` has residual blocks of its own, and `block` is for `encoder: {BLOCKS}`");
        findings.push(finding("block", message, "remove `block`"));
    }
    let depth = stage.with.get("model").and_then(|model| model.get("depth")?.as_u64());
    if let Some(depth) = depth.filter(|depth| *depth > DEEPEST_RESNET) {
        let message = format!("`{encoder}` halves an image at most {DEEPEST_RESNET} times, and `depth` is {depth}");
        findings.push(finding("depth", message, "use a depth from 1 to 5: 5 is the whole network"));
    }
    findings
}

/// Halvings of a whole ResNet.
const DEEPEST_RESNET: u64 = 5;

fn check_rates(stage: &Stage) -> Option<Finding> {
    let rates = stage.with.get("model")?.get("rates")?.as_array()?;
    (rates.len() != 3).then(|| Finding {
        path: vec!["with".into(), "model".into(), "rates".into()],
        message: format!("deeplabv3plus has three dilated convolutions, and {} rates are given", rates.len()),
        help: Some("for example `rates: [2, 4, 8]`".into()),
    })
}

/// A head has an equal part of the channels.
fn check_heads(stage: &Stage) -> Option<Finding> {
    let model = stage.with.get("model")?;
    let (width, heads) = (model.get("width")?.as_u64()?, model.get("heads")?.as_u64()?);
    let fit = |heads: &u64| width.checked_div(*heads).is_some_and(|part| part * heads == width && part <= 128);
    let near = (1..=64).filter(fit).min_by_key(|fitting| fitting.abs_diff(heads));
    (!fit(&heads)).then(|| Finding {
        path: vec!["with".into(), "model".into(), "heads".into()],
        message: format!("{heads} heads do not cut {width} channels into equal parts of at most 128"),
        help: Some(match near {
            Some(near) => format!("for example `heads: {near}`"),
            None => "choose a `width` that is a multiple of more numbers".into(),
        }),
    })
}
