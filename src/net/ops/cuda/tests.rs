//! What only this room can call; the operators are tested in `tests/cuda_ops.rs` and `tests/cuda_losses.rs`.

use candle_core::{DType, Device, Tensor};

use super::{DeviceError, Gpu, Numerics, loss};
use crate::net::IGNORE;
use crate::net::rng::Rng;

#[test]
fn the_confusion_matrix_counts_as_on_the_cpu() {
    let gpu = match Gpu::open(0, Numerics::default(), None) {
        Ok(gpu) => gpu,
        Err(why @ (DeviceError::NoDriver { .. } | DeviceError::NoGpu)) => {
            return eprintln!("not tested, since there is no GPU: {why}");
        }
        Err(other) => panic!("there is a GPU, but it cannot be used: {other}"),
    };
    // The last has more counters than a block has for itself.
    for (pixels, classes) in [(1, 1), (1000, 3), (3000, 6), (500, 70)] {
        for dtype in [DType::F32, DType::BF16] {
            let mut rng = Rng::new(7);
            let logits: Vec<f32> = (0..pixels * classes).map(|_| (rng.uniform() * 8.0).floor() as f32).collect();
            let truth = (0..pixels).map(|i| if i % 5 == 3 { IGNORE } else { (rng.uniform() * classes as f64) as u8 });
            let truth: Vec<u8> = truth.collect();
            let mut expected = vec![0u32; classes * classes];
            for (row, truth) in logits.chunks(classes).zip(&truth).filter(|(_, truth)| **truth != IGNORE) {
                expected[usize::from(*truth) * classes + crate::net::confusion::argmax(row)] += 2;
            }
            let counts = Tensor::zeros((classes, classes), DType::U32, &gpu.device()).unwrap();
            let logits = Tensor::from_vec(logits, (pixels, classes), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let logits = logits.to_device(&gpu.device()).unwrap();
            let truth = Tensor::from_vec(truth, pixels, &gpu.device()).unwrap();
            for _ in 0..2 {
                loss::count_confusion(&logits, &truth, &counts).unwrap();
            }
            let counts: Vec<u32> = counts.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(counts, expected, "{pixels} pixels, {classes} classes, {dtype:?}");
        }
    }
}
