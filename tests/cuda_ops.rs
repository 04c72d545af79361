//! Every operator on the GPU against itself on the CPU, forward and backward, in f32 and bf16.

#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod cuda_device;
mod cuda_operator_kit;
#[allow(dead_code, reason = "a part of the library, of which only some is looked at here")]
#[path = "../src/net/ops/cuda/rows.rs"]
mod rows;

use std::slice::from_ref;

use candle_core::{DType, Device, Tensor, Var};
use cuda_operator_kit::{Network, bits, check, check_as, error, numbers, random, rounded, run, tolerance};
use rows::Rows;
use s2pipe::net::ops::{self, Conv2dConfig, Running};
use s2pipe::net::{Compute, GpuUse, Wanted};

/// One value a channel, a few channels, odd sizes, whole packs of both types, slices of many channels with and without
/// whole packs, and rows for several blocks.
const SHAPES: [[usize; 4]; 8] = [
    [1, 2, 2, 1],
    [1, 5, 7, 1],
    [2, 9, 11, 37],
    [3, 6, 10, 8],
    [2, 5, 3, 131],
    [1, 4, 3, 528],
    [2, 63, 41, 1],
    [2, 33, 31, 24],
];

#[test]
fn single_values() {
    for shape in SHAPES {
        let x = random(1, &shape).affine(2.0, 0.0).unwrap();
        check(&format!("relu {shape:?}"), &|v| ops::relu(&v[0]), from_ref(&x), 1);
        check(&format!("gelu {shape:?}"), &|v| ops::gelu(&v[0]), &[x], 1);
    }
}

#[test]
fn pooling_and_resampling() {
    for shape in SHAPES {
        let x = random(2, &shape);
        check(&format!("max_pool2x2 {shape:?}"), &|v| ops::max_pool2x2(&v[0]), from_ref(&x), 1);
        check(&format!("max_pool3x3 {shape:?}"), &|v| ops::max_pool3x3(&v[0]), from_ref(&x), 1);
        check(&format!("upsample_nearest2x {shape:?}"), &|v| ops::upsample_nearest2x(&v[0]), from_ref(&x), 1);
        for (size, corners) in [([9, 14], false), ([9, 14], true), ([3, 1], false), ([1, 5], true), ([2, 2], false)] {
            let name = format!("upsample_bilinear {shape:?} to {size:?}, corners {corners}");
            let f = |v: &[Tensor]| ops::upsample_bilinear(&v[0], size[0], size[1], corners);
            check(&name, &f, from_ref(&x), 1);
        }
    }
    let one = random(3, &[2, 1, 1, 5]);
    check("upsample_bilinear of one pixel", &|v| ops::upsample_bilinear(&v[0], 6, 7, true), &[one], 1);
}

