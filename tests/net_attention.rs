//! Attention and layer normalisation, the operators of transformers: against their definitions, central differences, and
//! themselves on other numbers of threads.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod gradient_kit;

use candle_core::{DType, Tensor, Var};
use gradient_kit::{STEP, check_with, random};
use s2pipe::net::ops;

/// Sizes `[N, H, W, C]`, `[h, w]` of the keys, and heads.
const SHAPES: [([usize; 4], [usize; 2], usize); 6] = [
    ([1, 1, 1, 1], [1, 1], 1),
    ([2, 3, 2, 4], [2, 3], 1),
    ([2, 4, 3, 6], [1, 2], 3),
    ([1, 5, 7, 37], [3, 3], 1),
    ([1, 3, 3, 40], [4, 5], 5),
    // Queries for several steps of several parts; more keys than lanes.
    ([2, 24, 25, 4], [7, 6], 2),
];

fn operands((image, [height, width], _): ([usize; 4], [usize; 2], usize)) -> [Tensor; 3] {
    let [batch, .., channels] = image;
    let keys = [batch, height, width, channels];
    [random(1, &image), random(2, &keys), random(3, &keys)]
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The formula of Vaswani et al. 2017, word by word.
fn by_definition([q, k, v]: &[Tensor; 3], heads: usize) -> Vec<f64> {
    let (batch, height, width, channels) = q.dims4().unwrap();
    let (queries, keys, depth) = (height * width, k.elem_count() / batch / channels, channels / heads);
    let [q, k, v] = [q, k, v].map(values);
    let mut y = vec![0.0; q.len()];
    for (row, head) in (0..batch * queries).flat_map(|row| (0..heads).map(move |head| (row, head))) {
        let first_key = row / queries * keys;
        let of = |of: &[f64], row: usize, c: usize| of[row * channels + head * depth + c];
        let product = |key: usize| (0..depth).map(|c| of(&q, row, c) * of(&k, first_key + key, c)).sum::<f64>();
        let weights: Vec<f64> = (0..keys).map(|key| (product(key) / (depth as f64).sqrt()).exp()).collect();
        let total: f64 = weights.iter().sum();
        for c in 0..depth {
            let sum: f64 = (0..keys).map(|key| weights[key] * of(&v, first_key + key, c)).sum();
            y[row * channels + head * depth + c] = sum / total;
        }
    }
    y
}

fn worst(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max)
}

#[test]
fn attention_is_what_it_is_defined_to_be() {
    for shape in SHAPES {
        let ([q, k, v], heads) = (operands(shape), shape.2);
        let expected = by_definition(&[q.clone(), k.clone(), v.clone()], heads);
        let found = ops::attention(&q, &k, &v, heads).unwrap();
        assert_eq!(found.dims(), q.dims());
        assert!(worst(&values(&found), &expected) < 1e-12, "{shape:?}");
        let [q, k, v] = [q, k, v].map(|tensor| tensor.to_dtype(DType::F32).unwrap());
        let found = values(&ops::attention(&q, &k, &v, heads).unwrap());
        assert!(worst(&found, &expected) < 1e-5, "{shape:?} in f32");
    }
}

#[test]
fn products_of_any_size_make_weights() {
    // As they are, their exponentials would be infinite.
    let [q, k, v] = operands(SHAPES[1]).map(|tensor| (tensor * 1e3).unwrap());
    let found = values(&ops::attention(&q, &k, &v, 1).unwrap());
    let greatest = values(&v).iter().map(|v| v.abs()).fold(0.0, f64::max);
    assert!(found.iter().all(|value| value.abs() <= greatest), "{found:?}");
}

#[test]
fn gradients_of_attention() {
    for shape in SHAPES {
        let name = format!("attention {shape:?}");
        check_with(&name, |v| ops::attention(&v[0], &v[1], &v[2], shape.2), &operands(shape), (STEP, 1e-6));
    }
}

#[test]
fn layer_normalisation_is_what_it_is_defined_to_be() {
    for shape in [[1, 1, 1, 1], [2, 3, 2, 5], [1, 4, 5, 37], [2, 20, 30, 32]] {
        let channels = shape[3];
        // Far from 0, where sums of squares would lose digits.
        let x = (random(1, &shape) + 1e3).unwrap();
        let (gamma, beta) = (random(2, &[channels]), random(3, &[channels]));
        let found = values(&ops::layer_norm(&x, &gamma, &beta, 1e-5).unwrap());
        let (gamma, beta) = (values(&gamma), values(&beta));
        let pixel = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / channels as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / channels as f64;
            x.iter().enumerate().map(|(c, v)| (v - mean) / (variance + 1e-5).sqrt() * gamma[c] + beta[c]).collect()
        };
        let expected: Vec<f64> = values(&x).chunks(channels).flat_map(|x| -> Vec<f64> { pixel(x) }).collect();
        assert!(worst(&found, &expected) < 1e-9, "{shape:?}");
    }
}

#[test]
fn gradients_of_layer_normalisation() {
    for shape in [[1, 1, 1, 2], [2, 3, 2, 5], [1, 4, 5, 37], [1, 20, 30, 32]] {
        let inputs = [random(1, &shape), random(2, &shape[3..]), random(3, &shape[3..])];
        let f = |v: &[Tensor]| ops::layer_norm(&v[0], &v[1], &v[2], 1e-5);
        check_with(&format!("layer_norm {shape:?}"), f, &inputs, (STEP, 1e-6));
    }
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    let shape = ([2, 40, 37, 24], [9, 11], 3);
    let vars = operands(shape).map(|tensor| Var::from_tensor(&tensor.to_dtype(DType::F32).unwrap()).unwrap());
    let scale = Var::from_tensor(&random(4, &[24]).to_dtype(DType::F32).unwrap()).unwrap();
    let all = || {
        let [q, k, v] = &vars;
        let normal = ops::layer_norm(q, &scale, &scale, 1e-5).unwrap();
        let y = ops::attention(&normal, k, v, 3).unwrap();
        let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let of = |tensor: &Tensor| values(tensor).into_iter().map(f64::to_bits).collect::<Vec<_>>();
        [q, k, v, &scale].map(|var| of(grads.get(var).unwrap())).into_iter().chain([of(&y)]).collect::<Vec<_>>()
    };
    let first = all();
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(all) == first, "{threads} threads");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let [q, k, v] = operands(SHAPES[2]);
    let told = |q: &Tensor, k: &Tensor, v: &Tensor, heads| ops::attention(q, k, v, heads).unwrap_err().to_string();
    assert!(told(&q, &k, &v, 4).contains("6 channels cannot be cut into 4 equal heads"));
    assert!(told(&q, &k, &v, 0).contains("0 equal heads"));
    assert!(told(&q, &k, &q, 1).contains("keys and values of one size"));
    assert!(told(&random(1, &[1, 4, 3, 6]), &k, &v, 1).contains("of the same batch"));
    let error = ops::layer_norm(&q, &random(1, &[5]), &random(1, &[5]), 1e-5).unwrap_err().to_string();
    assert!(error.contains("do not fit an input [2, 4, 3, 6]"), "{error}");
}
