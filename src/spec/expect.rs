//! Types in words: "a whole number from 1 to 512".

use super::kind::{ParamType, VariantSpec};

impl ParamType {
    /// What a value of this type is, to follow "expected".
    pub fn words(&self) -> String {
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Int { min, max } => int_words(*min, *max),
            Self::IntOrWord { min, max, word } => format!("{} or `{word}`", int_words(*min, *max)),
            Self::Float { min, max } => float_words(*min, *max),
            Self::Text => "a text".to_owned(),
            Self::Choice(words) => one_of(words.iter().copied()),
            Self::Duration => "a duration such as `90s` or `1h30m`".to_owned(),
            Self::Files => "a path or glob of files".to_owned(),
            Self::List(item) => format!("a list, each item {}", item.words()),
            Self::Object(params) => {
                format!("a map with {}", params.iter().map(|p| format!("`{}`", p.name)).collect::<Vec<_>>().join(", "))
            }
            Self::Variant(variants) => format!("a map whose `kind` is {}", one_of(variant_names(variants))),
            Self::Class => "a class, by name or label code".to_owned(),
            Self::Variable => "the name of an environment variable".to_owned(),
            Self::Variables => "a map of environment variables".to_owned(),
        }
    }
}

pub(super) fn variant_names(variants: &[VariantSpec]) -> impl Iterator<Item = &'static str> {
    variants.iter().map(|v| v.kind)
}

/// "`a`, `b` or `c`".
pub(super) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn int_words(min: i64, max: i64) -> String {
    match (min == i64::MIN, max == i64::MAX) {
        (true, true) => "a whole number".to_owned(),
        (false, true) => format!("a whole number of at least {min}"),
        (true, false) => format!("a whole number of at most {max}"),
        (false, false) => format!("a whole number from {min} to {max}"),
    }
}

fn float_words(min: f64, max: f64) -> String {
    // The smallest positive number as a bound is how a kind says "more than 0".
    let positive = min == f64::MIN_POSITIVE;
    match (min <= f64::MIN, max >= f64::MAX, positive) {
        (true, true, _) => "a number".to_owned(),
        (false, true, false) => format!("a number of at least {min}"),
        (false, true, true) => "a number above 0".to_owned(),
        (true, false, _) => format!("a number of at most {max}"),
        (false, false, false) => format!("a number from {min} to {max}"),
        (false, false, true) => format!("a number above 0, up to {max}"),
    }
}
