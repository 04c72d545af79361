//! Finished pictures: the data is in them, pixel for pixel, and bad input is refused.

#![expect(clippy::unwrap_used, reason = "what cannot be drawn fails the test")]

use s2pipe::figure::{
    ConfusionFigure, CurvesFigure, Epoch, FigureError, JaccardFigure, Panel, Picture, SegmentationFigure, confusion,
    curves, jaccard_bars, segmentation,
};
use s2pipe::metrics::{ConfusionMatrix, Score};
use s2pipe::raster::{Class, ClassTable, Rgb};

const BLUE: Rgb = Rgb(0x00, 0x72, 0xb2);
const ORANGE: Rgb = Rgb(0xe6, 0x9f, 0x00);
const SWATCH: usize = 72 * 48;

/// Two classes that every eye keeps apart, so that neither is hatched.
fn classes() -> ClassTable {
    ClassTable::new(vec![
        Class { code: 1, name: "vann, sjø".into(), color: BLUE },
        Class { code: 4, name: "åker og æng".into(), color: ORANGE },
    ])
}

fn count(picture: &Picture, colour: Rgb) -> usize {
    picture.rgb().chunks_exact(3).filter(|p| **p == [colour.0, colour.1, colour.2]).count()
}

/// Left half code 1, right half code 4.
fn halves(width: usize, height: usize) -> Vec<u8> {
    (0..width * height).map(|i| if i % width < width / 2 { 1 } else { 4 }).collect()
}

fn draw(width: usize, height: usize, truth: bool, score: Option<&Score>) -> Picture {
    let scene = Panel::from_rgb(width, height, &vec![40; width * height * 3], None).unwrap();
    let map = Panel::from_labels(width, height, &halves(width, height)).unwrap();
    segmentation(&SegmentationFigure {
        title: "val_scene_0",
        subtitle: "",
        scene: &scene,
        truth: truth.then_some(&map),
        prediction: &map,
        classes: &classes(),
        scores: score,
        pixel_size_m: Some(10.0),
    })
    .unwrap()
}

#[test]
fn maps_are_in_the_picture_pixel_for_pixel() {
    // Width and height of the scene, and how many output pixels stand for a pixel.
    for (width, height, factor) in [(300, 280, 3), (850, 851, 1), (1200, 300, 1)] {
        let halves = width * height / 2 * factor * factor;
        let with_truth = draw(width, height, true, None);
        assert_eq!(count(&with_truth, BLUE), 2 * halves + SWATCH, "{width} x {height}");
        assert_eq!(count(&with_truth, ORANGE), 2 * halves + SWATCH, "{width} x {height}");
        let alone = draw(width, height, false, None);
        assert_eq!(count(&alone, BLUE), halves + SWATCH, "{width} x {height}");
    }
}

#[test]
fn a_whole_tile_is_reduced_and_odd_shapes_are_drawn() {
    let tile = draw(5490, 5490, true, None);
    assert_eq!(count(&tile, BLUE), 2 * 500 * 1000 + SWATCH);
    for (width, height) in [(1, 1), (1, 5000), (5000, 1), (4000, 300), (7, 400)] {
        let picture = draw(width, height, true, None);
        assert!(picture.width() >= 1100 && picture.width() <= 4000, "{picture:?}");
        assert!(picture.height() <= 4000, "{picture:?}");
    }
}

