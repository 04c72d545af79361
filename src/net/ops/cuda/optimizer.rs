//! Optimisers on the GPU: norm of the gradients, clipping and update without a number on the host.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor, Var};

use super::gpu::Gpu;
use super::launch::{Address, address_of};
use crate::net::ops::GradientsOf;
use crate::net::optim::{SgdFactors, StepFactors};

/// Tensors a launch, as in `kernels/optimizer.cu`.
const TENSORS: usize = 40;
/// Blocks that share out one tensor.
const BLOCKS: usize = 64;
const THREADS: usize = 256;
const NAME: &str = "optimizer";

/// What the device knows of the training, once it was waited for. `kernels/optimizer.cu` has the same fields.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct State {
    /// Sum of loss times labelled pixels since [`GpuOptimizer::start_sum`].
    pub(crate) loss_sum: f64,
    /// Of the last step.
    pub(crate) loss: f64,
    /// The first step whose loss or gradients were not finite (from 1; 0: none), its loss and its norm.
    pub(crate) bad: (usize, f64, f64),
}

/// Fields of the device's state.
const FIELDS: usize = 7;

/// What a step does with the gradients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Update {
    /// As [`crate::net::optim::AdamW`].
    AdamW(StepFactors),
    /// As [`crate::net::optim::Sgd`].
    Sgd(SgdFactors),
}

/// The optimiser. Parameters, moments and gradients live on one GPU, f32.
pub(crate) struct GpuOptimizer {
    gpu: Arc<Gpu>,
    vars: Vec<Var>,
    first: Vec<Tensor>,
    /// Empty where the optimiser keeps none.
    second: Vec<Tensor>,
    state: Tensor,
    /// Sums of squares, one a block and tensor.
    partial: Tensor,
}

impl GpuOptimizer {
    /// An optimiser of `vars`, moments 0; `both`: the second ones too.
    ///
    /// # Errors
    /// A variable that is on no GPU; no memory for the moments.
    pub(crate) fn new(vars: Vec<Var>, gpu: &Arc<Gpu>, both: bool) -> Result<Self> {
        let zeros = |vars: &[Var]| {
            vars.iter().map(|var| Ok(gpu.zeros(var.shape(), DType::F32)?.into_tensor())).collect::<Result<Vec<_>>>()
        };
        let (first, second) = (zeros(&vars)?, if both { zeros(&vars)? } else { Vec::new() });
        let state = gpu.zeros(FIELDS, DType::F64)?.into_tensor();
        let partial = gpu.zeros(vars.len() * BLOCKS, DType::F64)?.into_tensor();
        Ok(Self { gpu: Arc::clone(gpu), vars, first, second, state, partial })
    }

    /// Queues one step. `loss` is a scalar (f32) of `labelled` pixels; gradients longer than `max_norm` are shortened. From
    /// the first step on whose loss or gradients are not finite, nothing changes.
    ///
    /// # Errors
    /// Operands elsewhere or of another type.
    pub(crate) fn step(
        &mut self,
        gradients: &impl GradientsOf,
        (loss, labelled): (&Tensor, u64),
        max_norm: Option<f64>,
        number: usize,
        update: Update,
    ) -> Result<()> {
        let with_gradient: Vec<usize> =
            (0..self.vars.len()).filter(|i| gradients.of(&self.vars[*i]).is_some()).collect();
        let parts =
            with_gradient.chunks(TENSORS).map(|part| self.table(part, gradients)).collect::<Result<Vec<_>>>()?;
        let (partial, state) = (address_of(NAME, &self.partial)?, address_of(NAME, &self.state)?);
        for (number, table) in parts.iter().enumerate() {
            let launch = self.gpu.kernel("gradient_squares")?.words(&table.words).at(partial);
            launch.int(number * TENSORS)?.grid([BLOCKS, table.tensors, 1], THREADS, 0)?;
        }
        let begin = self.gpu.kernel("begin_step")?.at(partial).int(with_gradient.len() * BLOCKS)?;
        let begin = begin.at(address_of(NAME, loss)?).double(labelled as f64).double(max_norm.unwrap_or(0.0));
        begin.double(number as f64).at(state).grid([1, 1, 1], THREADS, 0)?;
        for table in &parts {
            let launch = match update {
                Update::AdamW(f) => {
                    let launch = self.gpu.kernel("adamw")?.words(&table.words).at(state);
                    let launch = launch.float(f.keep).float(f.fresh1).float(f.keep2).float(f.fresh2).float(f.step_size);
                    launch.float(f.root_correction2).float(f.eps)
                }
                Update::Sgd(f) => {
                    let launch = self.gpu.kernel("sgd")?.words(&table.words).at(state);
                    launch.float(f.lr).float(f.momentum).float(f.ahead).float(f.direct).float(f.decay)
                }
            };
            launch.grid([BLOCKS, table.tensors, 1], THREADS, 0)?;
        }
        Ok(())
    }

