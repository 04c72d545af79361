//! The numbers inside a tensor, without a copy where they lie in this process's memory.

use candle_core::{Storage, Tensor, Var};

use super::Result;

/// Calls `f` with the values of an f32 tensor in row-major order.
pub(crate) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> candle_core::Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    if let Storage::Cpu(values) = &*storage {
        let start = layout.start_offset();
        let values = values.as_slice::<f32>()?;
        return Ok(f(&values[start..start + layout.shape().elem_count()]));
    }
    drop(storage);
    Ok(f(&tensor.flatten_all()?.to_vec1::<f32>()?))
}

/// A copy of every variable's values.
pub(crate) fn copy_out(vars: &[(String, Var)]) -> Result<Vec<Vec<f32>>> {
    vars.iter().map(|(_, var)| Ok(with_values(var, <[f32]>::to_vec)?)).collect()
}

/// Puts copied values back. `values` has one entry a variable, each of that variable's length.
pub(crate) fn copy_in(vars: &[(String, Var)], values: &[Vec<f32>]) -> Result<()> {
    for ((_, var), values) in vars.iter().zip(values) {
        var.set(&Tensor::from_slice(values, var.shape(), var.device())?)?;
    }
    Ok(())
}
