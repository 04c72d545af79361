//! Results have the same bits on any number of threads, and in every run.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use candle_core::{Device, Tensor, Var};
use s2pipe::net::rng::Rng;
use s2pipe::net::{CrossEntropy, IGNORE, Mode, Model, ModelConfig, UNetConfig, ops, weights};

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn bits(t: &Tensor) -> Vec<u32> {
    t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits()).collect()
}

/// Runs `f` twice on each of 1, 2 and 4 threads; all must agree.
fn assert_same_bits(name: &str, f: impl Fn() -> Vec<Vec<u32>> + Sync) {
    let first = f();
    for threads in [1, 2, 4, 1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(&f) == first, "{name} differs on {threads} threads");
    }
}

#[test]
fn operators() {
    let config = ops::Conv2dConfig::same(3);
    for (n, size, ci, co) in [(2, 64, 6, 16), (1, 33, 37, 24), (2, 40, 16, 8), (2, 8, 96, 128)] {
        let x = Var::from_tensor(&random(1, &[n, size, size, ci])).unwrap();
        let w = Var::from_tensor(&random(2, &[3, 3, ci, co])).unwrap();
        let b = Var::from_tensor(&random(3, &[co])).unwrap();
        assert_same_bits("conv2d", || {
            let y = ops::conv2d(&x, &w, Some(&b), config).unwrap();
            let (y, _) = ops::batch_norm(&y, &b, &b, 1e-5, true).unwrap();
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [&x, &w, &b].iter().map(|v| bits(grads.get(v).unwrap())).chain([bits(&y)]).collect()
        });
        let w = Var::from_tensor(&random(2, &[ci, 2, 2, co])).unwrap();
        assert_same_bits("conv_transpose2x2", || {
            let y = ops::conv_transpose2x2(&x, &w, &b).unwrap();
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [&x, &w, &b].iter().map(|v| bits(grads.get(v).unwrap())).chain([bits(&y)]).collect()
        });
    }
}

#[test]
fn operators_of_dilated_grouped_and_normalised_networks() {
    let same = ops::Conv2dConfig::same(3);
    for ([n, size, ci, co], config) in [
        ([2, 64, 6, 16], same.dilated(2)),
        ([1, 33, 40, 24], same.grouped(4)),
        ([2, 45, 37, 37], same.grouped(37)),
        ([1, 64, 16, 32], ops::Conv2dConfig { stride: 2, ..same.dilated(3).grouped(16) }),
        ([2, 66, 8, 16], ops::Conv2dConfig { stride: 3, ..Default::default() }),
    ] {
        let x = Var::from_tensor(&random(1, &[n, size, size, ci])).unwrap();
        let w = Var::from_tensor(&random(2, &[3, 3, ci / config.groups, co])).unwrap();
        let b = Var::from_tensor(&random(3, &[co])).unwrap();
        let groups = if co % 4 == 0 { 4 } else { 1 };
        assert_same_bits(&format!("{config:?}, group_norm, gelu, upsample_bilinear"), || {
            let y = ops::conv2d(&x, &w, Some(&b), config).unwrap();
            let y = ops::group_norm(&y, &b, &b, groups, 1e-5, true).unwrap();
            let y = ops::upsample_bilinear(&ops::gelu(&y).unwrap(), 77, 50, false).unwrap();
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [&x, &w, &b].iter().map(|v| bits(grads.get(v).unwrap())).chain([bits(&y)]).collect()
        });
    }
}

#[test]
fn losses() {
    let x = Var::from_tensor(&random(1, &[3, 70, 64, 5])).unwrap();
    let targets: Vec<u8> = (0..3 * 70 * 64u32).map(|i| if i % 13 < 2 { IGNORE } else { (i * i % 4) as u8 }).collect();
    let targets = Tensor::from_vec(targets, (3, 70, 64), &Device::Cpu).unwrap();
    let losses: [fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>; 3] = [
        |x, t| ops::softmax_cross_entropy(x, t, None, 0.1),
        |x, t| ops::dice_loss(x, t, None, 1.0),
        |x, t| ops::lovasz_softmax(x, t),
    ];
    for (i, loss) in losses.iter().enumerate() {
        assert_same_bits(&format!("loss {i}"), || {
            let loss = loss(&x, &targets).unwrap();
            vec![bits(&loss), bits(loss.backward().unwrap().get(&x).unwrap())]
        });
    }
    assert_same_bits("softmax_channels", || vec![bits(&ops::softmax_channels(&x).unwrap())]);
}

#[test]
fn a_training_step_of_a_unet() {
    let config = ModelConfig::UNet(UNetConfig::new(8, 3));
    let x = random(1, &[3, 48, 64, 4]);
    let targets = Tensor::from_vec((0..3 * 48 * 64u32).map(|i| (i % 5) as u8).collect(), (3, 48, 64), &Device::Cpu);
    let (targets, loss) = (targets.unwrap(), CrossEntropy::new(None, 0.1).unwrap());
    assert_same_bits("the U-Net", || {
        let model = Model::new(&config, 4, 5, 7).unwrap();
        let loss = loss.loss(&model.forward(&x, Mode::Train).unwrap(), &targets).unwrap();
        let grads = loss.backward().unwrap();
        for (_, var) in model.parameters() {
            let step = (grads.get(var).unwrap() * 0.1).unwrap();
            var.set(&(var.as_tensor() - step).unwrap()).unwrap();
        }
        let logits = model.forward(&x, Mode::Eval).unwrap();
        let state = weights::state(&model).unwrap();
        state.iter().map(|(_, t)| bits(t)).chain([bits(&logits), bits(&loss)]).collect()
    });
}

#[test]
fn recorded_gradients_equal_those_of_candles_graph() {
    let config = ModelConfig::UNet(UNetConfig::new(8, 2));
    let targets = Tensor::from_vec((0..2 * 32 * 32u32).map(|i| (i % 3) as u8).collect(), (2, 32, 32), &Device::Cpu);
    let (targets, loss) = (targets.unwrap(), CrossEntropy::new(None, 0.0).unwrap());
    let gradients = |x: &Tensor| -> Vec<Vec<u32>> {
        let model = Model::new(&config, 4, 3, 7).unwrap();
        let grads = loss.loss(&model.forward(x, Mode::Train).unwrap(), &targets).unwrap().backward().unwrap();
        // The first layer sums its weights' gradient in another order when its input's is not asked for.
        let others = model.parameters().iter().filter(|(name, _)| name != "down.0.0.weight");
        // Adding 0 turns a -0 of the one into the 0 of the other.
        others.map(|(_, var)| bits(&(grads.get(var).unwrap() + 0.0).unwrap())).collect()
    };
    let x = random(1, &[2, 32, 32, 4]);
    // An input that needs a gradient keeps the network on candle's graph.
    let tracked = Var::from_tensor(&x).unwrap();
    assert!(gradients(&x) == gradients(tracked.as_tensor()));
}