    /// The struct `Tensors` of the kernels.
    fn table(&self, part: &[usize], gradients: &impl GradientsOf) -> Result<Table> {
        let mut words = vec![0; 6 * TENSORS];
        for (place, &i) in part.iter().enumerate() {
            let Some(gradient) = gradients.of(&self.vars[i]) else { continue };
            let operands = [Some(self.vars[i].as_tensor()), self.first.get(i), self.second.get(i), Some(gradient)];
            for (row, tensor) in operands.into_iter().enumerate() {
                let address = tensor.map_or(Ok(Address::NONE), |tensor| address_of(NAME, tensor))?;
                words[row * TENSORS + place] = address.0;
            }
            words[4 * TENSORS + place] = self.vars[i].elem_count() as u64;
            words[5 * TENSORS + place] = u64::from(self.vars[i].rank() > 1);
        }
        Ok(Table { words, tensors: part.len() })
    }

    /// Waits for the device, and reads its state.
    ///
    /// # Errors
    /// What the device met since it was last waited for.
    pub(crate) fn read_state(&self) -> Result<State> {
        let fields = self.state.to_vec1::<f64>()?;
        let bad = (fields[4] as usize, fields[5], fields[6]);
        Ok(State { loss_sum: fields[0], loss: fields[1], bad })
    }

    /// Sets the sum of the losses.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn start_sum(&mut self, sum: f64) -> Result<()> {
        let mut fields = self.state.to_vec1::<f64>()?;
        fields[0] = sum;
        self.state = Tensor::new(fields, self.state.device())?;
        Ok(())
    }

    /// First and second moment of every variable, in their order; the second empty where the optimiser keeps none.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn moments(&self) -> Result<Vec<[Vec<f32>; 2]>> {
        let read = |tensor: &Tensor| tensor.flatten_all()?.to_vec1();
        let second = |i: usize| self.second.get(i).map_or(Ok(Vec::new()), read);
        self.first.iter().enumerate().map(|(i, first)| Ok([read(first)?, second(i)?])).collect()
    }

    /// Goes on from moments, which have the variables' sizes.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn restore<'a>(&mut self, moments: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> Result<()> {
        for (i, (first, second)) in moments.enumerate() {
            let upload = |values: &[f32]| Tensor::from_slice(values, self.vars[i].shape(), &self.gpu.device());
            self.first[i] = upload(first)?;
            if let Some(slot) = self.second.get_mut(i) {
                *slot = upload(second)?;
            }
        }
        Ok(())
    }
}

struct Table {
    words: Vec<u64>,
    tensors: usize,
}

/// [`crate::net::ops::follow`] on the GPU.
///
/// # Errors
/// Operands elsewhere or of another type.
pub(crate) fn follow(average: &Var, value: &Tensor, keep: f32) -> Result<()> {
    const NAME: &str = "follow";
    let (count, average) = (average.elem_count(), average.as_tensor());
    if average.dtype() != DType::F32 || value.dtype() != DType::F32 {
        candle_core::bail!("{NAME}: the average is {:?}, the value {:?}", average.dtype(), value.dtype());
    }
    let gpu = super::launch::gpu_of(NAME, average)?;
    let launch = gpu.kernel(NAME)?.at(address_of(NAME, average)?).at(address_of(NAME, value)?);
    launch.float(keep).long(count).over(count)
}

/// Adds `share` times `part` to `sum` in place: both f32, of one shape, and `sum` used by nobody else.
///
/// # Errors
/// Operands elsewhere.
pub(crate) fn add_share(sum: &Tensor, part: &Tensor, share: f32) -> Result<()> {
    let gpu = super::launch::gpu_of("add_share", sum)?;
    let count = sum.elem_count();
    let launch = gpu.kernel("add_share")?.at(address_of("add_share", sum)?).at(address_of("add_share", part)?);
    launch.float(share).long(count).over(count)
}
