//! One checkpoint file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};

use super::state::{Progress, Saved, Snapshot, Weights};
use crate::net::optim::Moments;
use crate::net::segmenter::Segmenter;

/// Changes with every change of form or meaning.
const VERSION: &str = "2";

/// Names of the tensors: parameters and buffers in their order, under the network's names.
struct Names {
    parameters: Vec<(String, usize)>,
    buffers: Vec<(String, usize)>,
}

impl Names {
    fn of(network: &dyn Segmenter) -> Self {
        let list = |vars: &[(String, candle_core::Var)]| {
            vars.iter().map(|(name, var)| (name.clone(), var.elem_count())).collect()
        };
        Self { parameters: list(network.parameters()), buffers: list(network.buffers()) }
    }
}

/// f32 values as a flat tensor, little-endian as safetensors wants it on every machine.
struct Flat<'a> {
    values: &'a [f32],
    shape: [usize; 1],
}

impl<'a> Flat<'a> {
    fn new(values: &'a [f32]) -> Self {
        Self { values, shape: [values.len()] }
    }

    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}

impl View for &Flat<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.bytes())
    }

    fn data_len(&self) -> usize {
        self.values.len() * 4
    }
}

/// Writes a checkpoint to `path`, all the way to the disk.
pub(super) fn write(
    path: &Path,
    fingerprint: &str,
    network: &dyn Segmenter,
    snapshot: &Snapshot<'_>,
) -> io::Result<()> {
    let tensors = tensors_of(&Names::of(network), snapshot);
    let progress = serde_json::to_string(snapshot.progress)?;
    let digest = digest(fingerprint, &progress, tensors.iter().map(|(n, t)| (n.as_str(), Cow::Owned(t.bytes()))));
    let metadata = HashMap::from(
        [
            ("format", "s2pipe checkpoint"),
            ("version", VERSION),
            ("fingerprint", fingerprint),
            ("progress", &progress),
            ("blake3", &digest),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let views = tensors.iter().map(|(name, tensor)| (name, tensor));
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => e,
        other => io::Error::other(other),
    })?;
    std::fs::File::open(path)?.sync_all()
}

/// All tensors by name, sorted by name: the order of the digest and of the file.
fn tensors_of<'a>(names: &Names, snapshot: &'a Snapshot<'_>) -> Vec<(String, Flat<'a>)> {
    let mut tensors = Vec::new();
    let mut add = |kind: &str, names: &[(String, usize)], values: &mut dyn Iterator<Item = &'a [f32]>| {
        tensors.extend(names.iter().zip(values).map(|((name, _), v)| (format!("{kind}/{name}"), Flat::new(v))));
    };
    let mut add_weights = |kind: &str, weights: &'a Weights| {
        add(kind, &names.parameters, &mut weights.parameters.iter().map(Vec::as_slice));
        add(&format!("{kind}-buffer"), &names.buffers, &mut weights.buffers.iter().map(Vec::as_slice));
    };
    add_weights("last", &snapshot.weights);
    if let Some(best) = snapshot.best {
        add_weights("best", best);
    }
    if let Some(average) = &snapshot.average {
        add_weights("average", average);
    }
    add("first-moment", &names.parameters, &mut snapshot.moments.iter().map(|m| m.first.as_slice()));
    if snapshot.moments.iter().any(|m| !m.second.is_empty()) {
        add("second-moment", &names.parameters, &mut snapshot.moments.iter().map(|m| m.second.as_slice()));
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    tensors
}

fn digest<'a>(fingerprint: &str, progress: &str, tensors: impl Iterator<Item = (&'a str, Cow<'a, [u8]>)>) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(fingerprint.as_bytes());
    part(progress.as_bytes());
    for (name, data) in tensors {
        part(name.as_bytes());
        part(&data);
    }
    hasher.finalize().to_hex().to_string()
}

/// Reads a checkpoint. The error is a sentence that says what is wrong with it.
pub(super) fn read(path: &Path, fingerprint: &str, network: &dyn Segmenter) -> Result<Saved, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format!("it is damaged: {e}"))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| format!("it is damaged: {e}"))?;
    let field = |key: &str| {
        header.metadata().as_ref().and_then(|m| m.get(key)).map(String::as_str).ok_or(format!("it has no {key}"))
    };
    let version = field("version")?;
    if version != VERSION {
        return Err(format!("it has version {version}, this program writes version {VERSION}"));
    }
    if field("fingerprint")? != fingerprint {
        return Err("it belongs to a training with another configuration or other data".into());
    }
    let progress = field("progress")?;
    let mut names = file.names();
    names.sort_unstable();
    let tensors = names.iter().filter_map(|name| Some((*name, Cow::Borrowed(file.tensor(name).ok()?.data()))));
    if digest(fingerprint, progress, tensors) != field("blake3")? {
        return Err("it is damaged: its content does not match its digest".into());
    }
    let progress: Progress = serde_json::from_str(progress).map_err(|e| format!("its progress is unreadable: {e}"))?;
    saved(&file, &Names::of(network), progress)
}

fn saved(file: &SafeTensors<'_>, names: &Names, progress: Progress) -> Result<Saved, String> {
    let list = |kind: &str, names: &[(String, usize)]| -> Result<Vec<Vec<f32>>, String> {
        names.iter().map(|(name, len)| values(file, &format!("{kind}/{name}"), *len)).collect()
    };
    let weights = |kind: &str| -> Result<Weights, String> {
        Ok(Weights {
            parameters: list(kind, &names.parameters)?,
            buffers: list(&format!("{kind}-buffer"), &names.buffers)?,
        })
    };
    let has = |kind: &str| file.names().iter().any(|name| name.starts_with(kind));
    let first = list("first-moment", &names.parameters)?;
    let second = match has("second-moment/") {
        true => list("second-moment", &names.parameters)?,
        false => vec![Vec::new(); names.parameters.len()],
    };
    let moments = first.into_iter().zip(second).map(|(first, second)| Moments { first, second }).collect();
    let best = progress.best.is_some().then(|| weights("best")).transpose()?;
    let average = has("average/").then(|| weights("average")).transpose()?;
    Ok(Saved { progress, weights: weights("last")?, moments, best, average })
}

fn values(file: &SafeTensors<'_>, name: &str, len: usize) -> Result<Vec<f32>, String> {
    let tensor = file.tensor(name).map_err(|_| format!("it lacks {name}"))?;
    if tensor.dtype() != Dtype::F32 || tensor.data().len() != len * 4 {
        return Err(format!("its {name} is not {len} f32 values"));
    }
    let float = |bytes: &[u8]| f32::from_le_bytes(std::array::from_fn(|i| bytes[i]));
    Ok(tensor.data().chunks_exact(4).map(float).collect())
}
