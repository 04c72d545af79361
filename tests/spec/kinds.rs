//! Stage kinds like the real ones, for the tests of the language alone.

use s2pipe::spec::{
    Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage, VariantSpec,
};

/// All of them.
pub(crate) const KINDS: &[&KindSpec] = &[&INGEST, &PATCHES, &TRAIN, &PREDICT, &EVALUATE, &COMPARE, &FIGURES, &SHELL];

const fn param(name: &'static str, ty: ParamType, default: Default, doc: &'static str) -> ParamSpec {
    ParamSpec { name, ty, default, doc }
}

const fn input(name: &'static str, accepts: &'static [Artefact], doc: &'static str) -> InputSpec {
    InputSpec { name, accepts, accepts_files: false, required: true, doc }
}

const fn output(name: &'static str, artefact: Artefact, doc: &'static str) -> OutputSpec {
    OutputSpec { name, artefact, when: None, doc }
}

const NOTHING: KindSpec = KindSpec {
    name: "",
    version: 1,
    doc: "",
    inputs: &[],
    free_inputs: false,
    outputs: &[],
    free_outputs: false,
    joins: false,
    params: &[],
    check: None,
};

const UNIT: ParamType = ParamType::Float { min: 0.0, max: 1.0 };
const POSITIVE: ParamType = ParamType::Float { min: f64::MIN_POSITIVE, max: f64::MAX };

const SPLIT: ParamType = ParamType::Object(&[
    param("scenes", ParamType::Files, Default::Required, "Scenes, one GeoTIFF each."),
    param("truth", ParamType::Files, Default::Required, "Truth rasters, one for every scene."),
]);

