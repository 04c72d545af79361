//! Which truth raster belongs to which scene: by sorted file name, as the exercise does, and the stems must agree.

use crate::engine::{Item, Origin};

/// A scene and its truth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    /// Item name: the scene's stem.
    pub(super) name: String,
    pub(super) scene: Origin,
    pub(super) truth: Origin,
}

/// Why scenes and truth do not pair.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum PairError {
    #[error("{scenes} scenes but {truth} truth rasters: {odd}")]
    Count { scenes: usize, truth: usize, odd: String },
    #[error("scene {scene:?} would be paired with truth {truth:?}: their names do not agree")]
    Stems { scene: String, truth: String },
    #[error("two scenes are called {0:?}: names must differ within a split")]
    Twice(String),
}

/// Pairs scenes and truth, both sorted by name.
///
/// Stems agree when, cut into words at every character that is neither letter nor digit, they differ in at most one
/// word, and that word holds no digit: `tra_scene_0` and `tra_truth_0` do, `scene_12` and `truth_13` do not.
pub(super) fn pair(scenes: &[Item], truth: &[Item]) -> Result<Vec<Pair>, PairError> {
    let (scenes, truth) = (sorted(scenes), sorted(truth));
    if scenes.len() != truth.len() {
        return Err(PairError::Count { scenes: scenes.len(), truth: truth.len(), odd: odd_one(&scenes, &truth) });
    }
    if let Some(twice) = scenes.windows(2).find(|w| w[0].name == w[1].name) {
        return Err(PairError::Twice(twice[0].name.clone()));
    }
    scenes
        .into_iter()
        .zip(truth)
        .map(|(scene, truth)| {
            if stems_agree(&scene.name, &truth.name) {
                Ok(Pair { name: scene.name, scene: scene.from, truth: truth.from })
            } else {
                Err(PairError::Stems { scene: scene.name, truth: truth.name })
            }
        })
        .collect()
}

fn sorted(items: &[Item]) -> Vec<Item> {
    let mut items = items.to_vec();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    items
}

fn words(stem: &str) -> Vec<&str> {
    stem.split(|c: char| !c.is_alphanumeric()).collect()
}

fn stems_agree(scene: &str, truth: &str) -> bool {
    let (a, b) = (words(scene), words(truth));
    let mut differing = a.iter().zip(&b).filter(|(x, y)| x != y);
    let has_digit = |w: &str| w.chars().any(|c| c.is_ascii_digit());
    a.len() == b.len()
        && match (differing.next(), differing.next()) {
            (None, _) => true,
            (Some((x, y)), None) => !has_digit(x) && !has_digit(y),
            _ => false,
        }
}

/// Names one file without a partner, so that a person knows where to look.
fn odd_one(scenes: &[Item], truth: &[Item]) -> String {
    let lonely = |these: &[Item], those: &[Item]| {
        these.iter().find(|a| !those.iter().any(|b| stems_agree(&a.name, &b.name))).map(|a| a.name.clone())
    };
    match (lonely(scenes, truth), lonely(truth, scenes)) {
        (Some(scene), _) => format!("no truth goes with scene {scene:?}"),
        (None, Some(truth)) => format!("no scene goes with truth {truth:?}"),
        (None, None) => "their names pair more than once".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(names: &[&str]) -> Vec<Item> {
        names.iter().map(|n| Item::new(*n, Origin::File(format!("{n}.tif").into()))).collect()
    }

    #[test]
    fn pairs_by_sorted_name_whatever_the_order_given() {
        let pairs = pair(&items(&["tra_scene_1", "tra_scene_0"]), &items(&["tra_truth_0", "tra_truth_1"])).unwrap();
        assert_eq!(pairs[0].name, "tra_scene_0");
        assert_eq!(pairs[0].truth, Origin::File("tra_truth_0.tif".into()));
        assert_eq!(pairs[1].truth, Origin::File("tra_truth_1.tif".into()));
    }

    #[test]
    fn equal_stems_in_two_folders_agree() {
        assert!(pair(&items(&["a_1"]), &items(&["a_1"])).is_ok());
    }

    #[test]
    fn numbers_that_differ_are_refused() {
        let error = pair(&items(&["scene_12"]), &items(&["truth_13"])).unwrap_err();
        assert_eq!(error, PairError::Stems { scene: "scene_12".into(), truth: "truth_13".into() });
        assert!(pair(&items(&["tra_scene_0"]), &items(&["val_truth_0"])).is_err());
    }

    #[test]
    fn a_missing_truth_is_named() {
        let error = pair(&items(&["scene_0", "scene_1"]), &items(&["truth_0"])).unwrap_err();
        assert_eq!(error.to_string(), "2 scenes but 1 truth rasters: no truth goes with scene \"scene_1\"");
    }

    #[test]
    fn one_name_twice_is_refused() {
        assert_eq!(pair(&items(&["s_0", "s_0"]), &items(&["t_0", "t_0"])).unwrap_err(), PairError::Twice("s_0".into()));
    }
}
