//! From GPU to GPU by NVIDIA's NCCL.
//!
//! The library is opened when ranks want it, as the other libraries of NVIDIA's are (`gate`), by a handful of its functions.
//! cudarc's module for it would link the program against it: neither would a build without the library end, nor a program
//! without it start.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{DType, Result, bail};
use libloading::Library;

use super::error::DeviceError;
use super::gate;
use super::gpu::Gpu;
use super::launch::Address;
use super::ranks::Way;
use crate::net::NetError;
use crate::net::collective::Collective;

/// `ncclUniqueId`.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([c_char; 128]);

/// `ncclComm_t`: a pointer to what NCCL knows of the ranks.
type Comm = *mut c_void;
/// `ncclResult_t`; 0 is success.
type Code = c_int;

/// `ncclDataType_t`.
const BYTE: c_int = 1;
const FLOAT32: c_int = 7;
const FLOAT64: c_int = 8;
/// `ncclRedOp_t`.
const SUM: c_int = 0;

type AllReduce = unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Comm, *mut c_void) -> Code;
type Broadcast = unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Comm, *mut c_void) -> Code;

/// The functions, as `nccl.h` has them from version 2.4 on.
struct Functions {
    get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> Code,
    comm_init_rank: unsafe extern "C" fn(*mut Comm, c_int, UniqueId, c_int) -> Code,
    comm_abort: unsafe extern "C" fn(Comm) -> Code,
    comm_destroy: unsafe extern "C" fn(Comm) -> Code,
    all_reduce: AllReduce,
    broadcast: Broadcast,
    group_start: unsafe extern "C" fn() -> Code,
    group_end: unsafe extern "C" fn() -> Code,
    error_string: unsafe extern "C" fn(Code) -> *const c_char,
}

impl Functions {
    /// Opens the library, once; it stays open to the program's end.
    fn open() -> std::result::Result<&'static Self, String> {
        static OPENED: OnceLock<std::result::Result<Functions, String>> = OnceLock::new();
        OPENED
            .get_or_init(|| {
                let library = gate::library("nccl", &[2])?;
                let functions = Self::of(&library).map_err(|error| error.to_string());
                // Never closed: the functions are in it.
                std::mem::forget(library);
                functions
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    fn of(library: &Library) -> std::result::Result<Self, libloading::Error> {
        // SAFETY: the types are those of `nccl.h`, which have not changed since version 2.4.
        #[expect(unsafe_code, reason = "the type of a loaded function cannot be checked")]
        unsafe {
            Ok(Self {
                get_unique_id: *library.get("ncclGetUniqueId")?,
                comm_init_rank: *library.get("ncclCommInitRank")?,
                comm_abort: *library.get("ncclCommAbort")?,
                comm_destroy: *library.get("ncclCommDestroy")?,
                all_reduce: *library.get("ncclAllReduce")?,
                broadcast: *library.get("ncclBroadcast")?,
                group_start: *library.get("ncclGroupStart")?,
                group_end: *library.get("ncclGroupEnd")?,
                error_string: *library.get("ncclGetErrorString")?,
            })
        }
    }

    fn check(&self, call: &str, code: Code) -> std::result::Result<(), DeviceError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: NCCL returns a constant text for any number.
        #[expect(unsafe_code, reason = "NCCL's interface")]
        let reason = unsafe { CStr::from_ptr((self.error_string)(code)) }.to_string_lossy().into_owned();
        Err(DeviceError::Failed { call: call.to_owned(), reason })
    }
}

/// NCCL's communicator of all ranks; `None` once it was given up.
struct Ring {
    functions: &'static Functions,
    comm: Mutex<Option<Pointer>>,
}

struct Pointer(Comm);

// SAFETY: NCCL lets any thread use a communicator, one at a time; it is only reached with the lock of `Ring::comm`.
#[expect(unsafe_code, reason = "a pointer says nothing about threads")]
unsafe impl Send for Pointer {}

impl Ring {
    /// Calls `call` with the communicator.
    fn with(
        &self,
        name: &'static str,
        call: impl FnOnce(&Functions, Comm) -> Code,
    ) -> std::result::Result<(), DeviceError> {
        match &*self.comm.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Pointer(comm)) => self.functions.check(name, call(self.functions, *comm)),
            None => Err(DeviceError::Failed { call: name.to_owned(), reason: "a rank is gone".to_owned() }),
        }
    }

    /// Takes the communicator away with `end`: what waits in it on the GPU then ends.
    fn end(&self, end: impl FnOnce(&Functions) -> unsafe extern "C" fn(Comm) -> Code) {
        if let Some(Pointer(comm)) = self.comm.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // SAFETY: it was NCCL's and is nobody else's: it was taken out of its place.
            #[expect(unsafe_code, reason = "NCCL's interface")]
            let _ = unsafe { end(self.functions)(comm) };
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.end(|functions| functions.comm_destroy);
    }
}

/// Ranks whose GPUs are connected by NCCL.
pub(super) struct Nccl {
    ring: Arc<Ring>,
    gpu: Arc<Gpu>,
    rank: usize,
}

