//! What a stage may use of time and of the machine: `timeout`, `retries`, `resources`. None of it changes what comes out,
//! so none of it is ever part of a key.

use std::time::Duration;

use serde_json::{Value, json};

/// The limits of a stage. They hold for each of its tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `timeout:` of one attempt.
    pub timeout: Option<Duration>,
    /// `retries:` after a failure, 0 by default.
    pub retries: u32,
    /// `resources:` that it holds while it runs.
    pub resources: Resources,
}

/// What a task holds while it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resources {
    /// `cpus:`; `None`: what the kind makes good use of.
    pub cpus: Option<Cpus>,
    /// `memory:` in bytes.
    pub memory: Option<u64>,
    /// `gpus:`, 0 by default.
    pub gpus: u32,
}

/// How many processors a task holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cpus {
    /// All that the run may use: the task runs alone.
    All,
    /// This many, at least 1.
    Count(u32),
}

impl Limits {
    /// `{"timeout_seconds","retries","resources":{"cpus","memory_bytes","gpus"}}`.
    pub fn to_json(&self) -> Value {
        let cpus = self.resources.cpus.map(|cpus| match cpus {
            Cpus::All => json!("all"),
            Cpus::Count(count) => json!(count),
        });
        json!({
            "timeout_seconds": self.timeout.map(|t| t.as_secs()),
            "retries": self.retries,
            "resources": { "cpus": cpus, "memory_bytes": self.resources.memory, "gpus": self.resources.gpus },
        })
    }
}

/// Units of memory, the decimal ones first.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// What an amount of memory looks like, as a regular expression.
pub(super) const MEMORY_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$";

/// Reads an amount of memory such as `8GB`, `512MiB` or `1.5GB` as bytes.
///
/// # Errors
/// What to do about it, for a help line.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at(digits);
    let example = || "write a number and a unit, such as `512MB`, `8GB` or `16GiB`".to_owned();
    let whole = number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.');
    let Some(amount) = number.parse::<f64>().ok().filter(|_| whole) else { return Err(example()) };
    if unit.is_empty() {
        return Err(format!("it has no unit: write `{text}MB` or `{text}GB`"));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let meant = |name: &str| name.eq_ignore_ascii_case(unit.trim()) || name[..1].eq_ignore_ascii_case(unit);
        let near = UNITS.iter().rev().find(|(name, _)| *name != "B" && meant(name) && !name.contains('i'));
        let near = near.or_else(|| UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim())));
        let names: Vec<String> = UNITS.iter().map(|(name, _)| format!("`{name}`")).collect();
        let list = format!("the units are {}", names.join(", "));
        return Err(near.map_or_else(|| list.clone(), |(name, _)| format!("write `{number}{name}`; {list}")));
    };
    let bytes = (amount * *factor as f64).round();
    // Beyond 2^53 bytes (9 PB) a float no longer counts in ones, and no machine has so much.
    if bytes < 9e15 { Ok(bytes as u64) } else { Err("it is more than any machine has".to_owned()) }
}

/// An amount of memory in words: `16 GB`, `1.5 GB`.
pub fn bytes_words(bytes: u64) -> String {
    let (unit, factor) = UNITS[..5].iter().rev().find(|(_, factor)| bytes >= *factor).unwrap_or(&UNITS[0]);
    let text = format!("{:.1}", bytes as f64 / *factor as f64);
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::{bytes_words, parse_bytes};

    #[test]
    fn amounts_of_memory_are_read_as_bytes() {
        for (text, bytes) in [
            ("0B", 0),
            ("1B", 1),
            ("64kB", 64_000),
            ("512MB", 512_000_000),
            ("8GB", 8_000_000_000),
            ("1.5GB", 1_500_000_000),
            ("2TB", 2_000_000_000_000),
            ("4KiB", 4096),
            ("1MiB", 1 << 20),
            ("16GiB", 16 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_of_memory_is_refused_with_advice() {
        for (text, advice) in [
            ("8", "`8GB`"),
            ("8gb", "write `8GB`"),
            ("8G", "write `8GB`"),
            ("8 GB", "write `8GB`"),
            ("8kb", "write `8kB`"),
            ("8gib", "write `8GiB`"),
            ("8PB", "the units are `B`, `kB`"),
            ("much", "`512MB`"),
            ("", "`512MB`"),
            (".5GB", "`512MB`"),
            ("1.GB", "`512MB`"),
            ("1.2.3GB", "`512MB`"),
            ("-1GB", "`512MB`"),
            ("99999999TB", "more than any machine"),
        ] {
            let help = parse_bytes(text).unwrap_err();
            assert!(help.contains(advice), "{text}: {help}");
        }
    }

    #[test]
    fn amounts_are_shown_short() {
        let words = [0, 999, 1000, 1_500_000, 16 << 30, 64_000_000_000].map(bytes_words);
        assert_eq!(words, ["0 B", "999 B", "1 kB", "1.5 MB", "17.2 GB", "64 GB"]);
    }
}
