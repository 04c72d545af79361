//! Where two files of a kind that we write begin to differ, in words.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::raster::Reader;

/// Says what the first difference between two files is: a tensor, a pixel, a value, a line or a byte, by what they hold.
pub fn difference(old: &Path, new: &Path) -> String {
    let (Ok(a), Ok(b)) = (fs::read(old), fs::read(new)) else { return "cannot be read".to_owned() };
    if a == b {
        return "holds the same bytes".to_owned();
    }
    tensors(&a, &b)
        .or_else(|| rasters(old, new))
        .or_else(|| documents(&a, &b))
        .or_else(|| lines(&a, &b))
        .unwrap_or_else(|| bytes(&a, &b))
}

/// Both are safetensors: the first tensor, by name, that is not the same.
fn tensors(a: &[u8], b: &[u8]) -> Option<String> {
    let (a, b) = (SafeTensors::deserialize(a).ok()?, SafeTensors::deserialize(b).ok()?);
    let mut names: Vec<&str> = a.names().into_iter().chain(b.names()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        match (a.tensor(name), b.tensor(name)) {
            (Ok(x), Ok(y)) if x.dtype() == y.dtype() && x.shape() == y.shape() => {
                if x.data() != y.data() {
                    return Some(format!("tensor {name} {:?}: {}", x.shape(), values(&x, &y)));
                }
            }
            (Ok(x), Ok(y)) => {
                let (was, is) = ((x.dtype(), x.shape()), (y.dtype(), y.shape()));
                return Some(format!("tensor {name}: was {was:?}, is {is:?}"));
            }
            (Ok(_), Err(_)) => return Some(format!("tensor {name} is not there any more")),
            _ => return Some(format!("tensor {name} was not there before")),
        }
    }
    Some("the tensors are the same, the header is not".to_owned())
}

/// `3 of 864 values differ, the first at 5: 0.1 -> 0.2; at most by 0.1`, for floats; the place alone otherwise.
fn values(x: &TensorView<'_>, y: &TensorView<'_>) -> String {
    let size = (x.dtype().bitsize() / 8).max(1);
    let pairs = || x.data().chunks_exact(size).zip(y.data().chunks_exact(size));
    let differing = pairs().filter(|(a, b)| a != b).count();
    let first = pairs().position(|(a, b)| a != b).unwrap_or(0);
    let mut text = format!("{differing} of {} values differ, the first at {first}", x.data().len() / size);
    let number = |bytes: &[u8]| match x.dtype() {
        Dtype::F32 => bytes.try_into().map(f32::from_le_bytes).map(f64::from).ok(),
        Dtype::F64 => bytes.try_into().map(f64::from_le_bytes).ok(),
        _ => None,
    };
    let both = |(a, b): (&[u8], &[u8])| Some((number(a)?, number(b)?));
    if let Some((was, is)) = pairs().nth(first).and_then(both) {
        let most = pairs().filter_map(both).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Writing to a string cannot fail.
        let _ = write!(text, ": {was} -> {is}; at most by {most:e}");
    }
    text
}

/// Both are rasters of the same shape: the first pixel.
fn rasters(old: &Path, new: &Path) -> Option<String> {
    let (old, new) = (Reader::open(old).ok()?, Reader::open(new).ok()?);
    let shape = |r: &Reader| (r.info().width, r.info().height, r.info().bands);
    if shape(&old) != shape(&new) {
        let ((w, h, b), (w2, h2, b2)) = (shape(&old), shape(&new));
        return Some(format!("was {w}x{h} px with {b} bands, is {w2}x{h2} px with {b2}"));
    }
    let (width, height, bands) = shape(&old);
    let (a, b) = (old.read_all().ok()?, new.read_all().ok()?);
    let differs = |i: &usize| a.get_f64(*i) != b.get_f64(*i);
    let count = (0..a.len()).filter(differs).count();
    let Some(first) = (0..a.len()).find(differs) else {
        return Some("the pixels are the same, what is written about them is not".to_owned());
    };
    let (band, row, column) = (first / (width * height), first / width % height, first % width);
    let value = |samples: &crate::raster::Samples| samples.get_f64(first).unwrap_or(f64::NAN);
    let (was, is) = (value(&a), value(&b));
    let of_band = if bands > 1 { format!("band {}, ", band + 1) } else { String::new() };
    let all = a.len();
    Some(format!("{count} of {all} pixels differ, the first at {of_band}row {row}, column {column}: {was} -> {is}"))
}

