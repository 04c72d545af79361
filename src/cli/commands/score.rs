//! `s2pipe score`: any label map against its truth.

use std::path::Path;

use rayon::prelude::*;

use crate::cli::args::{AverageArg, ScoreArgs};
use crate::cli::failure::Failure;
use crate::cli::output::{Align, Table, print, print_json};
use crate::metrics::{Average, ConfusionMatrix, Score, ScoreOptions};
use crate::net::Buffers;
use crate::raster::{Reader, Samples, Window};

/// Rows compared by one thread at a time.
const STRIP_ROWS: usize = 256;

/// Scores `--pred` against `--truth`.
pub(in crate::cli) fn score(args: &ScoreArgs) -> Result<(), Failure> {
    Buffers::keep();
    let ignore = read_ignore(&args.ignore)?;
    let matrix = compare(&args.truth, &args.pred, ignore)?;
    let options = ScoreOptions {
        labels: (!args.labels.is_empty()).then(|| args.labels.clone()),
        declared: Vec::new(),
        average: match args.average {
            AverageArg::None => Average::None,
            AverageArg::Macro => Average::Macro,
            AverageArg::Micro => Average::Micro,
            AverageArg::Weighted => Average::Weighted,
        },
        zero_division: args.zero_division,
    };
    let score = Score::new(&matrix, &options).map_err(Failure::usage)?;
    if args.json { print_json(&score) } else { print(&as_text(&score)) }
}

fn read_ignore(text: &str) -> Result<Option<i64>, Failure> {
    match text {
        "none" => Ok(None),
        _ => text
            .parse()
            .map(Some)
            .map_err(|_| Failure::usage(format!("--ignore {text}: expected a label code, or `none`"))),
    }
}

fn compare(truth: &Path, pred: &Path, ignore: Option<i64>) -> Result<ConfusionMatrix, Failure> {
    let truth = Reader::open(truth).map_err(Failure::failed)?;
    let pred = Reader::open(pred).map_err(Failure::failed)?;
    if let Err(mismatch) = pred.info().same_grid(truth.info()) {
        return Err(Failure::failed(mismatch.between("the prediction", "the truth")).help(
            "both rasters must lie on the same pixels: warp one with nearest neighbour (gdalwarp -r near)".to_owned(),
        ));
    }
    for reader in [&truth, &pred] {
        if reader.info().bands != 1 {
            let (path, bands) = (reader.info().path.display(), reader.info().bands);
            return Err(Failure::failed(format!("{path}: has {bands} bands, a label raster has one")));
        }
    }
    let windows: Vec<Window> = truth.row_blocks(STRIP_ROWS).collect();
    let strips: Vec<_> = windows.into_par_iter().map(|window| compare_strip(&truth, &pred, window, ignore)).collect();
    let mut matrix = ConfusionMatrix::new();
    // In order: where several strips are bad, the first is told.
    for strip in strips {
        matrix.merge(&strip?);
    }
    Ok(matrix)
}

fn compare_strip(
    truth: &Reader,
    pred: &Reader,
    window: Window,
    ignore: Option<i64>,
) -> Result<ConfusionMatrix, Failure> {
    let mut matrix = ConfusionMatrix::new();
    let t = truth.read_window(window).map_err(Failure::failed)?;
    let p = pred.read_window(window).map_err(Failure::failed)?;
    match (&t, &p) {
        // A code beyond a byte occurs in no uint8 raster: nothing is left out then.
        (Samples::U8(t), Samples::U8(p)) => matrix.add(t, p, ignore.and_then(|code| u8::try_from(code).ok())),
        _ => matrix.add_i64(&labels(truth, &t)?, &labels(pred, &p)?, ignore),
    }
    .map_err(Failure::failed)?;
    Ok(matrix)
}

/// Whole numbers as labels; anything else is no label raster.
fn labels(reader: &Reader, samples: &Samples) -> Result<Vec<i64>, Failure> {
    (0..samples.len())
        .map(|i| {
            let value = samples.get_f64(i).unwrap_or(f64::NAN);
            if value.fract() == 0.0 && value.abs() < 9e15 {
                return Ok(value as i64);
            }
            Err(Failure::failed(format!("{}: holds {value}, which is no label code", reader.info().path.display())))
        })
        .collect()
}

fn as_text(score: &Score) -> String {
    let mut table = Table::new([
        ("label", Align::Right),
        ("Jaccard", Align::Right),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
        ("truth px", Align::Right),
        ("map px", Align::Right),
    ]);
    for label in &score.labels {
        table.row([
            label.to_string(),
            format!("{:.4}", score.jaccard[label]),
            format!("{:.4}", score.precision[label]),
            format!("{:.4}", score.recall[label]),
            format!("{:.4}", score.f1[label]),
            score.support[label].to_string(),
            score.predicted[label].to_string(),
        ]);
    }
    let mut text = table.render("");
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    text += &format!(
        "\nmean Jaccard  {}\naccuracy      {}\nkappa         {}\n",
        number(score.mean),
        number(score.accuracy),
        number(score.kappa)
    );
    for note in &score.notes {
        text += &format!("note: {note}\n");
    }
    text
}
