//! Weights that a training begins with: those of a ResNet that was trained elsewhere, from a safetensors file with
//! torchvision's names.
//!
//! A network has all its other values from its seed. The first convolution is adapted to the bands: each gets the sum over
//! the file's bands divided by the number of bands here, for red, green and blue the mean times `3 / n`. Nothing says which
//! band is like red, so all begin alike, with the edges and textures that the filters look for; and a pixel that is equally
//! bright in all bands is answered as the same grey was, which keeps the scale that the statistics behind it were made for.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::models::Model;
use super::models::parameters::Axes;
use super::models::resnet::PREFIX;
use super::types::{NetError, Result};

/// What a file may have before torchvision's names.
const PREFIXES: [&str; 2] = [PREFIX, "backbone."];
/// The convolution that sees the bands, under torchvision's name.
const FIRST: &str = "conv1.weight";
/// Names that a report gives one by one in a sentence, at most.
const NAMED: usize = 3;

/// What became of each of the encoder's tensors, and of the file's. Names are torchvision's, sorted.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct InitReport {
    /// Taken as they are.
    pub matched: Vec<String>,
    /// The first convolution, where the file's was made for another number of bands.
    pub adapted: Vec<Adapted>,
    /// Left as they were drawn, since the file has another shape under their names.
    pub mismatched: Vec<Mismatch>,
    /// Left as they were drawn, since the file has nothing under their names.
    pub unmatched: Vec<String>,
    /// Tensors of the file, under its own names, that are none of the encoder's. The classifier (`fc`) and the counters of
    /// batches, which no encoder has, are not among them.
    pub unused: Vec<String>,
}

/// A convolution that was adapted to another number of bands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Adapted {
    /// Its name.
    pub tensor: String,
    /// Bands in the file.
    pub from_bands: usize,
    /// Bands of the model.
    pub to_bands: usize,
}

/// A tensor of one name and two shapes, both in PyTorch's order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mismatch {
    /// Its name.
    pub tensor: String,
    /// In the model.
    pub model: Vec<usize>,
    /// In the file.
    pub file: Vec<usize>,
}

/// Gives the encoder of `model`, a ResNet, the weights of the safetensors file at `path`: torchvision's names, alone or after
/// `encoder.` or `backbone.`, in f32, f16 or bf16. Either the whole file is understood and all that fits is taken, or nothing
/// is.
///
/// # Errors
/// [`NetError::Config`] where the model has no ResNet; [`NetError::Io`]; [`NetError::Weights`] where the file is no safetensors
/// file, nothing in it fits, or a tensor that fits has another type or a value that is not finite.
pub fn init(model: &Model, path: &Path) -> Result<InitReport> {
    if !model.config().has_resnet() {
        return Err(NetError::Config(format!(
            "init: weights are those of a ResNet, and `{}` has none here: say `encoder: resnet18` or `resnet34`, with unet, \
             fpn or deeplabv3plus, or leave init out",
            model.config().kind()
        )));
    }
    let bytes = std::fs::read(path).map_err(|source| NetError::Io { path: path.to_owned(), source })?;
    let wrong = |problem| NetError::Weights { path: path.to_owned(), problem };
    let (report, ready) = compare(model, &bytes).map_err(wrong)?;
    for (var, tensor) in ready {
        var.set(&tensor)?;
    }
    Ok(report)
}

/// A variable and the values that it is to get.
type Ready<'m> = Vec<(&'m Var, Tensor)>;

/// What fits, and all that is to be told about it.
fn compare<'m>(model: &'m Model, bytes: &[u8]) -> std::result::Result<(InitReport, Ready<'m>), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    let mut given = by_bare_name(&file)?;
    let (mut report, mut ready) = (InitReport::default(), Vec::new());
    let mut tensors: Vec<_> = model.tensors().filter_map(|(n, v, a)| Some((n.strip_prefix(PREFIX)?, v, a))).collect();
    tensors.sort_by_key(|(name, ..)| *name);
    for (name, var, axes) in &tensors {
        let Some((_, view)) = given.remove(*name) else {
            report.unmatched.push((*name).to_owned());
            continue;
        };
        let expected = shape_there(var, *axes)?;
        let tensor = if view.shape() == expected {
            report.matched.push((*name).to_owned());
            read(name, &view)?
        } else if let Some((from_bands, to_bands)) = other_bands(name, view.shape(), &expected) {
            report.adapted.push(Adapted { tensor: (*name).to_owned(), from_bands, to_bands });
            to_other_bands(&read(name, &view)?, to_bands).map_err(|e| format!("tensor {name}: {e}"))?
        } else {
            let file = view.shape().to_vec();
            report.mismatched.push(Mismatch { tensor: (*name).to_owned(), model: expected, file });
            continue;
        };
        ready.push((*var, axes.import(&tensor).map_err(|e| format!("tensor {name}: {e}"))?));
    }
    if ready.is_empty() {
        let shapes = tensors.iter().map(|(name, var, axes)| Ok((*name, shape_there(var, *axes)?)));
        return Err(nothing_fits(&shapes.collect::<std::result::Result<Vec<_>, String>>()?, &file, &report));
    }
    report.unused = given.into_values().map(|(full, _)| full).collect();
    report.unused.sort();
    Ok((report, ready))
}

