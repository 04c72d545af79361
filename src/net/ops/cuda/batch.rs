//! Training patches on the GPU, and batches made of them.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DevicePtrMut, PinnedHostSlice};
use candle_core::{DType, Result, Tensor};

use super::error::DeviceError;
use super::gpu::Gpu;
use super::launch::{Address, THREADS, address_of};

const NAME: &str = "batch";

/// A patch of a batch: which one, and how it is turned (a `net::augment::Symmetry` as a number).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Draw {
    /// Number of the patch.
    pub(crate) patch: usize,
    /// 0 leaves it as it is.
    pub(crate) symmetry: u8,
}

/// Patches that stay on the GPU: bands `[patches, size, size, bands]` f32 and labels `[patches, size, size]` u8.
pub(crate) struct Resident {
    gpu: Arc<Gpu>,
    bands: Tensor,
    labels: Tensor,
}

impl Resident {
    /// Room for `patches` patches.
    ///
    /// # Errors
    /// No memory for them.
    pub(crate) fn new(gpu: &Arc<Gpu>, patches: usize, size: usize, bands: usize) -> Result<Self> {
        Ok(Self {
            gpu: Arc::clone(gpu),
            bands: gpu.fresh((patches, size, size, bands), DType::F32)?.into_tensor(),
            labels: gpu.fresh((patches, size, size), DType::U8)?.into_tensor(),
        })
    }

    /// Puts patches into their places, from `first` on.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn put(&self, first: usize, bands: &[f32], labels: &[u8]) -> Result<()> {
        let (_, size, _, channels) = self.bands.dims4()?;
        let pixels = size * size;
        copy_in(&self.gpu, address_of(NAME, &self.bands)?.plus(first * pixels * channels, DType::F32), bands)?;
        copy_in(&self.gpu, address_of(NAME, &self.labels)?.plus(first * pixels, DType::U8), labels)
    }

    /// The patches `draws` side by side, turned as drawn, and with `jitter` (gain and offset of every patch and band): bands
    /// `[n, size, size, bands]` of `dtype`, labels `[n, size, size]`.
    ///
    /// # Errors
    /// No memory for them.
    pub(crate) fn batch(&self, draws: &[Draw], jitter: Option<&[f32]>, dtype: DType) -> Result<(Tensor, Tensor)> {
        let places = [address_of(NAME, &self.bands)?, address_of(NAME, &self.labels)?];
        let (_, size, _, bands) = self.bands.dims4()?;
        gather(&self.gpu, places, [size, bands], draws, jitter, dtype)
    }
}

fn gather(
    gpu: &Gpu,
    [from, from_labels]: [Address; 2],
    [size, bands]: [usize; 2],
    draws: &[Draw],
    jitter: Option<&[f32]>,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let batch = gpu.fresh((draws.len(), size, size, bands), dtype)?;
    let labels = gpu.fresh((draws.len(), size, size), DType::U8)?;
    let words: Vec<u32> = draws.iter().flat_map(|draw| [draw.patch as u32, u32::from(draw.symmetry)]).collect();
    let words = Tensor::from_vec(words, 2 * draws.len(), &gpu.device())?;
    let jitter = jitter.map(|values| Tensor::from_slice(values, values.len(), &gpu.device())).transpose()?;
    let jitter = jitter.as_ref().map_or(Ok(Address::NONE), |jitter| address_of(NAME, jitter))?;
    let launch = gpu.kernel_of("gather_patches", dtype)?.at(from).at(from_labels).at(address_of(NAME, &words)?);
    let launch = launch.at(jitter).at(batch.address).at(labels.address).int(size)?.int(bands)?;
    launch.grid([(size * size).div_ceil(THREADS).min(64), draws.len(), 1], THREADS, 0)?;
    Ok((batch.into_tensor(), labels.into_tensor()))
}

/// Brings batches that were made on the host to the GPU: each into pinned memory, then over a stream of its own while the GPU
/// computes the step before.
pub(crate) struct Uploads {
    gpu: Arc<Gpu>,
    stream: Arc<CudaStream>,
    slots: [Option<Slot>; 2],
    next: usize,
}

/// One of the two batches on their way.
struct Slot {
    host: [PinnedHostSlice<u8>; 2],
    device: [CudaSlice<u8>; 2],
    /// The copy has arrived.
    arrived: CudaEvent,
    /// The batch was read on the device.
    taken: CudaEvent,
}

