//! From GPU to GPU through the memory of the hosts: slow, and everywhere.

use std::ops::Range;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{DriverError, result};
use candle_core::{DType, Result, bail};

use super::error::DeviceError;
use super::gpu::Gpu;
use super::launch::Address;
use super::ranks::{Way, of_ranks};
use crate::net::collective::Collective;

/// Values go to the host, are exchanged there, and come back.
pub(super) struct Staged {
    collective: Arc<dyn Collective>,
    gpu: Arc<Gpu>,
}

impl Staged {
    pub(super) fn new(collective: Arc<dyn Collective>, gpu: Arc<Gpu>) -> Self {
        Self { collective, gpu }
    }

    /// Waits for all that was queued, and reads `values.len()` values.
    fn read<T: Copy>(&self, from: Address, values: &mut [T]) -> Result<()> {
        // SAFETY: the callers give places with so many values; they are read before the buffer is used.
        #[expect(unsafe_code, reason = "the driver's interface")]
        let read = unsafe {
            let bound = self.gpu.stream().context().bind_to_thread();
            bound.and_then(|()| result::memcpy_dtoh_async(values, from.0, self.gpu.stream().cu_stream()))
        };
        self.done("cuMemcpyDtoHAsync", read)
    }

    /// Writes values, and waits until that is done.
    fn write<T: Copy>(&self, into: Address, values: &[T]) -> Result<()> {
        // SAFETY: the callers give places for so many values; they are written before the buffer is gone.
        #[expect(unsafe_code, reason = "the driver's interface")]
        let written = unsafe {
            let bound = self.gpu.stream().context().bind_to_thread();
            bound.and_then(|()| result::memcpy_htod_async(into.0, values, self.gpu.stream().cu_stream()))
        };
        self.done("cuMemcpyHtoDAsync", written)
    }

    fn done(&self, call: &str, queued: std::result::Result<(), DriverError>) -> Result<()> {
        queued.map_err(|error| DeviceError::driver(call, error))?;
        Ok(self.gpu.synchronize()?)
    }
}

impl Way for Staged {
    fn sum(&self, values: Address, count: usize, dtype: DType) -> Result<()> {
        match dtype {
            DType::F32 => {
                let mut host = vec![0.0_f32; count];
                self.read(values, &mut host)?;
                self.collective.sum_f32(&mut host).map_err(of_ranks)?;
                self.write(values, &host)
            }
            DType::F64 => {
                let mut host = vec![0.0_f64; count];
                self.read(values, &mut host)?;
                self.collective.sum_f64(&mut host).map_err(of_ranks)?;
                self.write(values, &host)
            }
            other => bail!("ranks add up f32 and f64, got {other:?}"),
        }
    }

    fn gather(&self, whole: Address, parts: &[Range<usize>]) -> Result<()> {
        let rank = self.collective.rank();
        let place = |part: &Range<usize>| Address(whole.0 + part.start as u64);
        let mut mine = vec![0_u8; parts[rank].len()];
        self.read(place(&parts[rank]), &mut mine)?;
        let all = self.collective.gather(&mine).map_err(of_ranks)?;
        for (other, (part, bytes)) in parts.iter().zip(&all).enumerate() {
            if bytes.len() != part.len() {
                bail!("rank {other} has {} bytes of {}", bytes.len(), part.len());
            }
            if other != rank {
                self.write(place(part), bytes)?;
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "which exchange numbers through the hosts' memory and by TCP, since this build or machine has no NCCL"
            .to_owned()
    }
}
