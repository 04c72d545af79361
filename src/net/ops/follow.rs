//! Running averages of parameters, in place.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda;

const NAME: &str = "follow";

/// Values updated by one thread at a time.
const CHUNK: usize = 1 << 13;

/// Moves `average` towards `value`, `keep` of the difference being left: `value + keep * (average - value)`. Both f32, of one
/// shape, on one device; `average` is changed in place.
///
/// # Errors
/// Operands that do not fit.
pub(crate) fn follow(average: &Var, value: &Tensor, keep: f32) -> Result<()> {
    if average.dims() != value.dims() {
        bail!("{NAME}: the average is {:?}, the value {:?}", average.dims(), value.dims());
    }
    #[cfg(feature = "cuda")]
    if value.device().is_cuda() {
        return cuda::optimizer::follow(average, value, keep);
    }
    average.inplace_op2(value, &Follow(keep))
}

struct Follow(f32);

impl InplaceOp2 for Follow {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        average_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<()> {
        let CpuStorage::F32(average) = average else { bail!("{NAME}: the average must be f32") };
        let (Some((from, to)), Some((value_from, value_to))) =
            (average_layout.contiguous_offsets(), value_layout.contiguous_offsets())
        else {
            bail!("{NAME}: operands must be contiguous");
        };
        let values = &value.as_slice::<f32>()?[value_from..value_to];
        average[from..to].par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(average, values)| {
            for (average, value) in average.iter_mut().zip(values) {
                *average = *value + self.0 * (*average - *value);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn moves_in_place() {
        let values: Vec<f32> = (0..20_001).map(|i| i as f32 * 0.37).collect();
        let value = Tensor::from_vec(values.clone(), (20_001, 1), &Device::Cpu).unwrap();
        let average = Var::zeros((20_001, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        for expected in [0.25f32, 0.25 + 0.25 * 0.75] {
            follow(&average, &value, 0.75).unwrap();
            let found = average.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(found.iter().zip(&values).all(|(f, v)| (f - v * expected).abs() <= 1e-6 * v.abs()));
        }
        // Nothing left: the very value.
        follow(&average, &value, 0.0).unwrap();
        assert_eq!(average.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values);
        assert!(follow(&average, &value.flatten_all().unwrap(), 0.5).is_err());
    }
}
