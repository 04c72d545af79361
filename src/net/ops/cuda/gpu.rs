//! A GPU in use: candle's device, our kernels, cuDNN, and how the numbers are to be computed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, result, sys};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::{DType, Device, Result, bail};

use super::dnn::Dnn;
use super::error::DeviceError;
use super::gate;
use super::pool::Pool;

/// Machine code of the kernels, one image a source file.
const IMAGES: &[&[u8]] = include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
/// The CUDA version that cudarc's types are of; a driver must know it.
const TOOLKIT: i32 = sys::CUDA_VERSION as i32;
/// The least compute capability that the kernels are compiled for.
const CAPABILITY: (i32, i32) = (8, 0);

/// How numbers are computed where there is a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numerics {
    /// Factors of f32 convolutions may be rounded to TF32.
    pub tf32: bool,
    /// Only algorithms that add up in a fixed order, chosen by rule.
    pub deterministic: bool,
}

impl Default for Numerics {
    fn default() -> Self {
        Self { tf32: false, deterministic: true }
    }
}

/// What the driver says about a GPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpuInfo {
    /// Counted from 0.
    pub ordinal: usize,
    /// For instance `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Bytes of memory.
    pub memory: u64,
}

/// A GPU that operators compute on. Work is queued on one stream and done in the order in which it was queued.
pub struct Gpu {
    info: GpuInfo,
    numerics: Numerics,
    device: CudaDevice,
    stream: Arc<CudaStream>,
    modules: Vec<Arc<CudaModule>>,
    functions: RwLock<HashMap<(&'static str, Option<DType>), CudaFunction>>,
    dnn: Mutex<Dnn>,
    /// Multiprocessors.
    processors: usize,
    /// Where allocations come from. Below everything that has been allocated: fields are dropped in their order.
    pool: Pool,
}

/// GPUs in use, so that an operator finds the one that a tensor lives on.
static OPEN: RwLock<Vec<(DeviceId, Arc<Gpu>)>> = RwLock::new(Vec::new());

/// Keeps a GPU open.
pub struct OpenGpu(Arc<Gpu>);

impl OpenGpu {
    /// To be kept by what computes on it. It closes with this all the same.
    pub(crate) fn shared(&self) -> &Arc<Gpu> {
        &self.0
    }
}

impl std::ops::Deref for OpenGpu {
    type Target = Gpu;

    fn deref(&self) -> &Gpu {
        &self.0
    }
}

impl Drop for OpenGpu {
    fn drop(&mut self) {
        let id = self.0.device.id();
        OPEN.write().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != id);
    }
}

impl std::fmt::Debug for OpenGpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenGpu").field("info", &self.0.info).field("numerics", &self.0.numerics).finish()
    }
}

/// Every GPU that the driver shows.
///
/// # Errors
/// No driver, or one that is too old, or that shows no GPU.
pub fn gpus() -> std::result::Result<Vec<GpuInfo>, DeviceError> {
    gate::open()?;
    let failed = |e| DeviceError::driver("cuInit", e);
    result::init().map_err(failed)?;
    check_driver()?;
    let count = usize::try_from(CudaContext::device_count().map_err(failed)?).unwrap_or(0);
    (0..count).map(|ordinal| describe(ordinal).map_err(failed)).collect()
}