#[test]
fn the_first_of_equal_maxima_gets_the_gradient_and_a_nan_is_the_maximum() {
    let Some(gpu) = cuda_device::open() else { return };
    let mut values: Vec<f32> = (0..5 * 7 * 8).map(|i| (i * 7 % 3) as f32).collect();
    for i in [3, 60, 61, 150, 199] {
        values[i] = f32::NAN;
    }
    let x = Tensor::from_vec(values, (1, 5, 7, 8), &Device::Cpu).unwrap();
    let pools: [(Network<'_>, [usize; 4]); 2] =
        [(&|v| ops::max_pool2x2(&v[0]), [1, 2, 3, 8]), (&|v| ops::max_pool3x3(&v[0]), [1, 3, 4, 8])];
    for (pool, out) in pools {
        let pull = random(4, &out);
        let expected = run(pool, from_ref(&x), Some(&pull));
        let found = run(pool, &[x.to_device(&gpu.device()).unwrap()], Some(&pull.to_device(&gpu.device()).unwrap()));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(bits(found), bits(expected));
        }
    }
}

#[test]
fn sums_and_means() {
    for shape in SHAPES {
        let inputs = [random(12, &shape), random(13, &shape)];
        for relu in [false, true] {
            check(&format!("add {shape:?}, relu {relu}"), &|v| ops::add(&v[0], &v[1], relu), &inputs, 2);
        }
        check(&format!("mean_pool {shape:?}"), &|v| ops::mean_pool(&v[0]), &inputs[..1], 1);
    }
}

#[test]
fn joining() {
    for shape in SHAPES {
        let [n, h, w, c] = shape;
        for right in [c, 1, 16] {
            let inputs = [random(4, &shape), random(5, &[n, h, w, right])];
            check(
                &format!("concat_channels {shape:?} and {right}"),
                &|v| ops::concat_channels(&v[0], &v[1]),
                &inputs,
                2,
            );
        }
    }
}

#[test]
fn gradients_of_two_consumers_add_up() {
    for shape in SHAPES {
        let f = |v: &[Tensor]| ops::concat_channels(&ops::relu(&v[0])?, &ops::gelu(&v[0])?);
        for dtype in [DType::F32, DType::BF16] {
            // Two gradients that are rounded, and their sum.
            check_as(&format!("two consumers {shape:?}"), &f, &[random(6, &shape)], 1, (dtype, 3.0));
        }
    }
}

/// Images with a mean and a variance of their own in every channel, and parameters.
fn to_normalise(shape: &[usize]) -> [Tensor; 3] {
    let channels = shape[shape.len() - 1];
    let spread = random(8, &[channels]).affine(0.3, 1.5).unwrap();
    let mean = random(9, &[channels]).affine(3.0, 0.0).unwrap();
    let x = random(7, shape).broadcast_mul(&spread).unwrap().broadcast_add(&mean).unwrap();
    [x, random(10, &[channels]), random(11, &[channels]).affine(0.3, 0.0).unwrap()]
}

#[test]
fn batch_normalisation() {
    for shape in SHAPES {
        for relu in [false, true] {
            let f = |v: &[Tensor]| {
                let var = |value: f32| {
                    Var::from_tensor(&Tensor::full(value, shape[3], &Device::Cpu)?.to_device(v[0].device())?)
                };
                let running = Running { mean: &var(0.0)?, variance: &var(1.0)?, momentum: 0.1 };
                ops::batch_norm_running(&v[0], &v[1], &v[2], 1e-5, relu, running)
            };
            check(&format!("batch_norm {shape:?}, relu {relu}"), &f, &to_normalise(&shape), 1);
        }
    }
}

/// Mean and unbiased variance of every channel, in f64.
fn moments(x: &Tensor) -> [Vec<f64>; 2] {
    let channels = x.dims()[x.rank() - 1];
    let (values, count) = (numbers(x), x.elem_count() / channels);
    let of = |c: usize, f: &dyn Fn(f64) -> f64| {
        values.iter().skip(c).step_by(channels).map(|v| f(f64::from(*v))).sum::<f64>()
    };
    let mean: Vec<f64> = (0..channels).map(|c| of(c, &|v| v) / count as f64).collect();
    let variance = (0..channels).map(|c| of(c, &|v| (v - mean[c]).powi(2)) / (count as f64 - 1.0)).collect();
    [mean, variance]
}

#[test]
fn running_averages_follow_the_batch_also_where_the_mean_is_far_from_0() {
    let Some(gpu) = cuda_device::open() else { return };
    for shape in SHAPES {
        for offset in [0.0, 1e4] {
            let [x, gamma, beta] = to_normalise(&shape);
            let x = (x + offset).unwrap();
            let before = [20, 21].map(|seed| random(seed, &[shape[3]]).abs().unwrap());
            let [mean, variance] =
                [0, 1].map(|i| Var::from_tensor(&before[i].to_device(&gpu.device()).unwrap()).unwrap());
            let running = Running { mean: &mean, variance: &variance, momentum: 0.3 };
            let [on_gpu, gamma, beta] = [&x, &gamma, &beta].map(|t| t.to_device(&gpu.device()).unwrap());
            ops::batch_norm_running(&on_gpu, &gamma, &beta, 1e-5, true, running).unwrap();
            for ((found, before), batch) in [mean, variance].iter().zip(&before).zip(moments(&x)) {
                let moved = numbers(before)
                    .into_iter()
                    .zip(batch)
                    .map(|(old, new)| old + (0.3 * (new - f64::from(old))) as f32);
                let error = error(&numbers(found), &moved.collect::<Vec<f32>>());
                assert!(error < 2e-6, "{shape:?}, mean {offset}: {error:.1e}");
            }
        }
    }
}

#[test]
fn group_normalisation() {
    for (shape, groups) in [
        ([1, 3, 5, 1], 1),
        ([2, 4, 3, 37], 1),
        ([2, 3, 2, 37], 37),
        ([3, 1, 2, 6], 3),
        ([3, 33, 31, 24], 4),
        ([2, 9, 7, 528], 33),
        ([1, 63, 41, 2], 2),
    ] {
        for relu in [false, true] {
            let f = |v: &[Tensor]| ops::group_norm(&v[0], &v[1], &v[2], groups, 1e-5, relu);
            check(&format!("group_norm {shape:?}, {groups} groups, relu {relu}"), &f, &to_normalise(&shape), 1);
        }
    }
}

#[test]
fn layer_normalisation() {
    // Of one channel nothing is left but rounding.
    for shape in SHAPES.into_iter().filter(|shape| shape[3] > 1) {
        let f = |v: &[Tensor]| ops::layer_norm(&v[0], &v[1], &v[2], 1e-5);
        check(&format!("layer_norm {shape:?}"), &f, &to_normalise(&shape), 1);
    }
}

#[test]
fn attention() {
    // Heads for all kernels, full or not; keys and queries for parts of blocks and for several tiles, queries for slices.
    for ([n, h, w, channels], [key_h, key_w], heads) in [
        ([2, 3, 2, 4], [2, 3], 1),
        ([1, 3, 3, 40], [4, 5], 5),
        ([1, 5, 7, 37], [3, 3], 1),
        ([2, 12, 13, 64], [5, 4], 2),
        ([1, 9, 8, 96], [11, 13], 1),
        ([1, 2, 3, 256], [3, 2], 2),
        ([1, 33, 31, 24], [6, 7], 3),
        ([2, 20, 19, 16], [20, 19], 1),
    ] {
        let keys = [n, key_h, key_w, channels];
        let inputs = [random(1, &[n, h, w, channels]), random(2, &keys), random(3, &keys)];
        let name = format!("attention {n}x{h}x{w}x{channels} to {key_h}x{key_w}, {heads} heads");
        let f = |v: &[Tensor]| ops::attention(&v[0], &v[1], &v[2], heads);
        // The way back reads the result, which is rounded, and takes differences of what it makes from it.
        for (dtype, factor) in [(DType::F32, 1.0), (DType::BF16, 5.0)] {
            check_as(&name, &f, &inputs, 3, (dtype, factor));
        }
    }
}

#[test]
fn a_head_that_is_too_deep_for_the_gpu_is_refused() {
    let Some(gpu) = cuda_device::open() else { return };
    let x = random(1, &[1, 2, 2, 129]).to_device(&gpu.device()).unwrap();
    let error = ops::attention(&x, &x, &x, 1).unwrap_err().to_string();
    assert!(error.contains("a head has 129 channels"), "{error}");
}

#[test]
fn values_that_are_not_aligned() {
    let Some(gpu) = cuda_device::open() else { return };
    let shape = [2, 5, 6, 16];
    let values = random(12, &[1 + 2 * 5 * 6 * 16]);
    for dtype in [DType::F32, DType::BF16] {
        let values = rounded(&values, dtype);
        let image = |device: &Device, dtype: DType| {
            let values = values.to_dtype(dtype).unwrap().to_device(device).unwrap();
            values.narrow(0, 1, 2 * 5 * 6 * 16).unwrap().reshape(&shape).unwrap()
        };
        let (cpu, on_gpu) = (image(&Device::Cpu, DType::F32), image(&gpu.device(), dtype));
        let operators: [Network<'_>; 9] = [
            &|v| ops::gelu(&v[0]),
            &|v| ops::max_pool2x2(&v[0]),
            &|v| ops::max_pool3x3(&v[0]),
            &|v| ops::upsample_nearest2x(&v[0]),
            &|v| ops::upsample_bilinear(&v[0], 7, 9, false),
            &|v| ops::concat_channels(&v[0], &v[0]),
            &|v| {
                let ones = Tensor::from_vec(vec![1f32; 16], 16, &Device::Cpu)?.to_device(v[0].device())?;
                ops::group_norm(&v[0], &ones, &ones, 2, 1e-5, true)
            },
            &|v| {
                let ones = Tensor::from_vec(vec![1f32; 16], 16, &Device::Cpu)?.to_device(v[0].device())?;
                ops::layer_norm(&v[0], &ones, &ones, 1e-5)
            },
            &|v| ops::attention(&v[0], &v[0], &v[0], 2),
        ];
        for (i, operator) in operators.iter().enumerate() {
            let (expected, found) = (operator(from_ref(&cpu)).unwrap(), operator(from_ref(&on_gpu)).unwrap());
            let error = error(&numbers(&found), &numbers(&expected));
            assert!(error < tolerance(dtype), "operator {i}, {dtype:?}: {error:.1e}");
        }
    }
}

#[test]
fn convolution() {
    for ([n, h, w, ci, co, k], [stride, padding, dilation, groups]) in [
        ([1, 1, 1, 1, 1, 3], [1, 1, 1, 1]),
        ([2, 7, 5, 37, 3, 3], [1, 1, 1, 1]),
        ([1, 6, 9, 6, 24, 3], [1, 1, 1, 1]),
        ([2, 5, 6, 3, 37, 1], [1, 0, 1, 1]),
        ([1, 9, 8, 5, 4, 3], [2, 1, 1, 1]),
        ([1, 8, 9, 4, 6, 5], [1, 4, 2, 1]),
        ([2, 5, 7, 6, 4, 3], [1, 1, 1, 2]),
        ([1, 7, 5, 16, 16, 3], [1, 1, 1, 16]),
    ] {
        let config = Conv2dConfig { stride, padding, dilation, groups };
        let weights = random(2, &[k, k, ci / groups, co]).affine(0.3, 0.0).unwrap();
        let inputs = [random(1, &[n, h, w, ci]), weights, random(3, &[co])];
        let name = format!("conv2d {n}x{h}x{w}x{ci} to {co}, kernel {k}, {config:?}");
        for (dtype, factor) in [(DType::F32, 1.0), (DType::BF16, 2.0)] {
            // On the GPU the weights are rounded to the images' type, and so is their gradient: here they are beforehand.
            let inputs = [inputs[0].clone(), rounded(&inputs[1], dtype), inputs[2].clone()];
            check_as(&name, &|v| ops::conv2d(&v[0], &v[1], None, config), &inputs[..2], 1, (dtype, factor));
            check_as(&name, &|v| ops::conv2d(&v[0], &v[1], Some(&v[2]), config), &inputs, 1, (dtype, factor));
        }
    }
}

#[test]
fn convolution_of_two_images_and_transposed_convolution() {
    for [n, h, w, a, b, co] in [[1, 1, 2, 1, 1, 1], [2, 5, 7, 16, 3, 2], [1, 6, 5, 8, 24, 37]] {
        for (dtype, factor) in [(DType::F32, 1.0), (DType::BF16, 2.0)] {
            let weights = rounded(&random(3, &[3, 3, a + b, co]).affine(0.2, 0.0).unwrap(), dtype);
            let inputs = [random(1, &[n, h, w, a]), random(2, &[n, h, w, b]), weights];
            let f = |v: &[Tensor]| ops::conv2d_joined(&v[0], &v[1], &v[2], Conv2dConfig::same(3));
            check_as("conv2d_joined", &f, &inputs, 2, (dtype, factor));
            let weights = rounded(&random(4, &[a, 2, 2, co]).affine(0.5, 0.0).unwrap(), dtype);
            let inputs = [random(5, &[n, h, w, a]), weights, random(6, &[co])];
            let f = |v: &[Tensor]| ops::conv_transpose2x2(&v[0], &v[1], &v[2]);
            check_as("conv_transpose2x2", &f, &inputs, 1, (dtype, factor));
        }
    }
}

#[test]
fn rectified_convolution_for_inference() {
    let Some(gpu) = cuda_device::open() else { return };
    let (config, device) = (Conv2dConfig::same(3), gpu.device());
    for dtype in [DType::F32, DType::BF16] {
        let [a, b] = [(1, 5), (2, 8)].map(|(seed, channels)| rounded(&random(seed, &[2, 9, 7, channels]), dtype));
        let [one, both] = [5, 13].map(|ci| rounded(&random(3, &[3, 3, ci, 37]), dtype));
        let bias = random(4, &[37]);
        let expected = [
            ops::conv2d_relu(&a, &one, &bias, config).unwrap(),
            ops::conv2d_relu_joined((&a, &b), &both, &bias, config).unwrap(),
        ];
        let [a, b] = [a, b].map(|t| t.to_dtype(dtype).unwrap().to_device(&device).unwrap());
        let [one, both, bias] = [one, both, bias].map(|t| t.to_device(&device).unwrap());
        let found = [
            ops::conv2d_relu(&a, &one, &bias, config).unwrap(),
            ops::conv2d_relu_joined((&a, &b), &both, &bias, config).unwrap(),
        ];
        for (found, expected) in found.iter().zip(&expected) {
            let error = error(&numbers(found), &numbers(expected));
            assert!(error < 2.0 * tolerance(dtype), "{dtype:?}: {error:.1e}");
        }
    }
}

#[test]
fn grids_cover_slices_and_stay_bounded() {
    let grid = |images, rows, channels, dtype| Rows { images, rows, channels }.summing(dtype);
    assert_eq!(grid(1, 1, 1, DType::F32), [1, 1, 1]);
    assert_eq!(grid(1, 1 << 21, 64, DType::BF16), [1024, 1, 1]);
    assert_eq!(grid(1, 8192, 512, DType::BF16), [256, 1, 1]);
    assert_eq!(grid(1, 100, 513, DType::F32), [4, 9, 1]);
    assert_eq!(grid(32, 1 << 16, 64, DType::F32), [32, 1, 32]);
    assert_eq!(Rows::of(&[2, 3, 5, 7]).rows, 30);
}

#[test]
fn auto_computes_somewhere_and_the_cpu_is_always_there() {
    assert!(matches!(Compute::open(Wanted::Cpu, GpuUse::default()), Ok(Compute::Cpu)));
    assert!(Compute::open(Wanted::Auto, GpuUse::default()).is_ok());
    assert_eq!(Compute::Cpu.activations(), DType::F32);
}
