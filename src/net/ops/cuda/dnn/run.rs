//! cuDNN in use: algorithms chosen once a shape, working memory kept.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Result;
use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtrMut};

use super::super::error::DeviceError;
use super::super::gpu::Numerics;
use super::super::launch::Address;
use super::descriptors::{ConvSpec, Descriptors};
use super::pass::{Data, Filter, Forward, Offer, Operands, Pass, Workspace};

/// No algorithm gets more working memory than this. Those that want more are for small kernels on large images, where they
/// do not pay.
const WORKSPACE: usize = 1 << 30;

/// A handle of cuDNN and what was decided with it.
pub(in super::super) struct Dnn {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
    numerics: Numerics,
    known: HashMap<ConvSpec, Known>,
    /// Shared by all convolutions: they come one after another on one stream.
    workspace: Option<CudaSlice<u8>>,
}

// SAFETY: a handle may be used by any thread, by one at a time; it lies behind a mutex.
#[expect(unsafe_code, reason = "raw handles carry no promise of their own")]
unsafe impl Send for Dnn {}

/// A convolution that was met before.
struct Known {
    descriptors: Descriptors,
    forward: Option<Offer<sys::cudnnConvolutionFwdAlgo_t>>,
    data: Option<Offer<sys::cudnnConvolutionBwdDataAlgo_t>>,
    filter: Option<Offer<sys::cudnnConvolutionBwdFilterAlgo_t>>,
}

impl Dnn {
    /// For work on `stream`.
    pub(in super::super) fn new(stream: Arc<CudaStream>, numerics: Numerics) -> std::result::Result<Self, DeviceError> {
        stream.context().bind_to_thread().map_err(|e| DeviceError::driver("cuCtxSetCurrent", e))?;
        let handle = result::create_handle().map_err(|e| DeviceError::dnn("cudnnCreate", e))?;
        // SAFETY: handle and stream are alive.
        #[expect(unsafe_code, reason = "cuDNN's interface")]
        let set = unsafe { result::set_stream(handle, stream.cu_stream().cast()) };
        set.map_err(|e| DeviceError::dnn("cudnnSetStream", e))?;
        Ok(Self { handle, stream, numerics, known: HashMap::new(), workspace: None })
    }

    /// `y = conv(x, w)`.
    pub(in super::super) fn forward(&mut self, spec: &ConvSpec, x: Address, w: Address, y: Address) -> Result<()> {
        self.compute::<Forward>(spec, [x, w, y], |known| &mut known.forward)
    }

    /// `dx`, from the weights and the gradient of the result.
    pub(in super::super) fn data(&mut self, spec: &ConvSpec, w: Address, dy: Address, dx: Address) -> Result<()> {
        self.compute::<Data>(spec, [w, dy, dx], |known| &mut known.data)
    }

    /// `dw`, from the image and the gradient of the result.
    pub(in super::super) fn filter(&mut self, spec: &ConvSpec, x: Address, dy: Address, dw: Address) -> Result<()> {
        self.compute::<Filter>(spec, [x, dy, dw], |known| &mut known.filter)
    }

    fn compute<P: Pass>(
        &mut self,
        spec: &ConvSpec,
        operands: [Address; 3],
        slot: impl Fn(&mut Known) -> &mut Option<Offer<P::Algorithm>>,
    ) -> Result<()> {
        let [a, b, out] = operands.map(|address| address.0 as *mut std::ffi::c_void);
        let operands = Operands { a, b, out };
        let context = self.stream.context().bind_to_thread();
        context.map_err(|e| DeviceError::driver("cuCtxSetCurrent", e))?;
        let mut known = match self.known.remove(spec) {
            Some(known) => known,
            None => {
                let descriptors = Descriptors::new(spec, self.numerics)?;
                Known { descriptors, forward: None, data: None, filter: None }
            }
        };
        let chosen = match *slot(&mut known) {
            Some(offer) => offer,
            None => {
                let offer = self.choose::<P>(spec, &known.descriptors, operands)?;
                *slot(&mut known).insert(offer)
            }
        };
        let workspace = self.workspace(chosen.workspace)?;
        // SAFETY: handle and descriptors are alive, the operands are as `spec` says (`conv.rs` made them so), and the
        // working memory is as large as the algorithm asked for.
        #[expect(unsafe_code, reason = "cuDNN's interface")]
        let queued = unsafe { P::run(self.handle, &known.descriptors, chosen.algorithm, operands, workspace) };
        self.known.insert(*spec, known);
        queued.map_err(|e| DeviceError::dnn(P::CALL, e).into())
    }

    fn choose<P: Pass>(
        &mut self,
        spec: &ConvSpec,
        descriptors: &Descriptors,
        operands: Operands,
    ) -> Result<Offer<P::Algorithm>> {
        let fixed = self.numerics.deterministic;
        // SAFETY: as in `compute`.
        #[expect(unsafe_code, reason = "cuDNN's interface")]
        let offers = match fixed {
            true => unsafe { P::rank(self.handle, descriptors) },
            false => {
                let workspace = self.spacious()?;
                unsafe { P::find(self.handle, descriptors, operands, workspace) }
            }
        };
        let offers = offers.map_err(|e| DeviceError::dnn(P::CALL, e))?;
        if !fixed {
            // What the trials used is far more than most algorithms need.
            self.workspace = None;
        }
        let fits = |offer: &Offer<_>| offer.workspace <= WORKSPACE && (offer.deterministic || !fixed);
        match offers.into_iter().find(fits) {
            Some(offer) => Ok(offer),
            None => {
                let reason = match fixed {
                    true => format!("no algorithm adds up in a fixed order for {spec:?}: try `deterministic: false`"),
                    false => format!("no algorithm computes {spec:?}"),
                };
                Err(DeviceError::Dnn { call: P::CALL, reason }.into())
            }
        }
    }

    /// At least so many bytes.
    fn workspace(&mut self, bytes: usize) -> Result<Workspace> {
        if bytes == 0 {
            return Ok(Workspace { at: std::ptr::null_mut(), bytes: 0 });
        }
        if self.workspace.as_ref().is_none_or(|kept| kept.len() < bytes) {
            self.workspace = None;
            // SAFETY: working memory has no meaning before it is written.
            #[expect(unsafe_code, reason = "zeroing it would be work for nothing")]
            let fresh = unsafe { self.stream.alloc::<u8>(bytes) };
            self.workspace = Some(fresh.map_err(|e| DeviceError::driver("an allocation of working memory", e))?);
        }
        let at = self.workspace.as_mut().map_or(0, |kept| kept.device_ptr_mut(&self.stream).0);
        Ok(Workspace { at: at as *mut std::ffi::c_void, bytes })
    }

    /// Working memory to try algorithms in: as much as may be, or less where there is not so much.
    fn spacious(&mut self) -> Result<Workspace> {
        let mut bytes = WORKSPACE;
        loop {
            match self.workspace(bytes) {
                Err(_) if bytes > 1 << 20 => bytes /= 4,
                found => return found,
            }
        }
    }
}

impl Drop for Dnn {
    fn drop(&mut self) {
        self.known.clear();
        // SAFETY: nobody else has the handle. A refusal has nobody to be told to.
        #[expect(unsafe_code, reason = "cuDNN's interface")]
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}