impl Uploads {
    /// For one GPU.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Result<Self> {
        let stream = gpu.stream().context().new_stream().map_err(|e| failed("cuStreamCreate", e))?;
        Ok(Self { gpu: Arc::clone(gpu), stream, slots: [None, None], next: 0 })
    }

    /// Bands `[n, size, size, bands]` as `dtype` and labels `[n, size, size]` on the GPU.
    ///
    /// # Errors
    /// No memory for them.
    pub(crate) fn batch(
        &mut self,
        bands: &[f32],
        labels: &[u8],
        [n, size, channels]: [usize; 3],
        dtype: DType,
    ) -> Result<(Tensor, Tensor)> {
        let which = self.next;
        self.next = 1 - which;
        if self.slots[which].as_ref().is_none_or(|slot| slot.host[1].len() < labels.len()) {
            self.retire(which);
            self.slots[which] = Some(self.slot(4 * bands.len(), labels.len())?);
        }
        let Some(slot) = self.slots[which].as_mut() else { candle_core::bail!("{NAME}: no slot was made") };
        let addresses = slot.send(&self.stream, self.gpu.stream(), bands, labels)?;
        let draws: Vec<Draw> = (0..n).map(|patch| Draw { patch, symmetry: 0 }).collect();
        let batch = gather(&self.gpu, addresses, [size, channels], &draws, None, dtype)?;
        slot.taken.record(self.gpu.stream()).map_err(|e| failed("cuEventRecord", e))?;
        Ok(batch)
    }

    /// Lets go of a slot, whose memory goes back in the order of the copies: they wait until it was read.
    fn retire(&mut self, which: usize) {
        let Some(slot) = self.slots[which].take() else { return };
        if let Err(error) = self.stream.wait(&slot.taken) {
            tracing::debug!("the GPU does not wait for its copies any more: {error}");
        }
    }

    fn slot(&self, bands: usize, labels: usize) -> Result<Slot> {
        let context = self.gpu.stream().context();
        let event = || context.new_event(None).map_err(|e| failed("cuEventCreate", e));
        let (arrived, taken) = (event()?, event()?);
        taken.record(self.gpu.stream()).map_err(|e| failed("cuEventRecord", e))?;
        let pinned = |bytes| {
            // SAFETY: bytes may have any value; they are written before they are sent.
            #[expect(unsafe_code, reason = "zeroing would be work for nothing")]
            unsafe { context.alloc_pinned::<u8>(bytes) }.map_err(|e| failed("cuMemHostAlloc", e))
        };
        let device = |bytes| {
            // SAFETY: as above; both streams wait for each other by the events.
            #[expect(unsafe_code, reason = "zeroing would be work for nothing")]
            unsafe { self.stream.alloc::<u8>(bytes) }.map_err(|e| failed("cuMemAlloc", e))
        };
        Ok(Slot { host: [pinned(bands)?, pinned(labels)?], device: [device(bands)?, device(labels)?], arrived, taken })
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        (0..self.slots.len()).for_each(|which| self.retire(which));
    }
}

impl Slot {
    /// Queues the copies on `copies`, lets `work` wait for them, and says where bands and labels will be.
    fn send(&mut self, copies: &CudaStream, work: &CudaStream, bands: &[f32], labels: &[u8]) -> Result<[Address; 2]> {
        // The pinned memory may still be on its way to the device.
        self.arrived.synchronize().map_err(|e| failed("cuEventSynchronize", e))?;
        copies.wait(&self.taken).map_err(|e| failed("cuStreamWaitEvent", e))?;
        let parts: [&[u8]; 2] = [bytes_of(bands), labels];
        let mut addresses = [Address::NONE; 2];
        let ends = self.host.iter_mut().zip(&mut self.device);
        for (((host, device), part), address) in ends.zip(parts).zip(&mut addresses) {
            let pinned = host.as_mut_slice().map_err(|e| failed("pinned memory", e))?;
            pinned[..part.len()].copy_from_slice(part);
            *address = Address(device.device_ptr_mut(copies).0);
            send_async(copies, &pinned[..part.len()], *address)?;
        }
        self.arrived.record(copies).map_err(|e| failed("cuEventRecord", e))?;
        work.wait(&self.arrived).map_err(|e| failed("cuStreamWaitEvent", e))?;
        Ok(addresses)
    }
}

fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: any four bytes of a float are four bytes, and bytes need no alignment.
    #[expect(unsafe_code, reason = "the device takes bytes as they lie")]
    unsafe {
        std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values))
    }
}

fn failed(call: &'static str, error: candle_core::cuda_backend::cudarc::driver::DriverError) -> candle_core::Error {
    DeviceError::driver(call, error).into()
}

/// Copies `values` to the device on the GPU's stream. They may be dropped at once: from memory that is not pinned the driver
/// copies before it returns.
pub(super) fn copy_in<T>(gpu: &Gpu, into: Address, values: &[T]) -> Result<()> {
    send_async(gpu.stream(), values, into)
}

fn send_async<T>(stream: &CudaStream, values: &[T], into: Address) -> Result<()> {
    use candle_core::cuda_backend::cudarc::driver::result;
    stream.context().bind_to_thread().map_err(|e| failed("cuCtxSetCurrent", e))?;
    // SAFETY: the callers give places with room for the values; values in pinned memory stay as they are until an event says
    // that they have arrived.
    #[expect(unsafe_code, reason = "the driver's interface")]
    let sent = unsafe { result::memcpy_htod_async(into.0, values, stream.cu_stream()) };
    sent.map_err(|e| failed("cuMemcpyHtoDAsync", e))
}
