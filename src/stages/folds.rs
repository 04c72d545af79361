//! `folds`: splits tiles for a cross-validation. It has no task of its own, since it only says which tiles go where.

use serde::Deserialize;

use crate::engine::{ExpandContext, ExpandError, Expansion, Item, Outcome, StageError, StageKind, TaskContext};
use crate::net::rng::Rng;
use crate::spec::{Artefact, Default, Finding, InputSpec, KindSpec, OutputSpec, ParamSpec, ParamType, Pipeline, Stage};
use crate::stages::params::{expand_error, read_with};

static SPEC: KindSpec = KindSpec {
    name: "folds",
    version: 1,
    doc: "Splits scenes for cross-validation: whole scenes of one fold are held out, the others are trained on.",
    inputs: &[InputSpec {
        name: "tiles",
        accepts: &[Artefact::Tiles],
        accepts_files: false,
        required: true,
        doc: "The tiles of one split, for example `ingest.train`.",
    }],
    free_inputs: false,
    outputs: &[
        OutputSpec {
            name: "train",
            artefact: Artefact::Tiles,
            when: None,
            doc: "The tiles of all other folds, to be trained on.",
        },
        OutputSpec {
            name: "held_out",
            artefact: Artefact::Tiles,
            when: None,
            doc: "The tiles of this fold, to be scored.",
        },
    ],
    free_outputs: false,
    joins: false,
    params: &[
        ParamSpec {
            name: "of",
            ty: ParamType::Int { min: 2, max: 100 },
            default: Default::Json("5"),
            doc: "Number of folds; at most as many as there are scenes.",
        },
        ParamSpec {
            name: "fold",
            ty: ParamType::Int { min: 1, max: 100 },
            default: Default::Required,
            doc: "Which fold is held out, from 1; all of them in a `matrix`.",
        },
    ],
    check: Some(check),
};

#[derive(Deserialize)]
struct With {
    of: usize,
    fold: usize,
}

/// The `folds` stage kind.
#[derive(Debug)]
pub struct Folds;

impl StageKind for Folds {
    fn spec(&self) -> &'static KindSpec {
        &SPEC
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        let With { of, fold } = read_with(&context.stage.with)?;
        let tiles = context.items("tiles");
        if tiles.len() < of {
            let scenes = tiles.len();
            return Err(expand_error(format!("{scenes} scenes cannot be split into {of} folds of whole scenes")));
        }
        let fold_of = deal(tiles.len(), of, context.pipeline.seed);
        let part = |held: bool| {
            let chosen = tiles.iter().zip(&fold_of).filter(|(_, own)| (**own == fold) == held);
            chosen.map(|(item, _)| Item::new(item.name.clone(), item.from.clone())).collect()
        };
        let outputs = [("train".to_owned(), part(false)), ("held_out".to_owned(), part(true))].into();
        Ok(Expansion { tasks: Vec::new(), outputs })
    }

    fn run(&self, _: &TaskContext<'_>) -> Result<Outcome, StageError> {
        Err(StageError::failed("`folds` has no task to run"))
    }
}

/// The fold of each scene, 1 to `of`: scenes are shuffled by the seed, then dealt like cards, so that no fold has two scenes more
/// than another.
fn deal(scenes: usize, of: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scenes).collect();
    Rng::new(seed).fork("folds").shuffle(&mut order);
    let mut fold_of = vec![0; scenes];
    order.into_iter().enumerate().for_each(|(place, scene)| fold_of[scene] = place % of + 1);
    fold_of
}

fn check(_: &Pipeline, stage: &Stage) -> Vec<Finding> {
    let number = |name: &str| stage.with.get(name).and_then(serde_json::Value::as_u64);
    match (number("fold"), number("of")) {
        (Some(fold), Some(of)) if fold > of => vec![Finding {
            path: vec!["with".into(), "fold".into()],
            message: format!("fold {fold} is held out, and there are {of}"),
            help: Some(format!("folds are counted from 1 to {of}; raise `of` for more")),
        }],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_is_in_one_fold_and_folds_are_of_a_size() {
        for (scenes, of) in [(4, 4), (120, 5), (7, 3), (11, 2)] {
            let fold_of = deal(scenes, of, 9);
            let sizes: Vec<usize> = (1..=of).map(|fold| fold_of.iter().filter(|f| **f == fold).count()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), scenes);
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
        assert_ne!(deal(120, 5, 1), deal(120, 5, 2));
        assert_eq!(deal(120, 5, 1), deal(120, 5, 1));
    }
}
