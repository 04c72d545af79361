//! 3x3 convolutions with stride 1 by Winograd's minimal filtering: a quarter of the multiplications.
//!
//! The image is cut into tiles of 4x4 results. Each becomes 36 values a channel, whose products with the transformed
//! kernels are 36 matrix products over channels; [`transform`] has the formulas.

mod convolve;
mod gradient;
mod grid;
mod kernels;
mod parts;
mod tile;
mod tiles;
mod transform;

use super::super::lanes::Lanes;
use super::geometry::{Conv2dConfig, Geometry};
pub(super) use convolve::Finish;
use grid::Grid;
pub(super) use parts::Parts;

/// Whether this convolution can be computed here.
pub(super) fn fits(g: &Geometry) -> bool {
    let Conv2dConfig { stride, padding, dilation, groups } = g.config;
    g.kernel == 3 && stride == 1 && padding <= 2 && dilation == 1 && groups == 1
}

/// Values of every vector's width divide this: where the first of two images has a multiple of it in channels, no vector
/// lies in both.
pub(super) const WIDEST: usize = 16;

/// The output, from `x` and `w: [3, 3, Ci, Co]`.
pub(super) fn forward<T: Lanes>(g: &Geometry, x: Parts<'_, T>, w: &[T], finish: Finish<'_, T>) -> Vec<T> {
    let [y, _] = convolve::convolve(&Grid::forward(g), x, w, finish, g.out_channels);
    y
}

/// The input's gradient, from the output's and `flipped: [3, 3, Co, Ci]`, the kernels turned round: of the first `split`
/// channels, and of the others.
pub(super) fn input_gradient<T: Lanes>(g: &Geometry, dy: &[T], flipped: &[T], split: usize) -> [Vec<T>; 2] {
    let dy = Parts::whole(dy, g.out_channels);
    convolve::convolve(&Grid::backward(g), dy, flipped, Finish { bias: None, relu: false }, split)
}

/// The kernels' gradient.
pub(super) fn kernel_gradient<T: Lanes>(g: &Geometry, x: Parts<'_, T>, dy: &[T]) -> Vec<T> {
    gradient::kernel_gradient(&Grid::forward(g), x, dy)
}
