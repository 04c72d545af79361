//! All kernels of a convolution, transformed.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::super::lanes::Lanes;
use super::super::super::panel::Panels;
use super::super::super::scratch::{Filling, filled};
use super::grid::Images;
use super::tile::{self, POINTS};

/// Kernels `[3, 3, in, out]` of a layer.
#[derive(Clone, Copy)]
pub(super) struct Kernels<'a, T> {
    values: &'a [T],
    inputs: usize,
    outputs: usize,
}

impl<'a, T: Lanes> Kernels<'a, T> {
    pub(super) fn new(values: &'a [T], source: Images, result: Images) -> Self {
        let (inputs, outputs) = (source.channels, result.channels);
        assert_eq!(values.len(), 9 * inputs * outputs, "kernels of another size than the images'");
        Self { values, inputs, outputs }
    }

    /// Transforms the kernels from input channel `input` to the outputs of vector `vector`.
    ///
    /// # Safety
    /// 36 vectors at `out` may be written.
    #[inline(always)]
    #[expect(unsafe_code, reason = "writes at places that a caller worked out")]
    pub(super) unsafe fn transform<S: Simd>(
        &self,
        simd: S,
        (input, vector): (usize, usize),
        out: *mut T,
        point_step: usize,
    ) {
        let lanes = T::lanes::<S>();
        let first = vector * lanes;
        let channels = lanes.min(self.outputs - first);
        let taps = &self.values[input * self.outputs + first..];
        // SAFETY: the last tap's last channel is a value of the kernels; the rest is passed on.
        unsafe { tile::kernel::<T, S>(simd, (taps.as_ptr(), self.inputs * self.outputs), channels, out, point_step) };
    }

    /// All of them, `[36][panel][input][column]`.
    #[expect(unsafe_code, reason = "the vectors of a panel lie apart")]
    pub(super) fn in_panels<S: Simd>(&self, simd: S, panels: Panels) -> Vec<T> {
        let point_step = self.inputs * panels.width();
        // SAFETY: every vector of every input's panels is written, by the one task that has the input.
        unsafe {
            filled(POINTS * point_step, |out| {
                (0..self.inputs).into_par_iter().with_min_len(16).for_each(|input| {
                    simd.vectorize(OneInput { simd, kernels: *self, panels, input, out, point_step });
                });
            })
        }
    }
}

/// Transforms the kernels of one input channel.
struct OneInput<'a, S, T> {
    simd: S,
    kernels: Kernels<'a, T>,
    panels: Panels,
    input: usize,
    out: &'a Filling<'a, T>,
    point_step: usize,
}

impl<S: Simd, T: Lanes> WithSimd for OneInput<'_, S, T> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "the vectors of a panel lie apart")]
    fn with_simd<N: Simd>(self, _: N) {
        let Self { simd, kernels, panels, input, out, point_step } = self;
        for vector in 0..panels.width() / T::lanes::<S>() {
            let place = out.at(panels.place(vector, input, kernels.inputs));
            // SAFETY: the 36 vectors lie in `out`, and belong to this input.
            unsafe { kernels.transform(simd, (input, vector), place, point_step) };
        }
    }
}
