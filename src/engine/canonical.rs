//! One spelling for every JSON value, so that equal records have equal bytes.
//!
//! The rules, version 1 (a change of any of them is a new record version):
//! - no white space; object keys sorted by their UTF-8 bytes; arrays in their order;
//! - strings as JSON with the fewest escapes (`"`, `\` and control characters only);
//! - a number that is whole and below 2^53 in size is written as a decimal integer, however it was spelt: `1`, `1.0`
//!   and `1e0` are one value, and so are `-0.0` and `0`;
//! - integers beyond that in decimal; every other number in the shortest form `d.ddde±x` that reads back as the same
//!   f64 (`2e-3`, `1.5e0`).

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// 2^53: below it every whole f64 is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The canonical text of a value.
pub(super) fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => write_array(out, items),
        Value::Object(map) => write_object(out, map),
    }
}

fn write_number(out: &mut String, number: &Number) {
    // Writing to a String cannot fail; the results are ignored for that reason.
    if let Some(n) = number.as_i64() {
        let _ = write!(out, "{n}");
    } else if let Some(n) = number.as_u64() {
        let _ = write!(out, "{n}");
    } else {
        let x = number.as_f64().unwrap_or(0.0);
        if x.fract() == 0.0 && x.abs() < EXACT {
            let _ = write!(out, "{}", x as i64);
        } else {
            let _ = write!(out, "{x:e}");
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_array(out: &mut String, items: &[Value]) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_value(out, item);
    }
    out.push(']');
}

fn write_object(out: &mut String, map: &Map<String, Value>) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (i, (key, value)) in entries.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canon(json: &str) -> String {
        canonical_json(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn key_order_and_spelling_do_not_matter() {
        assert_eq!(
            canon(r#"{"b": [1, 2.50], "a": {"d": null, "c": true}}"#),
            r#"{"a":{"c":true,"d":null},"b":[1,2.5e0]}"#
        );
        assert_eq!(canon(r#"{"a":0.002}"#), canon(r#"{"a":2e-3}"#));
        assert_eq!(canon("[1, 1.0, 1e0, -0.0, 0]"), "[1,1,1,0,0]");
    }

    #[test]
    fn different_values_stay_different() {
        let texts = [
            "1",
            "1.0000000000000002",
            "\"1\"",
            "true",
            "null",
            "[]",
            "{}",
            "\"\"",
            "-1",
            "9007199254740993",
            "9007199254740992.0",
            "18446744073709551615",
            "1e300",
        ];
        let all: std::collections::BTreeSet<_> = texts.iter().map(|t| canon(t)).collect();
        assert_eq!(all.len(), texts.len(), "{all:?}");
    }

    #[test]
    fn strings_are_quoted_and_stay_utf8() {
        assert_eq!(canonical_json(&Value::from("å\"\\\n\u{1}")), "\"å\\\"\\\\\\u000a\\u0001\"");
    }

    #[test]
    fn canonical_text_is_json_and_a_fixed_point() {
        let text = canon(r#"{"x": 1e-7, "s": "a\tb", "n": [123456.789, -2.5e300], "u": "\u00e6"}"#);
        assert_eq!(canon(&text), text);
    }
}
