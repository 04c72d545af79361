//! Operators against the plainest loops that say what they mean.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use candle_core::{Device, Tensor};
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
    for ([n, h, w, ci, co, k], stride, padding) in [
        ([2, 9, 11, 3, 5, 3], 1, 1),
        ([1, 1, 7, 37, 1, 3], 1, 1),
        ([1, 8, 9, 2, 3, 3], 2, 1),
        ([1, 9, 9, 2, 3, 3], 3, 0),
        ([1, 70, 61, 6, 16, 3], 1, 1),
        ([1, 6, 7, 4, 2, 5], 2, 2),
        ([2, 5, 4, 3, 37, 1], 1, 0),
    ] {
        let (x, wt, b) = (random(1, n * h * w * ci), random(2, k * k * ci * co), random(3, co));
        let (oh, ow) = ((h + 2 * padding - k) / stride + 1, (w + 2 * padding - k) / stride + 1);
        let mut y = Vec::new();
        for (image, oy, ox, o) in indices([n, oh, ow, co]) {
            let mut sum = b[o];
            for (ky, kx, i, _) in indices([k, k, ci, 1]) {
                let (sy, sx) = ((oy * stride + ky).wrapping_sub(padding), (ox * stride + kx).wrapping_sub(padding));
                if sy < h && sx < w {
                    sum += x[((image * h + sy) * w + sx) * ci + i] * wt[((ky * k + kx) * ci + i) * co + o];
                }
            }
            y.push(sum);
        }
        let (x, wt, b) = (tensor(&x, &[n, h, w, ci]), tensor(&wt, &[k, k, ci, co]), tensor(&b, &[co]));
        let config = Conv2dConfig { stride, padding };
        let found = ops::conv2d(&x, &wt, Some(&b), config).unwrap();
        assert_eq!(found.dims(), [n, oh, ow, co]);
        assert_close(&found, &y);
        let rectified: Vec<f64> = y.iter().map(|v| v.max(0.0)).collect();
        assert_close(&ops::conv2d_relu(&x, &wt, &b, config).unwrap(), &rectified);
    }
}

fn indices([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
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
fn batch_norm_keeps_its_digits_far_from_zero() {
    // A mean a hundred thousand times the deviation: E[x^2] - E[x]^2 would leave nothing in f32.
    let noise = random(1, 20_000);
    let x: Vec<f32> = noise.iter().map(|v| (1e4 + v * 1e-1) as f32).collect();
    let exact: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let mean = exact.iter().sum::<f64>() / exact.len() as f64;
    let variance = exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / exact.len() as f64;
    let x = Tensor::from_vec(x, (1, 100, 200, 1), &Device::Cpu).unwrap();
    let one = Tensor::ones(1, candle_core::DType::F32, &Device::Cpu).unwrap();
    let (_, found) = ops::batch_norm(&x, &one, &one, 1e-5, false).unwrap();
    assert!((found.mean[0] - mean).abs() < 1e-3, "{} {mean}", found.mean[0]);
    assert!((found.variance[0] / variance - 1.0).abs() < 1e-2, "{} {variance}", found.variance[0]);
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
        ("conv2d", ops::conv2d(&x, &image(&[3, 3, 3, 2]).to_dtype(candle_core::DType::F32).unwrap(), None, same)),
        ("conv2d", ops::conv2d(&image(&[4, 4, 3]), &image(&[3, 3, 3, 2]), None, same)),
        ("conv_transpose2x2", ops::conv_transpose2x2(&x, &image(&[4, 2, 2, 2]), &image(&[2]))),
        ("conv_transpose2x2", ops::conv_transpose2x2(&x, &image(&[3, 2, 2, 2]), &image(&[3]))),
        ("max_pool2x2", ops::max_pool2x2(&image(&[1, 1, 4, 3]))),
        ("concat_channels", ops::concat_channels(&x, &image(&[1, 4, 5, 3]))),
        ("batch_norm", ops::batch_norm(&x, &image(&[2]), &image(&[3]), 1e-5, true).map(|r| r.0)),
        ("relu", ops::relu(&x.to_dtype(candle_core::DType::U8).unwrap())),
    ];
    for (i, (name, result)) in cases.into_iter().enumerate() {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(name), "case {i}: {error}");
    }
}
