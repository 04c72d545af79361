//! Every operator's gradient against central differences in f64.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod gradient_kit;

use candle_core::Tensor;
use gradient_kit::{check, check_linear, check_with, random, spread};
use s2pipe::net::ops::{self, Conv2dConfig};

#[test]
fn convolution() {
    for (n, h, w, ci, co, k, stride, padding) in [
        (1, 1, 1, 1, 1, 3, 1, 1),
        (1, 5, 7, 1, 1, 3, 1, 1),
        (2, 4, 3, 37, 5, 3, 1, 1),
        (1, 3, 5, 2, 37, 3, 1, 1),
        (2, 5, 6, 3, 4, 3, 2, 1),
        (1, 7, 7, 2, 3, 3, 2, 0),
        (1, 6, 4, 2, 2, 5, 3, 2),
        (2, 3, 3, 4, 6, 1, 1, 0),
        (1, 5, 4, 3, 2, 1, 2, 0),
        // Kernels that tile the image, and once not quite; for one part of the sum and for several.
        (1, 2, 2, 1, 1, 2, 2, 0),
        (2, 6, 9, 5, 4, 3, 3, 0),
        (1, 7, 8, 2, 3, 2, 2, 0),
        (3, 36, 4, 2, 3, 2, 2, 0),
        // Large enough for several tiles, and for several groups of tiles.
        (2, 48, 41, 3, 4, 3, 1, 1),
    ] {
        let inputs = [random(1, &[n, h, w, ci]), random(2, &[k, k, ci, co]), random(3, &[co])];
        let config = Conv2dConfig { stride, padding, ..Conv2dConfig::default() };
        let name = format!("conv2d {n}x{h}x{w}x{ci} to {co}, kernel {k}, {config:?}");
        check_linear(&name, |v| ops::conv2d(&v[0], &v[1], Some(&v[2]), config), &inputs);
        check_linear(&name, |v| ops::conv2d(&v[0], &v[1], None, config), &inputs[..2]);
    }
}

#[test]
fn dilated_and_grouped_convolution() {
    for ([n, h, w, ci, co, k], [stride, padding, dilation, groups]) in [
        ([1, 1, 1, 1, 1, 3], [1, 2, 2, 1]),
        ([2, 7, 5, 3, 2, 3], [1, 3, 3, 1]),
        ([1, 9, 8, 2, 3, 3], [2, 2, 2, 1]),
        ([1, 7, 9, 37, 1, 3], [2, 0, 3, 1]),
        ([2, 5, 3, 6, 4, 3], [1, 1, 1, 2]),
        ([1, 6, 7, 4, 6, 5], [3, 4, 2, 2]),
        ([1, 5, 4, 74, 2, 1], [2, 1, 1, 2]),
        // Depthwise: in all block widths, with several outputs a channel, on several rows of partial sums.
        ([1, 1, 1, 2, 2, 3], [1, 1, 1, 2]),
        ([1, 5, 7, 37, 37, 3], [1, 1, 1, 37]),
        ([2, 6, 5, 41, 41, 3], [2, 2, 2, 41]),
        ([1, 7, 5, 5, 10, 3], [2, 1, 1, 5]),
        ([1, 4, 3, 37, 74, 1], [1, 0, 1, 37]),
        ([1, 8, 6, 3, 3, 2], [1, 3, 5, 3]),
        ([2, 37, 5, 2, 2, 5], [1, 2, 1, 2]),
    ] {
        let inputs = [random(1, &[n, h, w, ci]), random(2, &[k, k, ci / groups, co]), random(3, &[co])];
        let config = Conv2dConfig { stride, padding, dilation, groups };
        let name = format!("conv2d {n}x{h}x{w}x{ci} to {co}, kernel {k}, {config:?}");
        check_linear(&name, |v| ops::conv2d(&v[0], &v[1], Some(&v[2]), config), &inputs);
        check_linear(&name, |v| ops::conv2d(&inputs[0], &v[0], Some(&v[1]), config), &inputs[1..]);
    }
}

#[test]
fn bilinear_resampling() {
    for ([n, h, w, c], [height, width]) in [
        ([1, 1, 1, 1], [3, 2]),
        ([1, 3, 5, 1], [6, 10]),
        ([2, 3, 2, 37], [7, 5]),
        ([1, 7, 9, 2], [3, 4]),
        ([1, 5, 4, 3], [1, 9]),
        ([1, 5, 4, 3], [5, 4]),
    ] {
        for corners in [false, true] {
            let name = format!("upsample_bilinear {n}x{h}x{w}x{c} to {height}x{width}, corners {corners}");
            check_linear(&name, |v| ops::upsample_bilinear(&v[0], height, width, corners), &[random(1, &[n, h, w, c])]);
        }
    }
}

#[test]
fn gaussian_error_unit() {
    for shape in [[1, 1, 1, 1], [2, 5, 7, 3], [1, 3, 2, 37]] {
        check("gelu", |v| ops::gelu(&v[0]), &[random(1, &shape).affine(2.0, 0.0).unwrap()]);
    }
}

