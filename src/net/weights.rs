//! Weight files: safetensors with PyTorch's names and axis order, so that `load_state_dict` takes them as they are, and the
//! architecture in the header, so that we need no second file to load them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::models::{Model, ModelConfig};
use super::types::{NetError, Result};

/// Header key under which everything that is not a tensor lies, as JSON.
const HEADER_KEY: &str = "s2pipe";
/// Version of that JSON.
pub(crate) const FORMAT: u32 = 1;

/// What a weights file says besides its tensors. One JSON value with sorted keys, since safetensors writes its own header
/// map in no fixed order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsHeader {
    /// Version of this record.
    pub format: u32,
    /// Kind and sizes of the network.
    pub model: ModelConfig,
    /// Channels of an input image.
    pub bands: usize,
    /// Channels of the logits.
    pub classes: usize,
    /// Whatever the caller keeps with the weights.
    pub metadata: BTreeMap<String, String>,
}

/// Every tensor of the model by name, sorted, in PyTorch's axis order: copies, for files and checkpoints.
///
/// # Errors
/// candle's, which cannot come from a model that was made by [`Model::new`].
pub fn state(model: &Model) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = Vec::new();
    for (name, var, axes) in model.tensors() {
        // `copy`: a later update of the variable must not reach into what is kept here.
        tensors.push((name.to_owned(), axes.export(&var.as_detached_tensor())?.copy()?));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors)
}

/// Puts tensors as [`state`] gives them into the model. Either all fit and all are taken, or none is.
///
/// # Errors
/// [`NetError::Config`]: a tensor is missing, left over, or has another shape.
pub fn restore(model: &Model, tensors: &[(String, Tensor)]) -> Result<()> {
    let given: HashMap<&str, &Tensor> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut ready = Vec::new();
    for (name, var, axes) in model.tensors() {
        let Some(tensor) = given.get(name) else {
            return Err(NetError::Config(format!("the model needs a tensor {name}, which is not there")));
        };
        let expected = axes.export(&var.as_detached_tensor())?;
        if tensor.dims() != expected.dims() {
            return Err(NetError::Config(format!(
                "tensor {name}: the model needs {:?}, found {:?}",
                expected.dims(),
                tensor.dims()
            )));
        }
        ready.push((var, axes.import(&tensor.to_dtype(var.dtype())?)?.copy()?));
    }
    if let Some((extra, _)) = tensors.iter().find(|(name, _)| model.tensors().all(|(known, ..)| known != name)) {
        return Err(NetError::Config(format!("tensor {extra} belongs to no part of the model")));
    }
    for (var, tensor) in ready {
        var.set(&tensor)?;
    }
    Ok(())
}

/// The bytes of a weights file: the same model and metadata give the same bytes.
///
/// # Errors
/// candle's or safetensors', which cannot come from a model that was made by [`Model::new`].
pub fn to_bytes(model: &Model, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let header = WeightsHeader {
        format: FORMAT,
        model: *model.config(),
        bands: model.bands(),
        classes: model.classes(),
        metadata: metadata.clone(),
    };
    let mut buffers = Vec::new();
    for (name, tensor) in state(model)? {
        let bytes: Vec<u8> = tensor.flatten_all()?.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect();
        buffers.push((name, tensor.dims().to_vec(), bytes));
    }
    let views = buffers
        .iter()
        .map(|(name, dims, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, dims.clone(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
    views.map_err(|e| NetError::Config(format!("weights: {e}"))).and_then(|views| pack(views, &header))
}

/// The bytes of a file with these tensors under this header.
pub(crate) fn pack(views: Vec<(&str, TensorView<'_>)>, header: &WeightsHeader) -> Result<Vec<u8>> {
    let header = serde_json::to_string(header).map_err(|e| NetError::Config(format!("weights header: {e}")))?;
    let header = Some(HashMap::from([(HEADER_KEY.to_owned(), header)]));
    safetensors::serialize(views, header).map_err(|e| NetError::Config(format!("weights: {e}")))
}

/// Writes [`to_bytes`] to `path`, through a temporary file beside it, so that no half-written file bears the name.
///
/// # Errors
/// [`NetError::Io`].
pub fn save(model: &Model, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    write_whole(path, &to_bytes(model, metadata)?)
}

/// Writes a file through a temporary one beside it, so that no half-written file bears the name.
///
/// # Errors
/// [`NetError::Io`].
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |source| NetError::Io { path: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are private by default; this one becomes the artefact, so the umask decides.
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(everyone).tempfile_in(folder).map_err(io)?;
    std::io::Write::write_all(&mut file, bytes).map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Reads a file that [`save`] wrote: the model as it was, and the header.
///
/// # Errors
/// [`NetError::Io`]; [`NetError::Weights`] where the file is no weights file, is of a later version, or does not hold what
/// its own architecture needs.
pub fn load(path: &Path) -> Result<(Model, WeightsHeader)> {
    let bytes = std::fs::read(path).map_err(|source| NetError::Io { path: path.to_owned(), source })?;
    from_bytes(&bytes).map_err(|problem| NetError::Weights { path: path.to_owned(), problem })
}

fn from_bytes(bytes: &[u8]) -> std::result::Result<(Model, WeightsHeader), String> {
    let (file, header) = open(bytes)?;
    let model = Model::new(&header.model, header.bands, header.classes, 0).map_err(|e| e.to_string())?;
    let tensors = file.iter().map(|(name, view)| Ok((name.to_owned(), tensor(name, &view)?)));
    let tensors = tensors.collect::<std::result::Result<Vec<_>, String>>()?;
    restore(&model, &tensors).map_err(|e| e.to_string())?;
    Ok((model, header))
}

/// The tensors and the header of a file that `train` wrote.
pub(crate) fn open(bytes: &[u8]) -> std::result::Result<(SafeTensors<'_>, WeightsHeader), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    let (_, outer) = SafeTensors::read_metadata(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    let json = outer.metadata().as_ref().and_then(|m| m.get(HEADER_KEY));
    let json = json.ok_or("its header has no `s2pipe` entry: it was not written by `train`")?;
    Ok((file, parse_header(json)?))
}

fn parse_header(json: &str) -> std::result::Result<WeightsHeader, String> {
    let value: serde_json::Value = serde_json::from_str(json).map_err(|e| format!("its header is no JSON: {e}"))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(found) if found == u64::from(FORMAT) => {}
        found => return Err(format!("its header has format {found:?}; this version reads format {FORMAT}")),
    }
    serde_json::from_value(value).map_err(|e| format!("its header is incomplete: {e}"))
}

fn tensor(name: &str, view: &TensorView<'_>) -> std::result::Result<Tensor, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("tensor {name} is {:?}, expected F32", view.dtype()));
    }
    Tensor::from_raw_buffer(view.data(), DType::F32, view.shape(), &Device::Cpu)
        .map_err(|e| format!("tensor {name}: {e}"))
}