#[test]
fn the_same_figure_gives_the_same_jpeg_which_decodes_to_its_size() {
    let picture = draw(120, 90, true, None);
    let bytes = picture.encode_jpeg().unwrap();
    assert_eq!(bytes, draw(120, 90, true, None).encode_jpeg().unwrap());
    let decoded = image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg).unwrap().to_rgb8();
    assert_eq!(decoded.dimensions(), (picture.width(), picture.height()));
    let largest = decoded.as_raw().iter().zip(picture.rgb()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    let mean = decoded.as_raw().iter().zip(picture.rgb()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>()
        / picture.rgb().len() as f64;
    assert!(mean < 1.0 && largest < 120, "mean error {mean}, largest {largest}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    picture.write_jpeg(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let error = picture.write_jpeg(folder.path().join("missing/a.jpg")).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("cannot write the figure"), "{error}");
}

#[test]
fn the_score_changes_title_and_legend_only() {
    let mut matrix = ConfusionMatrix::new();
    matrix.add(&halves(300, 280), &halves(300, 280), None).unwrap();
    let plain = draw(300, 280, true, None);
    let scored = draw(300, 280, true, Some(&Score::of_classes(&matrix, &classes())));
    assert_ne!(plain, scored);
    assert_eq!(count(&plain, BLUE), count(&scored, BLUE));
}

#[test]
fn codes_that_are_no_class_show_up_black_and_no_label_hatched() {
    let scene = Panel::from_rgb(1000, 10, &[200; 30_000], None).unwrap();
    let map = Panel::from_labels(1000, 10, &[9; 10_000]).unwrap();
    let truth = Panel::from_labels(1000, 10, &[0; 10_000]).unwrap();
    let (classes, black) = (classes(), Rgb(0, 0, 0));
    let figure = SegmentationFigure {
        title: "stray",
        subtitle: "",
        scene: &scene,
        truth: Some(&truth),
        prediction: &map,
        classes: &classes,
        scores: None,
        pixel_size_m: None,
    };
    let picture = segmentation(&figure).unwrap();
    assert_eq!(count(&picture, black), 10_000 + SWATCH);
    assert_eq!(count(&picture, BLUE), SWATCH);
}

#[test]
fn bars_are_as_long_as_their_scores() {
    let classes = classes();
    let picture = |water: f64, field: Option<f64>| {
        let per_class = &[(1, Some(water)), (4, field)];
        let figure =
            JaccardFigure { title: "t", subtitle: "", classes: &classes, per_class, mean: None, intervals: None };
        jaccard_bars(&figure).unwrap()
    };
    let full = picture(1.0, Some(0.5));
    let (water, field) = (count(&full, BLUE) as f64, count(&full, ORANGE) as f64);
    assert!((field / water - 0.5).abs() < 1e-3, "{field} of {water}");
    let nothing = picture(0.0, None);
    assert_eq!((count(&nothing, BLUE), count(&nothing, ORANGE)), (0, 0));
}

#[test]
fn a_score_gives_a_bar_to_every_class_and_none_to_absent_ones() {
    let mut matrix = ConfusionMatrix::new();
    matrix.add(&[1, 1, 2], &[1, 2, 2], None).unwrap();
    let score = Score::of_classes(&matrix, &classes());
    assert_eq!(JaccardFigure::per_class_of(&score, &classes()), [(1, Some(0.5)), (4, None)]);
}

#[test]
fn heat_map_is_darkest_where_all_pixels_of_a_class_are() {
    let classes = classes();
    let picture = |counts: &[Vec<u64>]| {
        let figure = ConfusionFigure { title: "t", subtitle: "", classes: &classes, labels: &[1, 4], counts };
        confusion(&figure).unwrap()
    };
    let darkest = Rgb(0x0b, 0x4a, 0x82);
    let right = count(&picture(&[vec![7, 0], vec![0, 120_560_400]]), darkest);
    let half = count(&picture(&[vec![7, 0], vec![60, 60]]), darkest);
    let none = count(&picture(&[vec![1, 1], vec![1, 1]]), darkest);
    // The last row of the colour bar is of that shade, too.
    assert!(none <= 30 && half > 20_000 && right > half * 19 / 10, "{none} {half} {right}");
    picture(&[vec![0, 0], vec![3, 4]]);
}

#[test]
fn curves_bear_gaps_single_epochs_and_a_best_epoch_that_is_not_there() {
    let epoch = |epoch, loss: f64| Epoch {
        epoch,
        train_loss: loss,
        holdout_loss: (epoch % 3 > 0).then_some(loss * 1.1),
        holdout_jaccard: (epoch % 2 > 0).then_some(0.4),
    };
    let picture = |epochs: &[Epoch], best_epoch| {
        curves(&CurvesFigure { title: "Training", subtitle: "", epochs, best_epoch }).unwrap()
    };
    let many: Vec<Epoch> = (1..=9).map(|i| epoch(i, 1.0 / i as f64)).collect();
    let marked = picture(&many, Some(7));
    assert_ne!(marked, picture(&many, None));
    assert_eq!(picture(&many, Some(99)), picture(&many, None));
    picture(&[epoch(1, f64::NAN)], Some(1));
    picture(&[epoch(17, 0.5)], Some(17));
    let nan: Vec<Epoch> = (1..=4).map(|i| epoch(i, if i == 2 { f64::INFINITY } else { 0.5 })).collect();
    picture(&nan, Some(1));
}

#[test]
fn what_cannot_be_drawn_says_why() {
    let scene = Panel::from_rgb(4, 4, &[0; 48], None).unwrap();
    let map = Panel::from_labels(4, 4, &[1; 16]).unwrap();
    let other = Panel::from_labels(4, 3, &[1; 12]).unwrap();
    let (empty_scene, empty_map) = (Panel::from_rgb(0, 7, &[], None).unwrap(), Panel::from_labels(0, 7, &[]).unwrap());
    let classes = classes();
    let draw = |scene, truth, prediction| {
        let (title, subtitle) = ("t", "");
        let (classes, scores, pixel_size_m) = (&classes, None, None);
        segmentation(&SegmentationFigure { title, subtitle, scene, truth, prediction, classes, scores, pixel_size_m })
            .unwrap_err()
    };
    let error = draw(&scene, Some(&other), &map).to_string();
    assert_eq!(error, "the truth covers 4 x 3 pixels and the scene 4 x 4: both must be the same grid");
    let error = draw(&scene, None, &scene).to_string();
    assert_eq!(error, "the prediction panel holds a picture, expected label codes");
    assert!(matches!(draw(&map, None, &map), FigureError::PanelKind { what: "scene", .. }));
    assert!(matches!(draw(&empty_scene, None, &empty_map), FigureError::Empty(..)));

    let bars =
        JaccardFigure { title: "t", subtitle: "", classes: &classes, per_class: &[], mean: None, intervals: None };
    assert!(matches!(jaccard_bars(&bars), Err(FigureError::Empty(..))));
    let none = CurvesFigure { title: "t", subtitle: "", epochs: &[], best_epoch: None };
    assert!(matches!(curves(&none), Err(FigureError::Empty(..))));
    let crooked = ConfusionFigure {
        title: "t",
        subtitle: "",
        classes: &classes,
        labels: &[1, 4],
        counts: &[vec![1, 2], vec![3]],
    };
    assert!(matches!(confusion(&crooked), Err(FigureError::NotSquare { labels: 2, rows: 2, columns: 1 })));
}

#[test]
fn two_hundred_classes_are_still_a_picture() {
    let class =
        |code| Class { code, name: format!("class {code} with a name of thirty letters"), color: Rgb(code, 99, 7) };
    let classes = ClassTable::new((1..=200).map(class).collect());
    let labels: Vec<i64> = (1..=200).collect();
    let counts: Vec<Vec<u64>> = (0..200).map(|i| (0..200).map(|j| u64::from(i == j)).collect()).collect();
    let figure = ConfusionFigure { title: "t", subtitle: "", classes: &classes, labels: &labels, counts: &counts };
    let picture = confusion(&figure).unwrap();
    assert!(picture.width() < 10_000, "{picture:?}");
    assert!(count(&picture, Rgb(0x0b, 0x4a, 0x82)) > 200 * 36 * 36);
}
