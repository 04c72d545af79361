//! Operators against the plainest loops that say what they mean.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use candle_core::{DType, Device, Tensor, Var};
use s2pipe::net::IGNORE;
use s2pipe::net::ops::{self, Conv2dConfig};
use s2pipe::net::rng::Rng;

fn random(seed: u64, count: usize) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| rng.normal()).collect()
}

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape, &Device::Cpu).unwrap()
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &[f64]) {
    let found = found.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() < 1e-11 * e.abs().max(1.0), "value {i}: {f}, expected {e}");
    }
}

#[test]
fn convolution_equals_the_loops() {
    for ([n, h, w, ci, co, k], [stride, padding, dilation, groups]) in [
        ([2, 9, 11, 3, 5, 3], [1, 1, 1, 1]),
        ([1, 1, 7, 37, 1, 3], [1, 1, 1, 1]),
        ([1, 8, 9, 2, 3, 3], [2, 1, 1, 1]),
        ([1, 9, 9, 2, 3, 3], [3, 0, 1, 1]),
        ([1, 70, 61, 6, 16, 3], [1, 1, 1, 1]),
        ([1, 6, 7, 4, 2, 5], [2, 2, 1, 1]),
        ([2, 5, 4, 3, 37, 1], [1, 0, 1, 1]),
        ([2, 9, 11, 3, 5, 3], [1, 2, 2, 1]),
        ([1, 13, 9, 2, 37, 3], [2, 4, 4, 1]),
        ([2, 9, 8, 6, 9, 3], [1, 1, 1, 3]),
        ([1, 9, 8, 4, 74, 3], [2, 3, 3, 2]),
        ([2, 9, 11, 37, 37, 3], [1, 1, 1, 37]),
        ([1, 20, 15, 4, 8, 5], [3, 4, 2, 4]),
    ] {
        let in_group = ci / groups;
        let (x, wt, b) = (random(1, n * h * w * ci), random(2, k * k * in_group * co), random(3, co));
        let extent = |size| (size + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
        let (oh, ow) = (extent(h), extent(w));
        let mut y = Vec::new();
        for (image, oy, ox, o) in indices([n, oh, ow, co]) {
            let mut sum = b[o];
            let first = o / (co / groups) * in_group;
            for (ky, kx, i, _) in indices([k, k, in_group, 1]) {
                let source = |out, tap| usize::wrapping_sub(out * stride + tap * dilation, padding);
                let (sy, sx) = (source(oy, ky), source(ox, kx));
                if sy < h && sx < w {
                    sum +=
                        x[((image * h + sy) * w + sx) * ci + first + i] * wt[((ky * k + kx) * in_group + i) * co + o];
                }
            }
            y.push(sum);
        }
        let (x, wt, b) = (tensor(&x, &[n, h, w, ci]), tensor(&wt, &[k, k, in_group, co]), tensor(&b, &[co]));
        let config = Conv2dConfig { stride, padding, dilation, groups };
        let found = ops::conv2d(&x, &wt, Some(&b), config).unwrap();
        assert_eq!(found.dims(), [n, oh, ow, co]);
        assert_close(&found, &y);
        let rectified: Vec<f64> = y.iter().map(|v| v.max(0.0)).collect();
        assert_close(&ops::conv2d_relu(&x, &wt, &b, config).unwrap(), &rectified);
    }
}

#[test]
fn a_convolution_that_keeps_the_size_still_does_when_dilated() {
    let x = tensor(&random(1, 9 * 11 * 4), &[1, 9, 11, 4]);
    for (kernel, dilation, groups) in [(3, 1, 1), (3, 6, 2), (5, 2, 4), (1, 3, 1)] {
        let w = tensor(&random(2, kernel * kernel * 4 / groups * 4), &[kernel, kernel, 4 / groups, 4]);
        let config = Conv2dConfig::same(kernel).dilated(dilation).grouped(groups);
        assert_eq!(ops::conv2d(&x, &w, None, config).unwrap().dims(), x.dims(), "{config:?}");
    }
}

fn indices([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}

/// 3x3 convolutions take a quarter of the multiplications, at the price of rounding: the price is bounded here, relative to
/// the typical size of a value.
#[test]
fn convolution_in_f32_stays_close_to_f64() {
    for [n, h, w, ci, co] in [[1, 12, 12, 512, 64], [2, 37, 29, 24, 48], [1, 64, 64, 6, 16], [1, 8, 8, 256, 512]] {
        let config = Conv2dConfig::same(3);
        let (x, wt) =
            (tensor(&random(1, n * h * w * ci), &[n, h, w, ci]), tensor(&random(2, 9 * ci * co), &[3, 3, ci, co]));
        let gradients = |dtype: DType| {
            let (x, wt) = (x.to_dtype(dtype).unwrap(), wt.to_dtype(dtype).unwrap());
            let (x, wt) = (Var::from_tensor(&x).unwrap(), Var::from_tensor(&wt).unwrap());
            let y = ops::conv2d(&x, &wt, None, config).unwrap();
            let pull = tensor(&random(3, y.elem_count()), y.dims()).to_dtype(dtype).unwrap();
            let grads = (&y * pull).unwrap().sum_all().unwrap().backward().unwrap();
            let found = [y, grads.get(&x).unwrap().clone(), grads.get(&wt).unwrap().clone()];
            found.map(|t| t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap())
        };
        for (what, (single, double)) in
            ["y", "dx", "dw"].iter().zip(gradients(DType::F32).iter().zip(&gradients(DType::F64)))
        {
            let typical = (double.iter().map(|v| v * v).sum::<f64>() / double.len() as f64).sqrt();
            let worst = single.iter().zip(double).map(|(s, d)| (s - d).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-4 * typical, "{what} of {ci} to {co} channels: {:.1e}", worst / typical);
        }
    }
}

#[test]
fn convolution_of_two_images_has_the_bits_of_their_concatenation() {
    let config = Conv2dConfig::same(3);
    // By tiles, by kernels, channels that are no whole vectors, and other kernels.
    for ([n, h, w, ca, cb, co], k) in [
        ([2, 21, 18, 16, 16, 24], 3),
        ([1, 8, 8, 128, 144, 160], 3),
        ([1, 9, 12, 24, 5, 7], 3),
        ([1, 9, 12, 16, 5, 7], 1),
    ] {
        let var = |seed, shape: &[usize]| {
            let values = tensor(&random(seed, shape.iter().product()), shape).to_dtype(DType::F32).unwrap();
            Var::from_tensor(&values).unwrap()
        };
        let config = if k == 3 { config } else { Conv2dConfig::same(1) };
        let (a, b) = (var(1, &[n, h, w, ca]), var(2, &[n, h, w, cb]));
        let (wt, bias) = (var(3, &[k, k, ca + cb, co]), var(4, &[co]));
        let bits = |y: Tensor| {
            let grads = y.sin().unwrap().sum_all().unwrap().backward().unwrap();
            let found = [&y, grads.get(&a).unwrap(), grads.get(&b).unwrap(), grads.get(&wt).unwrap()];
            found.map(|t| {
                t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            })
        };
        let both = ops::concat_channels(&a, &b).unwrap();
        let joined = ops::conv2d_joined(&a, &b, &wt, config).unwrap();
        assert!(bits(joined) == bits(ops::conv2d(&both, &wt, None, config).unwrap()), "{ca} and {cb} channels");
        let joined = ops::conv2d_relu_joined((&a, &b), &wt, &bias, config).unwrap();
        let plain = ops::conv2d_relu(&both, &wt, &bias, config).unwrap();
        assert_eq!(
            joined.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            plain.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
    }
}

#[test]
fn transposed_convolution_equals_the_loops() {
    // Odd sizes, sizes that are whole vectors, and rows long enough to be added up one by one.
    for [n, h, w, ci, co] in [[2, 5, 3, 4, 7], [2, 3, 8, 16, 8], [1, 3, 40, 32, 24], [1, 2, 16, 8, 5]] {
        let (x, wt, b) = (random(1, n * h * w * ci), random(2, ci * 4 * co), random(3, co));
        let mut y = Vec::new();
        for (image, oy, ox, o) in indices([n, 2 * h, 2 * w, co]) {
            let pixel = &x[((image * h + oy / 2) * w + ox / 2) * ci..][..ci];
            let tap = oy % 2 * 2 + ox % 2;
            y.push(b[o] + pixel.iter().enumerate().map(|(i, v)| v * wt[(i * 4 + tap) * co + o]).sum::<f64>());
        }
        let (x, wt, b) = (tensor(&x, &[n, h, w, ci]), tensor(&wt, &[ci, 2, 2, co]), tensor(&b, &[co]));
        assert_close(&ops::conv_transpose2x2(&x, &wt, &b).unwrap(), &y);
    }
}

#[test]
fn pooling_takes_a_nan_as_the_maximum() {
    let x = tensor(&[1.0, 2.0, f64::NAN, 0.0, 5.0, 3.0, 7.0, 9.0], &[1, 2, 4, 1]);
    let y = ops::max_pool2x2(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(y[0], 5.0);
    assert!(y[1].is_nan());
}

#[test]
fn sums_equal_the_loop_and_keep_nan() {
    let (a, b) = (random(1, 20_003), random(2, 20_003));
    let sums: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let (a, b) = (tensor(&a, &[1, 83, 241, 1]), tensor(&b, &[1, 83, 241, 1]));
    assert_close(&ops::add(&a, &b, false).unwrap(), &sums);
    let rectified: Vec<f64> = sums.iter().map(|v| v.max(0.0)).collect();
    assert_close(&ops::add(&a, &b, true).unwrap(), &rectified);
    // A training must see what is no number.
    let y = ops::add(&tensor(&[f64::NAN, -1.0], &[2]), &tensor(&[1.0, -1.0], &[2]), true).unwrap();
    let y = y.to_vec1::<f64>().unwrap();
    assert!(y[0].is_nan() && y[1] == 0.0, "{y:?}");
}

#[test]
fn means_equal_the_loop_and_are_of_each_image() {
    for [n, h, w, c] in [[3, 5, 7, 37], [1, 1, 1, 2], [2, 90, 70, 5]] {
        let x = random(1, n * h * w * c);
        let mean = |(image, channel, ..): (usize, usize, usize, usize)| {
            let values = (0..h * w).map(|pixel| x[(image * h * w + pixel) * c + channel]);
            values.sum::<f64>() / (h * w) as f64
        };
        let expected: Vec<f64> = indices([n, c, 1, 1]).map(mean).collect();
        let found = ops::mean_pool(&tensor(&x, &[n, h, w, c])).unwrap();
        assert_eq!(found.dims(), [n, 1, 1, c]);
        assert_close(&found, &expected);
    }
}

#[test]
fn batch_norm_keeps_its_digits_far_from_zero() {
    // A mean a hundred thousand times the deviation: E[x^2] - E[x]^2 would leave nothing in f32.
    let noise = random(1, 20_000);
    let x: Vec<f32> = noise.iter().map(|v| (1e4 + v * 1e-1) as f32).collect();
    let exact: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let mean = exact.iter().sum::<f64>() / exact.len() as f64;
    let variance = exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / exact.len() as f64;
    let x = Tensor::from_vec(x, (1, 100, 200, 1), &Device::Cpu).unwrap();
    let one = Tensor::ones(1, DType::F32, &Device::Cpu).unwrap();
    let (_, found) = ops::batch_norm(&x, &one, &one, 1e-5, false).unwrap();
    assert!((found.mean[0] - mean).abs() < 1e-3, "{} {mean}", found.mean[0]);
    assert!((found.variance[0] / variance - 1.0).abs() < 1e-2, "{} {variance}", found.variance[0]);
}

#[test]
fn bilinear_resampling_equals_the_loops() {
    for ([n, h, w, c], [height, width]) in [([2, 3, 5, 37], [7, 9]), ([1, 8, 6, 2], [3, 17]), ([1, 1, 2, 1], [4, 1])] {
        let x = random(1, n * h * w * c);
        for corners in [false, true] {
            // Where a place along an axis lies: the pixel before it, the one after it, and how far it is from the former.
            let source = |at: usize, size: usize, out: usize| {
                let at = match (corners, out) {
                    (true, 1) => 0.0,
                    (true, _) => at as f64 * (size - 1) as f64 / (out - 1) as f64,
                    (false, _) => ((at as f64 + 0.5) * size as f64 / out as f64 - 0.5).clamp(0.0, (size - 1) as f64),
                };
                (at.floor() as usize, at.ceil() as usize, at - at.floor())
            };
            let mut y = Vec::new();
            for (image, oy, ox, i) in indices([n, height, width, c]) {
                let value = |sy: usize, sx: usize| x[((image * h + sy) * w + sx) * c + i];
                let ((top, bottom, down), (left, right, across)) = (source(oy, h, height), source(ox, w, width));
                let row = |sy| value(sy, left) * (1.0 - across) + value(sy, right) * across;
                y.push(row(top) * (1.0 - down) + row(bottom) * down);
            }
            let found = ops::upsample_bilinear(&tensor(&x, &[n, h, w, c]), height, width, corners).unwrap();
            assert_eq!(found.dims(), [n, height, width, c]);
            assert_close(&found, &y);
        }
    }
}

#[test]
fn group_norm_equals_the_loops() {
    for ([n, h, w, c], groups) in [([2, 3, 5, 6], 3), ([1, 7, 4, 37], 1), ([2, 2, 3, 37], 37), ([1, 60, 55, 8], 2)] {
        let (x, gamma, beta) = (random(1, n * h * w * c), random(2, c), random(3, c));
        let mut y = vec![0.0; x.len()];
        let width = c / groups;
        for (image, group, ..) in indices([n, groups, 1, 1]) {
            let places =
                || indices([h, w, width, 1]).map(|(y, x, i, _)| (((image * h + y) * w + x) * c, group * width + i));
            let count = places().count() as f64;
            let mean = places().map(|(at, i)| x[at + i]).sum::<f64>() / count;
            let variance = places().map(|(at, i)| (x[at + i] - mean).powi(2)).sum::<f64>() / count;
            for (at, i) in places() {
                y[at + i] = (x[at + i] - mean) / (variance + 1e-5).sqrt() * gamma[i] + beta[i];
            }
        }
        let (x, gamma, beta) = (tensor(&x, &[n, h, w, c]), tensor(&gamma, &[c]), tensor(&beta, &[c]));
        assert_close(&ops::group_norm(&x, &gamma, &beta, groups, 1e-5, false).unwrap(), &y);
        let rectified: Vec<f64> = y.iter().map(|v| v.max(0.0)).collect();
        assert_close(&ops::group_norm(&x, &gamma, &beta, groups, 1e-5, true).unwrap(), &rectified);
    }
}

#[test]
fn group_norm_keeps_its_digits_far_from_zero() {
    // As for batch_norm: a mean far above the deviation, of two channels that are joined.
    let x: Vec<f32> = random(1, 20_000).iter().map(|v| (1e4 + v) as f32).collect();
    let exact: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let mean = exact.iter().sum::<f64>() / exact.len() as f64;
    let variance = exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / exact.len() as f64;
    let (one, zero) =
        (Tensor::new(&[1f32, 1.0], &Device::Cpu).unwrap(), Tensor::new(&[0f32, 0.0], &Device::Cpu).unwrap());
    let x = Tensor::from_vec(x, (1, 100, 100, 2), &Device::Cpu).unwrap();
    let y = ops::group_norm(&x, &one, &zero, 1, 1e-5, false).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (y, x) in y.iter().zip(&exact) {
        // A rounding of x or of the mean is worth 1e-3 here.
        assert!((f64::from(*y) - (x - mean) / variance.sqrt()).abs() < 4e-3, "{y} of {x}");
    }
}

/// The error function by its series `2 / sqrt(pi) * sum (-1)^n z^(2n+1) / (n! (2n+1))`, which is exact enough where its
/// terms stay small.
fn erf(z: f64) -> f64 {
    let (mut power, mut sum) = (z, z);
    for n in 1..60 {
        power *= -z * z / f64::from(n);
        sum += power / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn gelu_equals_the_series_of_the_error_function() {
    let x: Vec<f64> = (-300..=300).map(|i| f64::from(i) * 0.01).collect();
    let expected: Vec<f64> = x.iter().map(|x| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))).collect();
    let x = tensor(&x, &[601]);
    let found = ops::gelu(&x).unwrap();
    let error = (&found - tensor(&expected, &[601])).unwrap().abs().unwrap().max_all().unwrap();
    assert!(error.to_scalar::<f64>().unwrap() < 1e-12);
    let single = ops::gelu(&x.to_dtype(DType::F32).unwrap()).unwrap();
    let error = (found - single.to_dtype(DType::F64).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
    assert!(error.to_scalar::<f64>().unwrap() < 4e-7);
}

#[test]
fn gelu_of_huge_values_is_the_value_or_zero_and_keeps_nan() {
    let x = Tensor::new(&[1e30f32, -1e30, f32::INFINITY, f32::NAN, -13.0], &Device::Cpu).unwrap();
    let y = ops::gelu(&x).unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(y[..3], [1e30, 0.0, f32::INFINITY]);
    assert!(y[3].is_nan());
    // 13 deviations below 0 there are still digits.
    assert!((f64::from(y[4]) / -7.95e-38 - 1.0).abs() < 0.01, "{}", y[4]);
}

#[test]
fn softmax_sums_to_one_and_stands_huge_logits() {
    let x = tensor(&[1.0, 2.0, 3.0, 1e300, -1e300, 1e300], &[1, 1, 2, 3]);
    let e: Vec<f64> = [1.0, 2.0, 3.0f64].iter().map(|v| v.exp()).collect();
    let sum: f64 = e.iter().sum();
    assert_close(&ops::softmax_channels(&x).unwrap(), &[e[0] / sum, e[1] / sum, e[2] / sum, 0.5, 0.0, 0.5]);
}

#[test]
fn operands_that_do_not_fit_are_refused_by_name() {
    let image = |shape: &[usize]| tensor(&vec![0.0; shape.iter().product()], shape);
    let same = Conv2dConfig::same(3);
    let x = image(&[1, 4, 4, 3]);
    let cases = [
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 4, 2]), None, same)),
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 3, 2]), Some(&image(&[3])), same)),
        ("conv2d", ops::conv2d(&x, &image(&[7, 7, 3, 2]), None, same)),
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 3, 2]).to_dtype(DType::F32).unwrap(), None, same)),
        ("conv2d", ops::conv2d(&image(&[4, 4, 3]), &image(&[3, 3, 3, 2]), None, same)),
        ("conv2d_joined", ops::conv2d_joined(&x, &image(&[1, 4, 5, 3]), &image(&[3, 3, 6, 2]), same)),
        ("conv_transpose2x2", ops::conv_transpose2x2(&x, &image(&[4, 2, 2, 2]), &image(&[2]))),
        ("conv_transpose2x2", ops::conv_transpose2x2(&x, &image(&[3, 2, 2, 2]), &image(&[3]))),
        ("max_pool2x2", ops::max_pool2x2(&image(&[1, 1, 4, 3]))),
        ("concat_channels", ops::concat_channels(&x, &image(&[1, 4, 5, 3]))),
        ("batch_norm", ops::batch_norm(&x, &image(&[2]), &image(&[3]), 1e-5, true).map(|r| r.0)),
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 3, 2]), None, same.dilated(0))),
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 1, 4]), None, same.grouped(3))),
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 3, 2]), None, same.grouped(0))),
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 3, 2]), None, Conv2dConfig::default().dilated(2))),
        ("add", ops::add(&x, &image(&[1, 4, 5, 3]), false)),
        ("add", ops::add(&x, &x.to_dtype(DType::F32).unwrap(), true)),
        ("mean_pool", ops::mean_pool(&image(&[4, 4, 3]))),
        ("mean_pool", ops::mean_pool(&image(&[1, 0, 4, 3]))),
        ("upsample_bilinear", ops::upsample_bilinear(&x, 0, 4, false)),
        ("upsample_bilinear", ops::upsample_bilinear(&image(&[4, 4, 3]), 8, 8, true)),
        ("group_norm", ops::group_norm(&x, &image(&[3]), &image(&[3]), 2, 1e-5, true)),
        ("group_norm", ops::group_norm(&x, &image(&[3]), &image(&[3]), 0, 1e-5, true)),
        ("group_norm", ops::group_norm(&x, &image(&[2]), &image(&[3]), 1, 1e-5, true)),
        ("gelu", ops::gelu(&x.to_dtype(DType::U8).unwrap())),
        ("relu", ops::relu(&x.to_dtype(DType::U8).unwrap())),
    ];
    for (i, (name, result)) in cases.into_iter().enumerate() {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(name), "case {i}: {error}");
    }
}

