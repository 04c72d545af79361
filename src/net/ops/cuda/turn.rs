//! Images turned by the symmetries of the square.

use candle_core::{Result, Tensor};

use super::launch::{address_of, gpu_of};
use crate::net::augment::Symmetry;

const NAME: &str = "turn";

/// Images `[n, height, width, channels]` (f32 or bf16), each turned by `symmetry` and multiplied by `scale`.
///
/// # Errors
/// No memory for them.
pub(crate) fn turned(images: &Tensor, symmetry: Symmetry, scale: f32) -> Result<Tensor> {
    let images = images.contiguous()?;
    let (n, height, width, channels) = images.dims4()?;
    let (gpu, [out_height, out_width]) = (gpu_of(NAME, &images)?, symmetry.size_of([height, width]));
    let out = gpu.fresh((n, out_height, out_width, channels), images.dtype())?;
    let launch = gpu.kernel_of("turn", images.dtype())?.at(address_of(NAME, &images)?).at(out.address);
    let launch = launch.long(images.elem_count()).int(height)?.int(width)?.int(channels)?;
    launch.int(symmetry.bits().into())?.float(scale).over(images.elem_count())?;
    Ok(out.into_tensor())
}