/// The tensors of a file that an encoder may have, under torchvision's names, each with its own.
fn by_bare_name<'f>(
    file: &'f SafeTensors<'_>,
) -> std::result::Result<BTreeMap<String, (String, TensorView<'f>)>, String> {
    let mut given = BTreeMap::new();
    for (full, view) in file.iter() {
        let bare = PREFIXES.iter().find_map(|prefix| full.strip_prefix(prefix)).unwrap_or(full);
        if bare.starts_with("fc.") || bare.ends_with("num_batches_tracked") {
            continue;
        }
        if let Some((other, _)) = given.insert(bare.to_owned(), (full.to_owned(), view)) {
            let mut both = [other.as_str(), full];
            both.sort_unstable();
            let [one, other] = both;
            return Err(format!("{one} and {other} are both {bare} of an encoder: leave one of them out of the file"));
        }
    }
    Ok(given)
}

/// The shape that PyTorch gives a variable.
fn shape_there(var: &Var, axes: Axes) -> std::result::Result<Vec<usize>, String> {
    axes.export(&var.as_detached_tensor()).map(|tensor| tensor.dims().to_vec()).map_err(|e| e.to_string())
}

/// Bands in the file and in the model, where these are all that differs.
fn other_bands(name: &str, file: &[usize], model: &[usize]) -> Option<(usize, usize)> {
    match (file, model) {
        ([fo, from, fh, fw], [mo, to, mh, mw]) if name == FIRST && *from > 0 => {
            ([fo, fh, fw] == [mo, mh, mw]).then_some((*from, *to))
        }
        _ => None,
    }
}

/// `[out, m, k, k]` to `[out, n, k, k]`: the sum over the bands in `n` equal parts.
fn to_other_bands(weight: &Tensor, n: usize) -> candle_core::Result<Tensor> {
    let (out, _, height, width) = weight.dims4()?;
    (weight.sum_keepdim(1)? / n as f64)?.broadcast_as((out, n, height, width))?.contiguous()
}

/// The values of a tensor, in f32.
fn read(name: &str, view: &TensorView<'_>) -> std::result::Result<Tensor, String> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => return Err(format!("tensor {name} is {other:?}, expected F32, F16 or BF16")),
    };
    let read = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu);
    let tensor = read.and_then(|tensor| tensor.to_dtype(DType::F32)).map_err(|e| format!("tensor {name}: {e}"))?;
    let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).map_err(|e| e.to_string())?;
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(tensor),
        Some(value) => Err(format!("tensor {name} holds {value}: training cannot begin with it")),
    }
}

/// Why no tensor could be taken.
fn nothing_fits(expected: &[(&str, Vec<usize>)], file: &SafeTensors<'_>, report: &InitReport) -> String {
    let shown = |name: &str, shape: &[usize]| format!("{name} {shape:?}");
    let wanted: Vec<String> = expected.iter().map(|(name, shape)| shown(name, shape)).collect();
    let mut there: Vec<String> = file.iter().map(|(name, view)| shown(name, view.shape())).collect();
    there.sort();
    let wider = |m: &&Mismatch| m.tensor == FIRST && m.file.len() == 4 && m.file[0] != m.model[0];
    let width = report.mismatched.iter().find(wider).map_or_else(String::new, |m| {
        format!("; its network has a width of {} and the model one of {}: make them the same", m.file[0], m.model[0])
    });
    format!(
        "no tensor has name and shape of one of the encoder's: expected torchvision's, alone or after `encoder.` or \
         `backbone.`, such as {}; found {}{width}",
        listed(&wanted),
        if there.is_empty() { "no tensor at all".to_owned() } else { listed(&there) }
    )
}

/// The first few, and how many there are besides.
fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names[..names.len() - more].join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

impl InitReport {
    /// In a sentence, of a file of this name.
    #[must_use]
    pub fn sentence(&self, file: &str) -> String {
        let taken = self.matched.len() + self.adapted.len();
        let all = taken + self.mismatched.len() + self.unmatched.len();
        let mut text = format!("init: {taken} of {all} tensors of the encoder from {file}");
        for Adapted { tensor, from_bands, to_bands } in &self.adapted {
            text += &format!("; {tensor} adapted from {from_bands} to {to_bands} bands");
        }
        let other = |m: &Mismatch| format!("{} ({:?} in the file, {:?} here)", m.tensor, m.file, m.model);
        let mismatched: Vec<String> = self.mismatched.iter().map(other).collect();
        for (what, names) in [
            ("left as drawn, of another shape", &mismatched),
            ("left as drawn, not in the file", &self.unmatched),
            ("not used of the file", &self.unused),
        ] {
            if !names.is_empty() {
                text += &format!("; {what}: {}", listed(names));
            }
        }
        text
    }
}