impl Nccl {
    /// Connects all ranks; `None` where one of them has no NCCL, which rank 0 warns of.
    pub(super) fn open(
        collective: &Arc<dyn Collective>,
        gpu: &Arc<Gpu>,
    ) -> std::result::Result<Option<Box<dyn Way>>, NetError> {
        let found = Functions::open();
        let problem =
            found.as_ref().err().map_or_else(String::new, |reason| format!("libnccl.so.2 was not found: {reason}"));
        let problems = collective.gather(problem.as_bytes())?;
        let Some(functions) = found.ok().filter(|_| problems.iter().all(Vec::is_empty)) else {
            if collective.rank() == 0 {
                problems.iter().enumerate().filter(|(_, problem)| !problem.is_empty()).for_each(|(rank, problem)| {
                    tracing::warn!(
                        "NCCL is not used, since rank {rank} has none: {}",
                        String::from_utf8_lossy(problem)
                    );
                });
            }
            return Ok(None);
        };
        let id = unique_id(functions, collective.as_ref())?;
        let comm = connect(functions, gpu, id, (collective.rank(), collective.ranks()))?;
        let ring = Arc::new(Ring { functions, comm: Mutex::new(Some(Pointer(comm))) });
        // A kernel of NCCL's waits for a rank that is gone for ever, unless it is told.
        let aborted = Arc::downgrade(&ring);
        collective.on_trouble(Box::new(move |_| {
            if let Some(ring) = aborted.upgrade() {
                ring.end(|functions| functions.comm_abort);
            }
        }));
        Ok(Some(Box::new(Self { ring, gpu: Arc::clone(gpu), rank: collective.rank() })))
    }

    fn stream(&self) -> *mut c_void {
        self.gpu.stream().cu_stream().cast()
    }
}

/// The name of the meeting of this training's ranks, which rank 0 draws and all hear.
fn unique_id(functions: &Functions, collective: &dyn Collective) -> std::result::Result<UniqueId, NetError> {
    let mut id = UniqueId([0; 128]);
    if collective.rank() == 0 {
        // SAFETY: NCCL writes the 128 bytes of an id.
        #[expect(unsafe_code, reason = "NCCL's interface")]
        functions.check("ncclGetUniqueId", unsafe { (functions.get_unique_id)(&raw mut id) })?;
    }
    let mut bytes: Vec<u8> = id.0.iter().map(|byte| *byte as u8).collect();
    collective.broadcast(&mut bytes)?;
    id.0.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte as c_char);
    Ok(id)
}

/// Waits until all ranks are connected.
fn connect(
    functions: &Functions,
    gpu: &Gpu,
    id: UniqueId,
    (rank, ranks): (usize, usize),
) -> std::result::Result<Comm, DeviceError> {
    let bound = gpu.stream().context().bind_to_thread();
    bound.map_err(|error| DeviceError::driver("cuCtxSetCurrent", error))?;
    let mut comm: Comm = std::ptr::null_mut();
    // SAFETY: NCCL writes a pointer where it is told to; the GPU of this thread's context is this rank's.
    #[expect(unsafe_code, reason = "NCCL's interface")]
    let code = unsafe { (functions.comm_init_rank)(&raw mut comm, ranks as c_int, id, rank as c_int) };
    functions.check("ncclCommInitRank", code)?;
    Ok(comm)
}

impl Way for Nccl {
    fn sum(&self, values: Address, count: usize, dtype: DType) -> Result<()> {
        let kind = match dtype {
            DType::F32 => FLOAT32,
            DType::F64 => FLOAT64,
            other => bail!("ranks add up f32 and f64, got {other:?}"),
        };
        let (place, stream) = (values.0 as *mut c_void, self.stream());
        // SAFETY: the callers give places on this GPU with so many values, which live until the stream has come past this.
        #[expect(unsafe_code, reason = "NCCL's interface")]
        let queued = self.ring.with("ncclAllReduce", |nccl, comm| unsafe {
            (nccl.all_reduce)(place, place, count, kind, SUM, comm, stream)
        });
        Ok(queued?)
    }

    fn gather(&self, whole: Address, parts: &[Range<usize>]) -> Result<()> {
        debug_assert!(self.rank < parts.len(), "every rank has a part");
        let stream = self.stream();
        // One broadcast a rank, since parts need not be of one size; in a group they are one piece of work.
        // SAFETY: as in `sum`; parts do not overlap.
        #[expect(unsafe_code, reason = "NCCL's interface")]
        let queued = self.ring.with("ncclBroadcast", |nccl, comm| unsafe {
            let mut first = (nccl.group_start)();
            for (root, part) in parts.iter().enumerate() {
                let place = (whole.0 + part.start as u64) as *mut c_void;
                let code = (nccl.broadcast)(place, place, part.len(), BYTE, root as c_int, comm, stream);
                first = if first == 0 { code } else { first };
            }
            let code = (nccl.group_end)();
            if first == 0 { code } else { first }
        });
        Ok(queued?)
    }

    fn describe(&self) -> String {
        "which exchange numbers by NCCL".to_owned()
    }
}
