//! Where the GPU's memory for tensors comes from.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaStream, DriverError, sys};

use super::error::DeviceError;

/// The driver's pool of memory: its own, or one that does not grow beyond a limit.
pub(super) struct Pool {
    stream: Arc<CudaStream>,
    /// `None` where the driver has no pools.
    handle: Option<sys::CUmemoryPool>,
    limit: Option<u64>,
}

// SAFETY: a handle is a number to the driver, which may be asked from any thread.
#[expect(unsafe_code, reason = "raw handles carry no promise of their own")]
unsafe impl Send for Pool {}
// SAFETY: as for `Send`.
#[expect(unsafe_code, reason = "raw handles carry no promise of their own")]
unsafe impl Sync for Pool {}

impl Pool {
    /// The pool that allocations on `stream` come from, from now on.
    ///
    /// # Errors
    /// A limit that the driver cannot keep.
    pub(super) fn new(stream: &Arc<CudaStream>, limit: Option<u64>) -> Result<Self, DeviceError> {
        let device = stream.context().cu_device();
        let handle = match (limit, stream.context().has_async_alloc()) {
            (None, false) => None,
            (None, true) => default_pool(device).ok(),
            (Some(limit), true) => {
                let limited = limited_pool(device, limit);
                Some(limited.map_err(|e| DeviceError::driver("cuMemPoolCreate, for the limit of the memory", e))?)
            }
            (Some(_), false) => {
                let reason = "it has no memory pools: leave `--gpu-memory` out".to_owned();
                return Err(DeviceError::Failed { call: "setting the limit of the memory".to_owned(), reason });
            }
        };
        if let Some(pool) = handle {
            keep_freed_memory(pool);
        }
        Ok(Self { stream: Arc::clone(stream), handle, limit })
    }

    /// Bytes that can be allocated and bytes in all, given what the driver says of the whole GPU.
    pub(super) fn free_and_total(&self, (free, total): (u64, u64)) -> (u64, u64) {
        let Some(pool) = self.handle else { return (free, total) };
        let used = attribute(pool, sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT);
        let reserved = attribute(pool, sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
        let free = free + reserved.saturating_sub(used);
        match self.limit {
            Some(limit) => (free.min(limit.saturating_sub(used)), total.min(limit)),
            None => (free, total),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let (Some(pool), Some(_)) = (self.handle, self.limit) else { return };
        // SAFETY: the pool was made here. What still lies in it stays until it is freed; the driver waits with the rest.
        #[expect(unsafe_code, reason = "the driver's interface")]
        unsafe {
            if let Ok(default) = default_pool(self.stream.context().cu_device()) {
                let _ = sys::cuDeviceSetMemPool(self.stream.context().cu_device(), default);
            }
            let _ = sys::cuMemPoolDestroy(pool);
        }
    }
}

fn default_pool(device: sys::CUdevice) -> Result<sys::CUmemoryPool, DriverError> {
    let mut pool = std::ptr::null_mut();
    // SAFETY: the driver writes one handle.
    #[expect(unsafe_code, reason = "the driver's interface")]
    unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, device) }.result()?;
    Ok(pool)
}

/// A pool of at most `limit` bytes, made the one that the device allocates from.
fn limited_pool(device: sys::CUdevice, limit: u64) -> Result<sys::CUmemoryPool, DriverError> {
    let mut pool = std::ptr::null_mut();
    // SAFETY: all zeros is a valid value of this struct of numbers and pointers, and what the driver's manual asks for in
    // the fields that are not set; the driver copies it.
    #[expect(unsafe_code, reason = "the driver's interface")]
    unsafe {
        let mut properties: sys::CUmemPoolProps = std::mem::zeroed();
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        // The number follows the type; bindings of different toolkits call it differently.
        (&raw mut properties.location).cast::<i32>().add(1).write(device);
        properties.maxSize = limit as usize;
        sys::cuMemPoolCreate(&raw mut pool, &raw const properties).result()?;
        sys::cuDeviceSetMemPool(device, pool).result()?;
    }
    Ok(pool)
}

/// Lets the driver keep what is freed, for the next allocation: a step allocates and frees the same blocks again.
fn keep_freed_memory(pool: sys::CUmemoryPool) {
    let mut keep = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: this attribute is a 64-bit number, and the driver copies it before it returns.
    #[expect(unsafe_code, reason = "the driver's interface")]
    let set = unsafe { sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut keep).cast()) };
    if set.result().is_err() {
        tracing::debug!("the driver gives freed GPU memory back at every wait: training may be slower");
    }
}

/// One of the pool's counts of bytes; 0 where the driver does not tell.
fn attribute(pool: sys::CUmemoryPool, which: sys::CUmemPool_attribute) -> u64 {
    let mut value = 0_u64;
    // SAFETY: the attributes that are asked for are 64-bit numbers.
    #[expect(unsafe_code, reason = "the driver's interface")]
    let told = unsafe { sys::cuMemPoolGetAttribute(pool, which, (&raw mut value).cast()) };
    if told.result().is_ok() { value } else { 0 }
}