#[test]
fn focal_loss_equals_its_formula() {
    let (pixels, classes) = (37, 5);
    let logits = random(4, pixels * classes);
    let targets: Vec<u8> = (0..pixels as u8).map(|i| if i % 6 == 4 { IGNORE } else { i % 4 }).collect();
    let weights = [0.5f32, 2.0, 0.0, 1.0, 7.0];
    for gamma in [0.0f32, 0.5, 1.0, 2.0, 5.0] {
        let (mut sum, mut norm) = (0.0, 0.0);
        for (row, target) in logits.chunks(classes).zip(&targets).filter(|(_, target)| **target != IGNORE) {
            let weight = f64::from(weights[usize::from(*target)]);
            let total: f64 = row.iter().map(|x| x.exp()).sum();
            let q = row[usize::from(*target)].exp() / total;
            sum += weight * (1.0 - q).powf(f64::from(gamma)) * -q.ln();
            norm += weight;
        }
        let targets = Tensor::from_vec(targets.clone(), pixels, &Device::Cpu).unwrap();
        let logits = tensor(&logits, &[pixels, classes]);
        assert_close(&ops::focal_loss(&logits, &targets, Some(&weights), gamma).unwrap(), &[sum / norm]);
        if gamma == 0.0 {
            let cross_entropy = ops::softmax_cross_entropy(&logits, &targets, Some(&weights), 0.0).unwrap();
            assert_close(&cross_entropy, &[sum / norm]);
        }
    }
}
