//! Operands and launches of our kernels.

use std::ffi::c_void;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, DevicePtr, result};
use candle_core::cuda_backend::{CudaStorage, CudaStorageSlice};
use candle_core::op::BackpropOp;
use candle_core::{DType, Layout, Result, Shape, Storage, Tensor, bail};

use super::error::{DeviceError, Shortage};
use super::gpu::Gpu;

pub(crate) use super::rows::THREADS;

/// An address in the GPU's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address(pub(crate) u64);

impl Address {
    /// No place: kernels take it for an operand that is left out.
    pub(crate) const NONE: Self = Self(0);

    /// So many values of `dtype` further on.
    pub(crate) fn plus(self, values: usize, dtype: DType) -> Self {
        Self(self.0 + (values * dtype.size_in_bytes()) as u64)
    }
}

/// Where the values of a contiguous operand of `op` start.
pub(crate) fn address(op: &str, storage: &CudaStorage, layout: &Layout) -> Result<Address> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("{op}: needs a contiguous operand, got strides {:?}", layout.stride());
    };
    let stream = storage.device.cuda_stream();
    let first = match &storage.slice {
        CudaStorageSlice::F32(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::BF16(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::U8(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::U32(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::I64(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::F64(values) => values.device_ptr(&stream).0,
        _ => bail!("{op}: has no GPU side for {:?}", storage.dtype()),
    };
    Ok(Address(first).plus(start, storage.dtype()))
}

/// As [`address`], of a tensor on a GPU. The address is good as long as the tensor, or work queued before it is dropped.
pub(crate) fn address_of(op: &str, tensor: &Tensor) -> Result<Address> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => address(op, storage, layout),
        _ => bail!("{op}: one operand is on the GPU, another is not"),
    }
}

/// The GPU that a tensor lives on.
pub(crate) fn gpu_of(op: &str, tensor: &Tensor) -> Result<std::sync::Arc<Gpu>> {
    match tensor.device() {
        candle_core::Device::Cuda(device) => Gpu::of(device),
        other => bail!("{op}: needs a tensor on a GPU, got one on {other:?}"),
    }
}

/// A result before its values are there.
pub(crate) struct Fresh {
    storage: CudaStorage,
    shape: Shape,
    /// Where the values go.
    pub(crate) address: Address,
}

impl Fresh {
    /// As candle's operators return it.
    pub(crate) fn into_storage(self) -> (CudaStorage, Shape) {
        (self.storage, self.shape)
    }

    /// As a tensor without a graph.
    pub(crate) fn into_tensor(self) -> Tensor {
        Tensor::from_storage(Storage::Cuda(self.storage), self.shape, BackpropOp::none(), false)
    }
}

impl Gpu {
    /// Memory for a result; what it holds is arbitrary until a kernel writes it.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`], inside candle's error.
    pub(crate) fn fresh(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Fresh> {
        let shape = shape.into();
        // SAFETY: whoever asks for fresh memory queues the kernel that fills it before anything that reads it.
        #[expect(unsafe_code, reason = "zeroing every result first would cost a pass over memory")]
        let storage = unsafe { self.cuda().alloc_uninit(&shape, dtype) };
        let storage = storage.map_err(|e| self.allocation_failed(&shape, dtype, e))?;
        let address = address("allocation", &storage, &Layout::contiguous(&shape))?;
        Ok(Fresh { storage, shape, address })
    }

    /// As [`Self::fresh`], of zeros.
    pub(crate) fn zeros(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Fresh> {
        let shape = shape.into();
        let storage = self.cuda().zeros_impl(&shape, dtype).map_err(|e| self.allocation_failed(&shape, dtype, e))?;
        let address = address("allocation", &storage, &Layout::contiguous(&shape))?;
        Ok(Fresh { storage, shape, address })
    }

    /// Queues a copy of `bytes` bytes within the device; the two places do not overlap.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn copy(&self, from: Address, into: Address, bytes: usize) -> Result<()> {
        // SAFETY: the callers give places with so many bytes.
        #[expect(unsafe_code, reason = "the driver's interface")]
        let queued = unsafe {
            let bound = self.stream().context().bind_to_thread();
            bound.and_then(|()| result::memcpy_dtod_async(into.0, from.0, bytes, self.stream().cu_stream()))
        };
        queued.map_err(|e| DeviceError::driver("cuMemcpyDtoDAsync", e).into())
    }

    fn allocation_failed(&self, shape: &Shape, dtype: DType, error: candle_core::Error) -> candle_core::Error {
        let asked = (shape.elem_count() * dtype.size_in_bytes()) as u64;
        match (error.to_string().contains("OUT_OF_MEMORY"), self.memory()) {
            (true, Ok((free, total))) => {
                DeviceError::OutOfMemory { shortage: Some(Shortage { asked, free, total }) }.into()
            }
            _ => error,
        }
    }

    /// A launch of the kernel `name`.
    pub(crate) fn kernel(&self, name: &'static str) -> Result<Launch<'_>> {
        Ok(Launch { gpu: self, name, function: self.function(name, None)?, words: Vec::new(), starts: Vec::new() })
    }

    /// A launch of the kernel `name` for images of `dtype`.
    pub(crate) fn kernel_of(&self, name: &'static str, dtype: DType) -> Result<Launch<'_>> {
        Ok(Launch {
            gpu: self,
            name,
            function: self.function(name, Some(dtype))?,
            words: Vec::new(),
            starts: Vec::new(),
        })
    }
}

/// Blocks a multiprocessor that a kernel with a grid-stride loop is started with, at most.
const BLOCKS: usize = 16;

/// A kernel and its arguments, in the order of its parameters.
#[must_use = "a launch is queued by `over` or `grid`"]
pub(crate) struct Launch<'a> {
    gpu: &'a Gpu,
    name: &'static str,
    function: CudaFunction,
    /// The arguments, each from a word of its own on.
    words: Vec<u64>,
    starts: Vec<usize>,
}

impl Launch<'_> {
    fn word(mut self, word: u64) -> Self {
        self.starts.push(self.words.len());
        self.words.push(word);
        self
    }

    /// A pointer.
    pub(crate) fn at(self, address: Address) -> Self {
        self.word(address.0)
    }

    /// An `int`.
    ///
    /// # Errors
    /// A number that an `int` cannot hold.
    pub(crate) fn int(self, value: usize) -> Result<Self> {
        match i32::try_from(value) {
            Ok(value) => Ok(self.word(u64::from(value as u32))),
            Err(_) => bail!("{}: {value} is too large for the GPU's kernels", self.name),
        }
    }

    /// A `long long`.
    pub(crate) fn long(self, value: usize) -> Self {
        self.word(value as u64)
    }

    /// A `float`.
    pub(crate) fn float(self, value: f32) -> Self {
        self.word(u64::from(value.to_bits()))
    }

    /// A `double`.
    pub(crate) fn double(self, value: f64) -> Self {
        self.word(value.to_bits())
    }

    /// A struct of pointers and 64-bit numbers.
    pub(crate) fn words(mut self, words: &[u64]) -> Self {
        self.starts.push(self.words.len());
        self.words.extend_from_slice(words);
        self
    }

    /// Queues a kernel whose threads walk over `items` in strides of the grid.
    pub(crate) fn over(self, items: usize) -> Result<()> {
        let blocks = items.div_ceil(THREADS).clamp(1, self.gpu.processors() * BLOCKS);
        self.grid([blocks, 1, 1], THREADS, 0)
    }

    /// Queues a kernel of `blocks` of `threads`, with `shared` bytes of dynamic shared memory.
    pub(crate) fn grid(mut self, blocks: [usize; 3], threads: usize, shared: usize) -> Result<()> {
        let words = self.words.as_mut_ptr();
        // SAFETY: every start is an index into the words.
        #[expect(unsafe_code, reason = "the driver takes a pointer to each argument")]
        let mut arguments: Vec<*mut c_void> = self.starts.iter().map(|s| unsafe { words.add(*s) }.cast()).collect();
        let mut dims = [0_u32; 3];
        for (dim, blocks) in dims.iter_mut().zip(blocks) {
            *dim = u32::try_from(blocks).map_err(|_| too_many(self.name, blocks))?;
        }
        // SAFETY: the kernels of this folder are launched by the functions of this folder, with the operands that their
        // parameters ask for; operands are alive while the launch is queued, and memory is freed in the stream's order.
        // The driver copies the arguments before it returns.
        #[expect(unsafe_code, reason = "neither the types nor the sizes of a kernel's operands can be checked")]
        let queued = unsafe {
            self.gpu.stream().context().bind_to_thread().and_then(|()| {
                result::launch_kernel(
                    self.function.cu_function(),
                    (dims[0], dims[1], dims[2]),
                    (threads as u32, 1, 1),
                    shared as u32,
                    self.gpu.stream().cu_stream(),
                    &mut arguments,
                )
            })
        };
        queued.map_err(|e| DeviceError::driver(self.name, e).into())
    }
}

fn too_many(kernel: &str, blocks: usize) -> candle_core::Error {
    candle_core::Error::Msg(format!("{kernel}: {blocks} blocks are more than a GPU takes")).bt()
}