fn describe(ordinal: usize) -> std::result::Result<GpuInfo, candle_core::cuda_backend::cudarc::driver::DriverError> {
    use sys::CUdevice_attribute as A;
    let device = result::device::get(ordinal as i32)?;
    let name = result::device::get_name(device)?;
    // SAFETY: `device` is one that the driver just named.
    #[expect(unsafe_code, reason = "the driver's interface")]
    let (major, minor, memory) = unsafe {
        (
            result::device::get_attribute(device, A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            result::device::get_attribute(device, A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            result::device::total_mem(device)?,
        )
    };
    Ok(GpuInfo { ordinal, name, capability: (major, minor), memory: memory as u64 })
}

fn check_driver() -> std::result::Result<(), DeviceError> {
    let mut found = 0;
    // SAFETY: the driver writes one number where it is told to.
    #[expect(unsafe_code, reason = "the driver's interface")]
    let told = unsafe { sys::cuDriverGetVersion(&raw mut found) }.result();
    told.map_err(|e| DeviceError::driver("cuDriverGetVersion", e))?;
    if found < TOOLKIT {
        return Err(DeviceError::DriverTooOld { found, needed: TOOLKIT });
    }
    Ok(())
}

impl Gpu {
    /// Opens GPU `ordinal`, to allocate at most `memory` bytes there.
    ///
    /// # Errors
    /// No driver, one that is too old, no such GPU, or one that the kernels are not made for.
    pub fn open(ordinal: usize, numerics: Numerics, memory: Option<u64>) -> std::result::Result<OpenGpu, DeviceError> {
        let all = gpus()?;
        if all.is_empty() {
            return Err(DeviceError::NoGpu);
        }
        let count = all.len();
        let info = all.into_iter().nth(ordinal).ok_or(DeviceError::NoSuchGpu { asked: ordinal, count })?;
        if info.capability < CAPABILITY {
            return Err(DeviceError::GpuTooOld { name: info.name, capability: info.capability });
        }
        let device = CudaDevice::new_with_stream(ordinal).map_err(|e| of_candle("opening the GPU", &e))?;
        let stream = device.cuda_stream();
        // SAFETY: everything is queued on this one stream, so what is freed, read or written comes in the order of the
        // calls; the uploads of `batches` use a stream of their own and wait by events that are recorded there.
        #[expect(unsafe_code, reason = "candle would record two events for every operand of every kernel")]
        unsafe {
            device.disable_event_tracking();
        }
        let pool = Pool::new(&stream, memory)?;
        let load = |image: &&[u8]| stream.context().load_module(Ptx::from_binary(image.to_vec()));
        let modules = IMAGES.iter().map(load).collect::<std::result::Result<_, _>>();
        let modules = modules.map_err(|e| DeviceError::driver("cuModuleLoadData, with the kernels", e))?;
        let processors = stream.context().attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        let processors = processors.map_err(|e| DeviceError::driver("cuDeviceGetAttribute", e))? as usize;
        let dnn = Mutex::new(Dnn::new(Arc::clone(&stream), numerics)?);
        let functions = RwLock::default();
        let gpu = Arc::new(Self { info, numerics, device, stream, modules, functions, dnn, processors, pool });
        OPEN.write().unwrap_or_else(PoisonError::into_inner).push((gpu.device.id(), Arc::clone(&gpu)));
        Ok(OpenGpu(gpu))
    }

    /// The GPU that `device` is.
    pub(crate) fn of(device: &CudaDevice) -> Result<Arc<Self>> {
        let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
        match open.iter().find(|(id, _)| *id == device.id()) {
            Some((_, gpu)) => Ok(Arc::clone(gpu)),
            None => bail!("the tensor lives on a GPU that was not opened with `Gpu::open`, or was closed"),
        }
    }

    /// What the driver says about it.
    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    /// How it computes.
    pub fn numerics(&self) -> Numerics {
        self.numerics
    }

    /// The device as candle knows it.
    pub fn device(&self) -> Device {
        Device::Cuda(self.device.clone())
    }

    pub(crate) fn cuda(&self) -> &CudaDevice {
        &self.device
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Multiprocessors.
    pub(crate) fn processors(&self) -> usize {
        self.processors
    }

    pub(super) fn dnn(&self) -> MutexGuard<'_, Dnn> {
        self.dnn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that was queued is done.
    ///
    /// # Errors
    /// What the GPU met on the way.
    pub fn synchronize(&self) -> std::result::Result<(), DeviceError> {
        self.stream.synchronize().map_err(|e| DeviceError::driver("cuStreamSynchronize", e))
    }

    /// Bytes that could still be allocated, those included that this program freed and keeps, and bytes in all: of the GPU,
    /// or of what may be used of it.
    ///
    /// # Errors
    /// The driver's.
    pub fn memory(&self) -> std::result::Result<(u64, u64), DeviceError> {
        let info = self.stream.context().mem_get_info().map_err(|e| DeviceError::driver("cuMemGetInfo", e))?;
        Ok(self.pool.free_and_total((info.0 as u64, info.1 as u64)))
    }

    /// The kernel `name`, or `name_f32` and `name_bf16` where `dtype` is given.
    pub(super) fn function(&self, name: &'static str, dtype: Option<DType>) -> Result<CudaFunction> {
        let known = self.functions.read().unwrap_or_else(PoisonError::into_inner).get(&(name, dtype)).cloned();
        if let Some(function) = known {
            return Ok(function);
        }
        let full = match dtype {
            None => name.to_owned(),
            Some(DType::F32) => format!("{name}_f32"),
            Some(DType::BF16) => format!("{name}_bf16"),
            Some(other) => bail!("{name}: GPUs compute in f32 and bf16, got {other:?}"),
        };
        let Some(function) = self.modules.iter().find_map(|module| module.load_function(&full).ok()) else {
            bail!("this program has no GPU kernel {full}");
        };
        self.functions.write().unwrap_or_else(PoisonError::into_inner).insert((name, dtype), function.clone());
        Ok(function)
    }
}

/// candle's error as one of ours.
fn of_candle(call: &str, error: &candle_core::Error) -> DeviceError {
    DeviceError::of(error).unwrap_or_else(|| DeviceError::Failed { call: call.to_owned(), reason: error.to_string() })
}
