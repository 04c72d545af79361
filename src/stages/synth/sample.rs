//! The sample that the project ships: four training and two validation scenes.

use serde::{Deserialize, Serialize};

use super::generate::SynthConfig;

/// Which part of the sample a scene belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// `tra_…`
    Training,
    /// `val_…`
    Validation,
}

/// A scene of the sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleScene {
    /// Training or validation.
    pub split: Split,
    /// Number within the split, from 0.
    pub number: usize,
    /// Easting and northing of the upper left corner of the upper left pixel, metres. No two scenes overlap.
    pub origin: (f64, f64),
    /// What [`generate`](super::generate) makes it from.
    pub config: SynthConfig,
}

/// CRS of the sample: WGS 84 / UTM zone 33N, as in the exercise.
pub const SAMPLE_EPSG: u16 = 32633;

/// Pixel size of the sample, metres.
pub const SAMPLE_PIXEL: f64 = 10.0;

impl SampleScene {
    const fn new(split: Split, number: usize, origin: (f64, f64), config: SynthConfig) -> Self {
        Self { split, number, origin, config }
    }

    /// Path of the scene below the sample's folder: `tra_scene/tra_scene_0.tif`.
    pub fn scene_path(&self) -> String {
        self.path("scene")
    }

    /// Path of the truth mask below the sample's folder: `tra_truth/tra_truth_0.tif`.
    pub fn truth_path(&self) -> String {
        self.path("truth")
    }

    fn path(&self, what: &str) -> String {
        let split = match self.split {
            Split::Training => "tra",
            Split::Validation => "val",
        };
        format!("{split}_{what}/{split}_{what}_{}.tif", self.number)
    }
}

/// The sample. Odd sizes, no two alike; wetland is rare, and the first validation scene has none, as in the exercise.
pub const SAMPLE: [SampleScene; 6] = {
    use Split::{Training, Validation};
    let place = SynthConfig::new;
    [
        SampleScene::new(Training, 0, (300_000.0, 6_700_000.0), SynthConfig { wetland: 0.005, ..place(351, 347, 1) }),
        SampleScene::new(
            Training,
            1,
            (305_000.0, 6_700_000.0),
            SynthConfig { water: 0.2, wetland: 0.004, unlabelled: true, ..place(353, 341, 2) },
        ),
        SampleScene::new(
            Training,
            2,
            (310_000.0, 6_700_000.0),
            SynthConfig { farmland: 0.5, wetland: 0.004, ..place(359, 343, 3) },
        ),
        SampleScene::new(
            Training,
            3,
            (300_000.0, 6_695_000.0),
            SynthConfig { water: 0.06, wetland: 0.006, ..place(349, 357, 4) },
        ),
        SampleScene::new(Validation, 0, (305_000.0, 6_695_000.0), SynthConfig { wetland: 0.0, ..place(355, 337, 5) }),
        SampleScene::new(
            Validation,
            1,
            (310_000.0, 6_695_000.0),
            SynthConfig { wetland: 0.005, farmland: 0.42, ..place(345, 361, 6) },
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::super::generate::generate;
    use super::*;

    #[test]
    fn names_and_sizes_are_like_the_exercise_s() {
        let names: Vec<_> = SAMPLE.iter().map(SampleScene::scene_path).collect();
        assert_eq!(names[3], "tra_scene/tra_scene_3.tif");
        assert_eq!(SAMPLE[4].truth_path(), "val_truth/val_truth_0.tif");
        let sides: Vec<_> = SAMPLE.iter().flat_map(|s| [s.config.width, s.config.height]).collect();
        assert!(sides.iter().all(|side| side % 2 == 1));
        assert!((0..sides.len()).all(|i| !sides[i + 1..].contains(&sides[i])), "no two alike");
    }

    #[test]
    fn no_two_scenes_overlap() {
        let covers = |s: &SampleScene, (x, y): (f64, f64)| {
            let (w, h) = (s.config.width as f64 * SAMPLE_PIXEL, s.config.height as f64 * SAMPLE_PIXEL);
            (s.origin.0..s.origin.0 + w).contains(&x) && (s.origin.1 - h..s.origin.1).contains(&y)
        };
        for (i, a) in SAMPLE.iter().enumerate() {
            for b in &SAMPLE[i + 1..] {
                let (w, h) = (b.config.width as f64 * SAMPLE_PIXEL, b.config.height as f64 * SAMPLE_PIXEL);
                let corners = [(0.0, 0.0), (w, 0.0), (0.0, -h), (w, -h)];
                assert!(corners.iter().all(|c| !covers(a, (b.origin.0 + c.0, b.origin.1 + c.1))));
            }
        }
    }

    #[test]
    fn every_class_is_there_and_wetland_is_rare() {
        for (i, sample) in SAMPLE.iter().enumerate() {
            let truth = generate(&sample.config).unwrap().truth;
            let share = |code| truth.iter().filter(|c| **c == code).count() as f64 / truth.len() as f64;
            assert!([1, 2, 3, 4, 6].iter().all(|c| share(*c) > 0.03), "{}", sample.scene_path());
            let wetland = if i == 4 { 0.0..=0.0 } else { 0.001..=0.007 };
            assert!(wetland.contains(&share(5)), "{}: {}", sample.scene_path(), share(5));
            assert_eq!(share(0) > 0.0, sample.config.unlabelled);
        }
        assert_eq!(SAMPLE.iter().filter(|s| s.config.unlabelled).count(), 1);
    }
}