/// Both are JSON: the first value, by its dotted name.
fn documents(a: &[u8], b: &[u8]) -> Option<String> {
    let (a, b): (Value, Value) = (serde_json::from_slice(a).ok()?, serde_json::from_slice(b).ok()?);
    Some(value("", &a, &b).unwrap_or_else(|| "the values are the same, the spelling is not".to_owned()))
}

fn value(name: &str, a: &Value, b: &Value) -> Option<String> {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let gone = y.keys().filter(|key| !x.contains_key(*key));
            let null = Value::Null;
            x.keys()
                .chain(gone)
                .find_map(|key| value(&below(key), x.get(key).unwrap_or(&null), y.get(key).unwrap_or(&null)))
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().find_map(|(index, (a, b))| value(&below(&index.to_string()), a, b))
        }
        _ if a == b => None,
        _ => Some(format!("{}: {} -> {}", if name.is_empty() { "value" } else { name }, brief(a), brief(b))),
    }
}

fn brief(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain(['…']).collect() }
}

/// Both are text: the first line.
fn lines(a: &[u8], b: &[u8]) -> Option<String> {
    let (a, b) = (std::str::from_utf8(a).ok()?, std::str::from_utf8(b).ok()?);
    let (mut x, mut y) = (a.lines(), b.lines());
    for number in 1_usize.. {
        match (x.next(), y.next()) {
            (None, None) => return Some("the lines are the same, their ends are not".to_owned()),
            (was, is) if was != is => {
                let shown = |line: Option<&str>| line.map_or_else(|| "nothing".to_owned(), |l| brief(&l.into()));
                return Some(format!("line {number}: {} -> {}", shown(was), shown(is)));
            }
            _ => {}
        }
    }
    None
}

fn bytes(a: &[u8], b: &[u8]) -> String {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    if a.len() == b.len() {
        let count = a.iter().zip(b).filter(|(x, y)| x != y).count();
        format!("{count} of {} bytes differ, the first at {same}", a.len())
    } else {
        format!("was {} bytes, is {}; they are the same up to byte {same}", a.len(), b.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn said(a: &[u8], b: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&old, a).unwrap();
        fs::write(&new, b).unwrap();
        difference(&old, &new)
    }

    fn model(weight: [f32; 3], bias: f32) -> Vec<u8> {
        let weight: Vec<u8> = weight.iter().flat_map(|v| v.to_le_bytes()).collect();
        let bias = bias.to_le_bytes();
        let view = |shape: Vec<usize>, data| TensorView::new(Dtype::F32, shape, data).unwrap();
        let tensors = BTreeMap::from([("conv.weight", view(vec![3], &weight)), ("a.bias", view(vec![1], &bias))]);
        safetensors::serialize(tensors, None).unwrap()
    }

    #[test]
    fn the_first_tensor_that_differs_is_named() {
        let old = model([1.0, 2.0, 3.0], 0.5);
        assert_eq!(
            said(&old, &model([1.0, 2.5, 4.0], 0.5)),
            "tensor conv.weight [3]: 2 of 3 values differ, the first at 1: 2 -> 2.5; at most by 1e0"
        );
        assert!(said(&old, &model([9.0, 2.0, 3.0], 0.25)).starts_with("tensor a.bias [1]: 1 of 1 values differ"));
    }

    #[test]
    fn documents_lines_and_bytes() {
        assert_eq!(said(br#"{"all":{"mean":0.5,"x":[1,2]}}"#, br#"{"all":{"mean":0.5,"x":[1,3]}}"#), "all.x.1: 2 -> 3");
        assert_eq!(said(br#"{"a":1}"#, br#"{"a":1,"b":2}"#), "b: null -> 2");
        assert_eq!(said(b"a,b\n1,2\n", b"a,b\n1,3\n"), "line 2: \"1,2\" -> \"1,3\"");
        assert_eq!(said(b"a\n", b"a\nb\n"), "line 2: nothing -> \"b\"");
        assert_eq!(said(b"\xff\x00\x01", b"\xff\x00\x02"), "1 of 3 bytes differ, the first at 2");
        assert_eq!(said(b"\xff\x00\x01", b"\xff"), "was 3 bytes, is 1; they are the same up to byte 1");
    }
}