#[test]
fn group_normalisation() {
    for (shape, groups) in [
        ([1, 3, 5, 1], 1),
        ([2, 4, 3, 37], 1),
        ([2, 3, 2, 37], 37),
        ([3, 1, 2, 6], 3),
        ([1, 1, 1, 8], 2),
        ([1, 60, 50, 6], 2),
    ] {
        let channels = shape[3];
        let x = random(1, &shape).affine(2.0, 5.0).unwrap();
        let inputs = [x.clone(), random(2, &[channels]), random(3, &[channels])];
        let name = format!("group_norm {shape:?}, {groups} groups");
        check(&name, |v| ops::group_norm(&v[0], &v[1], &v[2], groups, 1e-5, false), &inputs);
        // A shift that is large against the step keeps the rectifier's kink away from every value that is checked.
        let inputs = [x, random(2, &[channels]), random(4, &[channels]).affine(0.0, 0.1).unwrap()];
        check(&name, |v| ops::group_norm(&v[0], &v[1], &v[2], groups, 1e-5, true), &inputs);
    }
}

#[test]
fn convolution_of_an_input_that_needs_no_gradient() {
    let x = random(1, &[2, 33, 30, 3]);
    let inputs = [random(2, &[3, 3, 3, 4]), random(3, &[4])];
    check_linear("conv2d, weights only", |v| ops::conv2d(&x, &v[0], Some(&v[1]), Conv2dConfig::same(3)), &inputs);
}

#[test]
fn convolution_of_two_images() {
    for (n, h, w, ca, cb, co) in [(1, 5, 7, 16, 3, 2), (2, 6, 5, 32, 16, 5), (1, 4, 4, 3, 2, 37)] {
        let inputs = [random(1, &[n, h, w, ca]), random(2, &[n, h, w, cb]), random(3, &[3, 3, ca + cb, co])];
        check_linear("conv2d_joined", |v| ops::conv2d_joined(&v[0], &v[1], &v[2], Conv2dConfig::same(3)), &inputs);
    }
}

#[test]
fn transposed_convolution() {
    for (n, h, w, ci, co) in [
        (1, 1, 1, 1, 1),
        (2, 3, 5, 4, 3),
        (1, 2, 3, 37, 2),
        (1, 3, 1, 2, 37),
        (1, 40, 30, 2, 2),
        (1, 2, 8, 16, 8),
        (2, 1, 32, 8, 12),
    ] {
        let inputs = [random(1, &[n, h, w, ci]), random(2, &[ci, 2, 2, co]), random(3, &[co])];
        check_linear("conv_transpose2x2", |v| ops::conv_transpose2x2(&v[0], &v[1], &v[2]), &inputs);
    }
}

#[test]
fn pooling_upsampling_rectifier_concatenation() {
    for shape in [[1, 2, 2, 1], [2, 5, 7, 3], [1, 4, 6, 37]] {
        check("max_pool2x2", |v| ops::max_pool2x2(&v[0]), &[spread(1, &shape)]);
        check("upsample_nearest2x", |v| ops::upsample_nearest2x(&v[0]), &[random(1, &shape)]);
        check("relu", |v| ops::relu(&v[0]), &[spread(1, &shape)]);
        let [n, h, w, _] = shape;
        let inputs = [random(1, &shape), random(2, &[n, h, w, 5])];
        check("concat_channels", |v| ops::concat_channels(&v[0], &v[1]), &inputs);
    }
}

#[test]
fn sums_and_means() {
    for shape in [[1, 1, 1, 1], [2, 5, 7, 3], [1, 40, 37, 12]] {
        // Hundredths and a half of one: neither a sum nor a value of the second is nearer to 0 than that half.
        let inputs = [spread(1, &shape), spread(2, &shape).affine(2.0, 0.005).unwrap()];
        check_linear("add", |v| ops::add(&v[0], &v[1], false), &inputs);
        // Straight on both sides of the kink: a step that stays on one may be large.
        check_with("add, relu", |v| ops::add(&v[0], &v[1], true), &inputs, (1e-3, 1e-8));
        check_with("an image and itself", |v| ops::add(&v[0], &v[0], true), &inputs[1..], (1e-3, 1e-8));
        check_linear("mean_pool", |v| ops::mean_pool(&v[0]), &[random(1, &shape)]);
    }
}

#[test]
fn gradients_of_two_consumers_add_up() {
    let f = |v: &[Tensor]| {
        let up = ops::upsample_nearest2x(&v[0])?;
        ops::concat_channels(&ops::max_pool2x2(&up)?, &ops::relu(&v[0])?)
    };
    check("shared input", f, &[spread(1, &[1, 3, 5, 2])]);
}

#[test]
fn batch_normalisation() {
    for shape in [[1, 3, 5, 1], [2, 4, 3, 37], [3, 1, 2, 4], [1, 60, 50, 7]] {
        let channels = shape[3];
        let x = random(1, &shape).affine(2.0, 5.0).unwrap();
        let inputs = [x, random(2, &[channels]), random(3, &[channels])];
        check("batch_norm", |v| ops::batch_norm(&v[0], &v[1], &v[2], 1e-5, false).map(|r| r.0), &inputs);
        // A shift that is large against the step keeps the rectifier's kink away from every value that is checked.
        let beta = random(4, &[channels]).affine(0.0, 0.1).unwrap();
        let inputs = [inputs[0].clone(), inputs[1].clone(), beta];
        check("batch_norm, relu", |v| ops::batch_norm(&v[0], &v[1], &v[2], 1e-5, true).map(|r| r.0), &inputs);
    }
}
