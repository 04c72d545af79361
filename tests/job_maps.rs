//! What `predict` leaves beside its maps, and what its settings do to them.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use project::Project;
use s2pipe::raster::read;

/// Pixels of an artefact, band by band.
fn pixels(project: &Project, artefact: &str) -> Vec<f32> {
    read(project.path(&format!("cache/landcover/{artefact}"))).unwrap().samples.as_f32().into_owned()
}

/// The finished project after a run with other settings of `predict`.
fn mapped(project: &Project, settings: &str) {
    project.edit("with: { window: 64, overlap: 16 }", &format!("with: {{ window: 64, overlap: 16, {settings} }}"));
    let ran = project.run(&["--until", "predict"]).ok();
    assert_eq!(ran.stages(), ["predict"], "{}", ran.stderr);
}

#[test]
fn confidence_and_entropy_are_those_of_the_probabilities() {
    let project = Project::finished();
    let before = pixels(&project, "predict/val_scene_0.tif");
    mapped(&project, "probabilities: true, confidence: true, entropy: true");
    assert_eq!(pixels(&project, "predict/val_scene_0.tif"), before, "the map stays");
    let probabilities = pixels(&project, "predict/probabilities/val_scene_0.tif");
    let confidence = pixels(&project, "predict/confidence/val_scene_0.tif");
    let entropy = pixels(&project, "predict/entropy/val_scene_0.tif");
    let size = before.len();
    assert_eq!((probabilities.len(), confidence.len(), entropy.len()), (6 * size, size, size));
    let mut least = 1.0_f32;
    for pixel in 0..size {
        let p: Vec<f64> = (0..6).map(|class| f64::from(probabilities[class * size + pixel])).collect();
        if before[pixel] == 0.0 {
            assert_eq!((confidence[pixel], entropy[pixel]), (-1.0, -1.0));
            continue;
        }
        let of_the_map = p[before[pixel] as usize - 1];
        assert_eq!(f64::from(confidence[pixel]), of_the_map.min(1.0));
        let expected = -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>() / 6.0_f64.ln();
        assert!((f64::from(entropy[pixel]) - expected).abs() < 1e-6);
        least = least.min(confidence[pixel]);
    }
    assert!(least < 0.9, "a network that is sure of everything shows nothing: {least}");
    let info = read(project.path("cache/landcover/predict/entropy/val_scene_0.tif")).unwrap().info;
    assert_eq!((info.nodata, info.georef.crs_name().as_deref()), (Some(-1.0), Some("EPSG:32633")));
}

#[test]
fn small_regions_go_and_nothing_else() {
    let project = Project::finished();
    let before = pixels(&project, "predict/val_scene_0.tif");
    mapped(&project, "min_area: 40, confidence: true");
    let after = pixels(&project, "predict/val_scene_0.tif");
    let info = read(project.path("cache/landcover/predict/val_scene_0.tif")).unwrap().info;
    let mut expected: Vec<u8> = before.iter().map(|code| *code as u8).collect();
    s2pipe::raster::sieve(&mut expected, info.width, 40, &|| false);
    assert_eq!(after, expected.iter().map(|code| f32::from(*code)).collect::<Vec<_>>());
    assert!(after != before && info.palette.is_some());
}

#[test]
fn other_sides_change_the_map_a_little() {
    let project = Project::finished();
    let before = pixels(&project, "predict/val_scene_0.tif");
    mapped(&project, "augment: eight");
    let after = pixels(&project, "predict/val_scene_0.tif");
    let other = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(other > 0 && other < before.len() / 2, "{other} of {}", before.len());
}
