//! The three things that a convolution computes, each with algorithms of its own.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};

use super::descriptors::Descriptors;

/// An algorithm as cuDNN offers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<A> {
    pub(super) algorithm: A,
    /// Bytes of working memory.
    pub(super) workspace: usize,
    /// Adds up in the same order every time.
    pub(super) deterministic: bool,
}

/// Addresses of the two operands and the result, in the order of the pass's own call.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub(super) a: *const c_void,
    pub(super) b: *const c_void,
    pub(super) out: *mut c_void,
}

/// Working memory.
#[derive(Clone, Copy)]
pub(super) struct Workspace {
    pub(super) at: *mut c_void,
    pub(super) bytes: usize,
}

/// One of the three computations.
pub(super) trait Pass {
    /// cuDNN's name of an algorithm.
    type Algorithm: Copy;
    /// For errors.
    const CALL: &'static str;

    /// What could compute it, the likely fastest first.
    ///
    /// # Safety
    /// Handle and descriptors are alive.
    #[expect(unsafe_code, reason = "cuDNN's interface")]
    unsafe fn rank(handle: sys::cudnnHandle_t, d: &Descriptors) -> Result<Vec<Offer<Self::Algorithm>>, CudnnError>;

    /// As `rank`, but measured: every algorithm that fits into the working memory computes the result once.
    ///
    /// # Safety
    /// As `run`.
    #[expect(unsafe_code, reason = "cuDNN's interface")]
    unsafe fn find(
        handle: sys::cudnnHandle_t,
        d: &Descriptors,
        o: Operands,
        w: Workspace,
    ) -> Result<Vec<Offer<Self::Algorithm>>, CudnnError>;

    /// Queues the computation.
    ///
    /// # Safety
    /// Handle and descriptors are alive; operands and working memory are as large as the descriptors say.
    #[expect(unsafe_code, reason = "cuDNN's interface")]
    unsafe fn run(
        handle: sys::cudnnHandle_t,
        d: &Descriptors,
        algorithm: Self::Algorithm,
        o: Operands,
        w: Workspace,
    ) -> Result<(), CudnnError>;
}

/// Image to image: operands image, weights; result image.
pub(super) struct Forward;
/// Gradient of the image: operands weights, gradient of the result; result gradient of the image.
pub(super) struct Data;
/// Gradient of the weights: operands image, gradient of the result; result gradient of the weights.
pub(super) struct Filter;

/// More algorithms than cuDNN has for any pass.
const OFFERS: usize = 16;

macro_rules! pass {
    (
        $pass:ident, $call:literal, $algorithm:ident, $perf:ident, $rank:ident, $find:ident, $run:ident,
        [$first:ident, $second:ident, $third:ident]
    ) => {
        impl Pass for $pass {
            type Algorithm = sys::$algorithm;
            const CALL: &'static str = $call;

            #[expect(unsafe_code, reason = "cuDNN's interface")]
            unsafe fn rank(
                handle: sys::cudnnHandle_t,
                d: &Descriptors,
            ) -> Result<Vec<Offer<Self::Algorithm>>, CudnnError> {
                let mut found = [const { MaybeUninit::<sys::$perf>::uninit() }; OFFERS];
                let mut count: c_int = 0;
                let at = found.as_mut_ptr().cast();
                // SAFETY: as the caller says; there is room for as many answers as are asked for.
                unsafe {
                    result::$rank(handle, d.$first, d.$second, d.conv, d.$third, OFFERS as c_int, &raw mut count, at)?;
                }
                let found = found.iter().take(count as usize);
                // SAFETY: cuDNN has written as many answers as it says.
                let found = found.map(|perf| unsafe { perf.assume_init_read() });
                Ok(found.filter(|perf| perf.status.result().is_ok()).map(|perf| offer!(perf)).collect())
            }

            #[expect(unsafe_code, reason = "cuDNN's interface")]
            unsafe fn find(
                handle: sys::cudnnHandle_t,
                d: &Descriptors,
                o: Operands,
                w: Workspace,
            ) -> Result<Vec<Offer<Self::Algorithm>>, CudnnError> {
                let mut found = [const { MaybeUninit::<sys::$perf>::uninit() }; OFFERS];
                let mut count: c_int = 0;
                let at = found.as_mut_ptr().cast();
                // SAFETY: as the caller says; there is room for as many answers as are asked for.
                unsafe {
                    sys::$find(
                        handle,
                        d.$first,
                        o.a,
                        d.$second,
                        o.b,
                        d.conv,
                        d.$third,
                        o.out,
                        OFFERS as c_int,
                        &raw mut count,
                        at,
                        w.at,
                        w.bytes,
                    )
                    .result()?;
                }
                let found = found.iter().take(count as usize);
                // SAFETY: cuDNN has written as many answers as it says.
                let found = found.map(|perf| unsafe { perf.assume_init_read() });
                Ok(found.filter(|perf| perf.status.result().is_ok()).map(|perf| offer!(perf)).collect())
            }

            #[expect(unsafe_code, reason = "cuDNN's interface")]
            unsafe fn run(
                handle: sys::cudnnHandle_t,
                d: &Descriptors,
                algorithm: Self::Algorithm,
                o: Operands,
                w: Workspace,
            ) -> Result<(), CudnnError> {
                let (one, zero) = (1.0_f32, 0.0_f32);
                // SAFETY: as the caller says; both factors are f32, as they are for f32 and bf16 images.
                unsafe {
                    result::$run(
                        handle,
                        (&raw const one).cast(),
                        d.$first,
                        o.a,
                        d.$second,
                        o.b,
                        d.conv,
                        algorithm,
                        w.at,
                        w.bytes,
                        (&raw const zero).cast(),
                        d.$third,
                        o.out,
                    )
                }
            }
        }
    };
}

macro_rules! offer {
    ($perf:expr) => {{
        let perf = $perf;
        let deterministic = perf.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
        Offer { algorithm: perf.algo, workspace: perf.memory, deterministic }
    }};
}

pass!(
    Forward,
    "cudnnConvolutionForward",
    cudnnConvolutionFwdAlgo_t,
    cudnnConvolutionFwdAlgoPerf_t,
    get_convolution_forward_algorithm,
    cudnnFindConvolutionForwardAlgorithmEx,
    convolution_forward,
    [x, w, y]
);
pass!(
    Data,
    "cudnnConvolutionBackwardData",
    cudnnConvolutionBwdDataAlgo_t,
    cudnnConvolutionBwdDataAlgoPerf_t,
    get_convolution_backward_data_algorithm,
    cudnnFindConvolutionBackwardDataAlgorithmEx,
    convolution_backward_data,
    [w, y, x]
);
pass!(
    Filter,
    "cudnnConvolutionBackwardFilter",
    cudnnConvolutionBwdFilterAlgo_t,
    cudnnConvolutionBwdFilterAlgoPerf_t,
    get_convolution_backward_filter_algorithm,
    cudnnFindConvolutionBackwardFilterAlgorithmEx,
    convolution_backward_filter,
    [x, y, w]
);
