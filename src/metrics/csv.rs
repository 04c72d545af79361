//! Scores as tables for spreadsheets and R: RFC 4180, comma, a header, `\n` line ends.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::score::{Means, Score};
use crate::raster::ClassTable;

/// One row a label (scored or absent, ascending), then one with the means. Fields: `code,name,jaccard,precision,recall,
/// f1,support,predicted`; an absent label's scores are empty, so that no reader takes them for 0.
pub fn metrics_csv(score: &Score, classes: &ClassTable) -> String {
    let mut csv = String::from("code,name,jaccard,precision,recall,f1,support,predicted\n");
    let codes: BTreeSet<i64> = score.labels.iter().chain(&score.absent).copied().collect();
    for code in codes {
        let fields = [
            code.to_string(),
            name(code, classes),
            optional(score.jaccard.get(&code)),
            optional(score.precision.get(&code)),
            optional(score.recall.get(&code)),
            optional(score.f1.get(&code)),
            score.support.get(&code).unwrap_or(&0).to_string(),
            score.predicted.get(&code).unwrap_or(&0).to_string(),
        ];
        csv_row(&mut csv, &fields);
    }
    let Means { precision, recall, f1 } = &score.means;
    let total = |pixels: &std::collections::BTreeMap<i64, u64>| pixels.values().sum::<u64>().to_string();
    let fields = [
        String::new(),
        "mean".to_owned(),
        optional(score.mean.as_ref()),
        optional(precision.as_ref()),
        optional(recall.as_ref()),
        optional(f1.as_ref()),
        total(&score.support),
        total(&score.predicted),
    ];
    csv_row(&mut csv, &fields);
    csv
}

/// The confusion matrix in pixels: a row a true label, a column a predicted label, headed by codes and names.
pub fn confusion_csv(score: &Score, classes: &ClassTable) -> String {
    let head = |code: i64| match name(code, classes) {
        name if name.is_empty() => code.to_string(),
        name => format!("{code} {name}"),
    };
    let mut csv = String::new();
    let header: Vec<String> =
        std::iter::once("truth \\ prediction".to_owned()).chain(score.labels.iter().map(|&code| head(code))).collect();
    csv_row(&mut csv, &header);
    for (&code, counts) in score.labels.iter().zip(&score.confusion) {
        let row: Vec<String> =
            std::iter::once(head(code)).chain(counts.iter().map(|count| count.to_string())).collect();
        csv_row(&mut csv, &row);
    }
    csv
}

fn name(code: i64, classes: &ClassTable) -> String {
    u8::try_from(code).ok().and_then(|code| classes.by_code(code)).map_or_else(String::new, |class| class.name.clone())
}

fn optional<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(String::new, ToString::to_string)
}

/// Adds a row, fields quoted where they must be.
pub fn csv_row(csv: &mut String, fields: &[String]) {
    let quoted: Vec<String> = fields.iter().map(|field| quote(field)).collect();
    csv.push_str(&quoted.join(","));
    csv.push('\n');
}

fn quote(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
