//! The 3x3 maximum of a ResNet: against PyTorch, the loop, central differences, and itself on any number of threads.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod golden_kit;
mod gradient_kit;

use candle_core::{DType, Device, Tensor, Var};
use golden_kit::{assert_close, fill, golden, values};
use gradient_kit::{check, random, spread};
use s2pipe::net::ops;

/// The result, and the gradient of the image given that of the result.
fn both(x: &Tensor, pull: impl Fn(&[usize]) -> Tensor) -> [Tensor; 2] {
    let x = Var::from_tensor(x).unwrap();
    let y = ops::max_pool3x3(&x).unwrap();
    let pulled = (&y * pull(y.dims()).to_dtype(y.dtype()).unwrap()).unwrap().sum_all().unwrap();
    [y.clone(), pulled.backward().unwrap().get(&x).unwrap().clone()]
}

#[test]
fn equals_pytorch_with_ties_and_odd_sides() {
    let golden = golden("net_resnet.safetensors");
    for (name, shape) in [("odd", [2, 5, 7, 3]), ("even", [1, 6, 4, 2]), ("one", [1, 1, 1, 2])] {
        let x: Vec<f64> = values(&fill(1, &shape)).iter().map(|v| (v * 3.0).round_ties_even()).collect();
        let found = both(&Tensor::from_vec(x, &shape, &Device::Cpu).unwrap(), |dims| fill(99, dims));
        for (found, what) in found.iter().zip(["y", "dx"]) {
            assert_close(name, found, &golden[&format!("max_pool3x3_{name}.{what}")], 1e-12);
        }
    }
}

#[test]
fn gradient_equals_differences() {
    for shape in [[1, 1, 1, 1], [1, 2, 2, 1], [2, 5, 7, 3], [1, 4, 6, 37], [1, 1, 8, 2], [1, 9, 1, 2]] {
        check("max_pool3x3", |v| ops::max_pool3x3(&v[0]), &[spread(1, &shape)]);
    }
}

#[test]
fn equals_the_loop_in_both_types() {
    let [n, h, w, c] = [2, 9, 6, 5];
    let x = random(3, &[n, h, w, c]);
    let at = values(&x);
    let mut expected = Vec::new();
    for (image, row, column, channel) in
        (0..n).flat_map(|i| (0..5).flat_map(move |r| (0..3).flat_map(move |q| (0..c).map(move |k| (i, r, q, k)))))
    {
        let around = |of: usize, size: usize| (2 * of).saturating_sub(1)..=(2 * of + 1).min(size - 1);
        let seen = around(row, h).flat_map(|r| around(column, w).map(move |q| (r, q)));
        let seen = seen.map(|(r, q)| at[((image * h + r) * w + q) * c + channel]);
        expected.push(seen.fold(f64::NEG_INFINITY, f64::max));
    }
    let y = ops::max_pool3x3(&x).unwrap();
    assert_eq!((y.dims(), values(&y)), ([n, 5, 3, c].as_slice(), expected.clone()));
    let narrow = values(&ops::max_pool3x3(&x.to_dtype(DType::F32).unwrap()).unwrap());
    assert_eq!(narrow, expected.iter().map(|v| f64::from(*v as f32)).collect::<Vec<_>>());
}

#[test]
fn a_nan_is_the_maximum_of_every_window_that_sees_it() {
    let mut at = vec![1.0; 25];
    at[6] = f64::NAN;
    let [y, dx] = both(&Tensor::from_vec(at, (1, 5, 5, 1), &Device::Cpu).unwrap(), |dims| {
        Tensor::ones(dims, DType::F64, &Device::Cpu).unwrap()
    });
    let nan: Vec<bool> = values(&y).iter().map(|v| v.is_nan()).collect();
    assert_eq!(nan, [true, true, false, true, true, false, false, false, false]);
    assert_eq!(values(&dx)[6], 4.0, "it gets the gradient of all four");
    assert_eq!(values(&dx).iter().sum::<f64>(), 9.0);
}

#[test]
fn has_the_same_bits_on_any_number_of_threads() {
    // Values that are often equal, and gradients whose sums depend on their order.
    let x = (random(1, &[2, 65, 47, 24]) * 2.0).unwrap().round().unwrap().to_dtype(DType::F32).unwrap();
    let run = || both(&x, |dims| random(2, dims)).map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    let first = run();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(run) == first, "{threads} threads");
    }
}

#[test]
fn images_without_pixels_and_other_types_are_refused_by_name() {
    let image = |shape: [usize; 4], dtype| Tensor::zeros(&shape, dtype, &Device::Cpu).unwrap();
    for x in [image([1, 0, 4, 3], DType::F32), image([1, 4, 0, 3], DType::F32), image([1, 4, 4, 3], DType::U8)] {
        let error = ops::max_pool3x3(&x).unwrap_err().to_string();
        assert!(error.contains("max_pool3x3"), "{error}");
    }
}
