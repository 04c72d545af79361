//! The score as a file, the tables, merging, and bad input.

use s2pipe::metrics::{Average, ConfusionMatrix, MetricsError, Score, ScoreOptions, confusion_csv, metrics_csv};
use s2pipe::raster::{Class, ClassTable, Rgb};

fn classes() -> ClassTable {
    let names = [(1, "urban"), (2, "crops, mixed"), (5, "wetland \"myr\""), (6, "water")];
    ClassTable::new(
        names.into_iter().map(|(code, name)| Class { code, name: name.to_owned(), color: Rgb(0, 0, 0) }).collect(),
    )
}

/// Class 5 is nowhere; class 6 is in the truth and never predicted.
fn matrix() -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new();
    matrix.add(&[0, 1, 1, 1, 2, 2, 6, 6], &[2, 1, 1, 2, 2, 2, 1, 2], Some(0)).expect("arrays of one length");
    matrix
}

#[test]
fn score_says_how_absent_classes_were_counted() {
    let score = Score::of_classes(&matrix(), &classes());
    assert_eq!(score.labels, [1, 2, 6]);
    assert_eq!(score.absent, [5]);
    assert_eq!(score.mean, Some((0.5 + 0.5 + 0.0) / 3.0));
    assert_eq!(
        score.notes,
        [
            "label 5 is in neither truth nor prediction: left out of the mean",
            "label 6 is in the truth but never predicted: its Jaccard is 0, and counts",
        ]
    );
}

#[test]
fn absent_labels_asked_for_count_with_zero_division() {
    let options = ScoreOptions { labels: Some(vec![1, 5]), zero_division: 1.0, ..ScoreOptions::default() };
    let score = Score::new(&matrix(), &options).unwrap();
    assert_eq!(score.mean, Some(0.75));
    assert_eq!(score.absent, [5]);
    assert!(
        score.notes.contains(&"label 5 is in neither truth nor prediction: it was asked for, and counts with 1".into())
    );
    assert!(score.notes.contains(&"label 2 occurs but was not asked for: left out of the mean".into()));
}

#[test]
fn score_json_has_the_promised_shape_and_reads_back() {
    let score = Score::of_classes(&matrix(), &classes());
    let json: serde_json::Value = serde_json::to_value(&score).unwrap();
    assert_eq!(json["score"], "s2pipe.score/1");
    assert_eq!(json["labels"], serde_json::json!([1, 2, 6]));
    assert_eq!(json["jaccard"]["1"], 0.5);
    assert_eq!(json["support"]["6"], 2);
    assert_eq!(json["confusion"], serde_json::json!([[2, 1, 0], [0, 2, 0], [1, 1, 0]]));
    assert_eq!(json["average"], "macro");
    assert_eq!(serde_json::from_value::<Score>(json.clone()).unwrap(), score);

    let mut newer = json;
    newer["score"] = "s2pipe.score/2".into();
    let error = serde_json::from_value::<Score>(newer).unwrap_err().to_string();
    assert!(error.contains("s2pipe.score/2") && error.contains("score the map again"), "{error}");
}

#[test]
fn without_an_average_there_is_no_mean() {
    let options = ScoreOptions { average: Average::None, ..ScoreOptions::default() };
    let score = Score::new(&matrix(), &options).unwrap();
    assert_eq!((score.mean, score.means.f1), (None, None));
    assert_eq!(score.jaccard[&1], 0.5);
}

#[test]
fn tables_quote_names_and_leave_absent_scores_empty() {
    let score = Score::of_classes(&matrix(), &classes());
    let lines: Vec<String> = metrics_csv(&score, &classes()).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "code,name,jaccard,precision,recall,f1,support,predicted");
    assert!(lines[1].starts_with("1,urban,0.5,0.6666666666666666,0.6666666666666666,"), "{}", lines[1]);
    assert!(lines[2].starts_with("2,\"crops, mixed\",0.5,"), "{}", lines[2]);
    assert_eq!(lines[3], "5,\"wetland \"\"myr\"\"\",,,,,0,0");
    assert!(lines[5].starts_with(",mean,0.3333333333333333,"), "{}", lines[5]);
    assert_eq!(
        confusion_csv(&score, &classes()),
        "truth \\ prediction,1 urban,\"2 crops, mixed\",6 water\n1 urban,2,1,0\n\"2 crops, mixed\",0,2,0\n6 water,1,1,0\n"
    );
}

#[test]
fn scenes_merge_into_the_matrix_of_all_pixels() {
    let (truth, prediction) = ([1, 1, 2, 0, 6, 6, 6, 1], [1, 2, 2, 2, 6, 1, 6, 1]);
    let mut whole = ConfusionMatrix::new();
    whole.add(&truth, &prediction, Some(0)).unwrap();
    let mut sum = ConfusionMatrix::new();
    for (t, p) in truth.chunks(3).zip(prediction.chunks(3)) {
        let mut scene = ConfusionMatrix::new();
        scene.add(t, p, Some(0)).unwrap();
        sum.merge(&scene);
    }
    assert_eq!(sum, whole);
    let labels = whole.labels();
    assert_eq!(ConfusionMatrix::from_counts(&labels, &whole.dense(&labels)).unwrap(), whole);
}

#[test]
fn bad_input_is_refused_with_the_numbers() {
    let mut matrix = ConfusionMatrix::new();
    let error = matrix.add(&[1, 2, 3], &[1, 2], None).unwrap_err();
    assert_eq!(error, MetricsError::LengthMismatch { truth: 3, prediction: 2 });
    assert_eq!(matrix.total(), 0);
    let ragged = ConfusionMatrix::from_counts(&[1, 2], &[vec![1, 2], vec![3]]).unwrap_err();
    assert_eq!(ragged, MetricsError::CountsShape { row: 1, expected: 2, found: 1 });
    assert!(matches!(
        ConfusionMatrix::from_counts(&[1, 2], &[vec![1, 2]]),
        Err(MetricsError::CountsShape { row: 1, .. })
    ));
    assert_eq!(ConfusionMatrix::from_counts(&[1, 1], &[]).unwrap_err(), MetricsError::DuplicateLabel(1));
    let twice = ScoreOptions { labels: Some(vec![3, 3]), ..ScoreOptions::default() };
    assert_eq!(Score::new(&matrix, &twice).unwrap_err(), MetricsError::DuplicateLabel(3));
    let nan = ScoreOptions { zero_division: f64::NAN, ..ScoreOptions::default() };
    assert!(matches!(Score::new(&matrix, &nan), Err(MetricsError::ZeroDivision(_))));
}