static INGEST: KindSpec = KindSpec {
    name: "ingest",
    doc: "Reads pairs of scene and truth.",
    outputs: &[
        OutputSpec { name: "train", artefact: Artefact::Tiles, when: Some("train"), doc: "Training tiles." },
        OutputSpec { name: "val", artefact: Artefact::Tiles, when: Some("val"), doc: "Validation tiles." },
    ],
    params: &[
        param("train", SPLIT, Default::Absent, "Scenes to train on."),
        param("val", SPLIT, Default::Absent, "Scenes to score on."),
        param(
            "bands",
            ParamType::List(&ParamType::Choice(&["blue", "green", "red", "nir", "swir", "ndvi"])),
            Default::Json(r#"["blue","green","red","nir"]"#),
            "Bands in the order of the file.",
        ),
        param("keep_zeros", ParamType::Bool, Default::Json("false"), "Whether 0 is a value."),
    ],
    check: Some(same_number),
    ..NOTHING
};

/// Every split has as many scenes as truth rasters.
fn same_number(_: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let differ = |split: &str| stage.files(&[split, "scenes"]).len() != stage.files(&[split, "truth"]).len();
    let finding = |split: &str| Finding {
        path: vec!["with".into(), split.into(), "truth".into()],
        message: format!(
            "{split}: expected one truth raster for every scene, found {} scenes and {} truth rasters",
            stage.files(&[split, "scenes"]).len(),
            stage.files(&[split, "truth"]).len()
        ),
        help: Some("compare the two patterns".into()),
    };
    ["train", "val"].into_iter().filter(|split| differ(split)).map(finding).collect()
}

static PATCHES: KindSpec = KindSpec {
    name: "patches",
    doc: "Cuts tiles into windows.",
    inputs: &[input("tiles", &[Artefact::Tiles], "The tiles of one split.")],
    outputs: &[output("patches", Artefact::Patches, "The patch index.")],
    params: &[
        param("size", ParamType::Int { min: 8, max: 4096 }, Default::Json("128"), "Side of a window in pixels."),
        param("stride", ParamType::Int { min: 1, max: 4096 }, Default::Absent, "Step between windows in pixels."),
        param("holdout", UNIT, Default::Json("0.15"), "Part of the pixels that selects the best epoch."),
        param(
            "rare",
            ParamType::Object(&[
                param("class", ParamType::Class, Default::Required, "The class."),
                param("weight", POSITIVE, Default::Json("2"), "How often it is drawn."),
            ]),
            Default::Absent,
            "A class to draw more often.",
        ),
    ],
    ..NOTHING
};

const DEPTH: ParamSpec = param("depth", ParamType::Int { min: 1, max: 8 }, Default::Json("4"), "Levels.");

static TRAIN: KindSpec = KindSpec {
    name: "train",
    doc: "Trains a network.",
    inputs: &[input("patches", &[Artefact::Patches], "What to train on.")],
    outputs: &[
        output("model", Artefact::Model, "The best epoch's weights."),
        output("history", Artefact::History, "Loss and score of every epoch."),
    ],
    params: &[
        param(
            "model",
            ParamType::Variant(&[
                VariantSpec {
                    kind: "unet",
                    params: &[
                        param(
                            "width",
                            ParamType::Int { min: 1, max: 512 },
                            Default::Json("24"),
                            "Channels at the top.",
                        ),
                        DEPTH,
                    ],
                    doc: "A U-Net.",
                },
                VariantSpec {
                    kind: "pixel",
                    params: &[param("hidden", ParamType::Int { min: 1, max: 4096 }, Default::Json("64"), "Units.")],
                    doc: "A network that sees one pixel.",
                },
            ]),
            Default::Json(r#"{"kind":"unet"}"#),
            "The network.",
        ),
        param("epochs", ParamType::Int { min: 1, max: i64::MAX }, Default::Json("40"), "Passes over the patches."),
        param(
            "batch",
            ParamType::IntOrWord { min: 1, max: 4096, word: "auto" },
            Default::Json("16"),
            "Windows a step.",
        ),
        param(
            "optimizer",
            ParamType::Variant(&[
                VariantSpec {
                    kind: "adamw",
                    params: &[
                        param("lr", POSITIVE, Default::Json("0.001"), "Learning rate."),
                        param("weight_decay", UNIT, Default::Json("0.01"), "Decay."),
                    ],
                    doc: "Adam with decoupled weight decay.",
                },
                VariantSpec {
                    kind: "sgd",
                    params: &[
                        param("lr", POSITIVE, Default::Required, "Learning rate."),
                        param("momentum", UNIT, Default::Json("0.9"), "Momentum."),
                    ],
                    doc: "Gradient descent.",
                },
            ]),
            Default::Json(r#"{"kind":"adamw"}"#),
            "The optimiser.",
        ),
        param("limit", ParamType::Duration, Default::Absent, "Longest time to train."),
        param("augment", ParamType::Bool, Default::Json("true"), "Flips and rotations."),
    ],
    ..NOTHING
};

static PREDICT: KindSpec = KindSpec {
    name: "predict",
    doc: "Maps scenes with a model.",
    inputs: &[
        input("model", &[Artefact::Model], "The model."),
        InputSpec {
            name: "tiles",
            accepts: &[Artefact::Tiles, Artefact::Scenes],
            accepts_files: true,
            required: true,
            doc: "What to map.",
        },
    ],
    outputs: &[
        output("maps", Artefact::Maps, "One label map a scene."),
        OutputSpec {
            name: "probabilities",
            artefact: Artefact::Probabilities,
            when: Some("probabilities"),
            doc: "Class probabilities.",
        },
    ],
    params: &[param("probabilities", ParamType::Bool, Default::Json("false"), "Also write probabilities.")],
    ..NOTHING
};

static EVALUATE: KindSpec = KindSpec {
    name: "evaluate",
    doc: "Scores maps against truth.",
    inputs: &[
        input("maps", &[Artefact::Maps], "The maps."),
        input("tiles", &[Artefact::Tiles], "Tiles with the truth."),
    ],
    outputs: &[output("metrics", Artefact::Metrics, "The scores.")],
    ..NOTHING
};

static COMPARE: KindSpec = KindSpec {
    name: "compare",
    doc: "Ranks variants.",
    inputs: &[InputSpec {
        name: "metrics",
        accepts: &[Artefact::Metrics],
        accepts_files: true,
        required: true,
        doc: "Scores of every variant.",
    }],
    outputs: &[output("ranking", Artefact::Any, "The ranking.")],
    joins: true,
    params: &[param("by", ParamType::Text, Default::Json("\"jaccard\""), "The score.")],
    ..NOTHING
};

static FIGURES: KindSpec = KindSpec {
    name: "figures",
    doc: "Draws the results.",
    inputs: &[
        input("metrics", &[Artefact::Metrics], "The scores."),
        input("maps", &[Artefact::Maps], "The maps."),
        input("tiles", &[Artefact::Tiles], "The scenes."),
        InputSpec {
            name: "history",
            accepts: &[Artefact::History],
            accepts_files: false,
            required: false,
            doc: "For the curves.",
        },
    ],
    outputs: &[output("figures", Artefact::Figures, "JPEG files.")],
    params: &[param("title", ParamType::Text, Default::Absent, "A title.")],
    ..NOTHING
};

static SHELL: KindSpec = KindSpec {
    name: "shell",
    doc: "Runs a command.",
    free_inputs: true,
    free_outputs: true,
    params: &[
        param("run", ParamType::Text, Default::Required, "The command."),
        param("env", ParamType::Variables, Default::Absent, "Variables."),
        param("pass", ParamType::List(&ParamType::Variable), Default::Absent, "Variables of the caller."),
    ],
    ..NOTHING
};
