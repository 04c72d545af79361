//! What a scalar of YAML means: numbers, truth values, text. Which is which is decided by `serde_yaml`
//! (YAML 1.2 core schema).

use serde_yaml::Value;

/// A scalar: its text, and what YAML takes it for.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) atom: Atom,
    pub(super) quoted: bool,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Atom {
    Null,
    Bool(bool),
    Int(i128),
    /// May be infinite or not a number.
    Float(f64),
    Text,
}

impl Scalar {
    pub(super) fn plain(text: &str) -> Self {
        Self { atom: resolve(text), text: text.to_owned(), quoted: false }
    }

    pub(super) fn quoted(text: &str) -> Self {
        Self { atom: Atom::Text, text: text.to_owned(), quoted: true }
    }

    /// "the text `abc`", "the number 3": for "expected …, found …".
    pub(super) fn found(&self) -> String {
        let text = shorten(&self.text);
        match self.atom {
            Atom::Null => "nothing".to_owned(),
            Atom::Bool(b) => format!("`{b}`"),
            Atom::Int(_) | Atom::Float(_) => format!("the number `{text}`"),
            Atom::Text if self.quoted => format!("the quoted text \"{text}\""),
            Atom::Text => format!("the text `{text}`"),
        }
    }
}

/// The first line of a text, cut to a length that fits a message.
pub(super) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    let cut = line.len() < text.trim_end().len() || line.chars().count() > 60;
    let line: String = line.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect();
    if cut { format!("{line}…") } else { line }
}

fn resolve(text: &str) -> Atom {
    if text.is_empty() {
        return Atom::Null;
    }
    // Only such texts can be anything but text; what else there is (`---`, `- x`, `a: b`) must not be read as YAML again.
    let word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._~".contains(&b));
    if !word || !(text == "~" || text.bytes().any(|b| b.is_ascii_alphanumeric())) {
        return Atom::Text;
    }
    match serde_yaml::from_str(text) {
        Ok(Value::Null) => Atom::Null,
        Ok(Value::Bool(b)) => Atom::Bool(b),
        Ok(Value::Number(n)) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Atom::Int(i.into()),
            (None, Some(u)) => Atom::Int(u.into()),
            (None, None) => Atom::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        // A whole number beyond 64 bits: too large for every parameter, but a number.
        Err(_) => text.parse().map_or(Atom::Text, Atom::Float),
        Ok(_) => Atom::Text,
    }
}

/// Advice for a scalar that was meant to be a whole number but is none.
pub(super) fn int_advice(scalar: &Scalar) -> Option<String> {
    if let Atom::Float(f) = scalar.atom {
        let whole = f.is_finite() && f.fract() == 0.0 && f.abs() < 9e15;
        return whole.then(|| format!("write `{f:.0}`"));
    }
    number_advice(scalar, |text| text.parse::<i64>().ok().map(|n| n.to_string()))
}

/// Advice for a scalar that was meant to be a number but is none.
pub(super) fn float_advice(scalar: &Scalar) -> Option<String> {
    let lower = scalar.text.to_ascii_lowercase();
    if [".nan", "nan", ".inf", "-.inf", "inf", "-inf", "infinity"].contains(&lower.as_str()) {
        return Some("the number must be finite".to_owned());
    }
    number_advice(scalar, |text| text.parse::<f64>().ok().filter(|f| f.is_finite()).map(|_| text.to_owned()))
}

fn number_advice(scalar: &Scalar, read: impl Fn(&str) -> Option<String>) -> Option<String> {
    if scalar.atom != Atom::Text {
        return None;
    }
    let text = scalar.text.trim();
    if let Some(number) = read(text) {
        let why = if scalar.quoted { "quotes make it text" } else { "YAML 1.2 takes a leading zero for text" };
        return Some(format!("{why}: write `{number}`"));
    }
    if text.contains('_') {
        return read(&text.replace('_', ""))
            .map(|number| format!("YAML 1.2 has no underscores in numbers: write `{number}`"));
    }
    if text.contains(',') {
        return text
            .replacen(',', ".", 1)
            .parse::<f64>()
            .ok()
            .map(|number| format!("numbers have a point, not a comma: write `{number}`"));
    }
    text.strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .map(|number| format!("percent signs are not known: write `{}`", number / 100.0))
}

/// Advice for a scalar that was meant to be `true` or `false`.
pub(super) fn bool_advice(scalar: &Scalar) -> Option<String> {
    let meant = match scalar.text.to_ascii_lowercase().as_str() {
        "yes" | "y" | "on" | "1" | "true" => true,
        "no" | "n" | "off" | "0" | "false" => false,
        _ => return None,
    };
    Some(match scalar.atom {
        Atom::Text if !scalar.quoted => format!("`{}` is plain text in YAML 1.2: write `{meant}`", scalar.text),
        _ => format!("write `{meant}`"),
    })
}
