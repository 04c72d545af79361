//! Several processes that train one network together: what they exchange, and that they take the steps of one process.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod ranks_kit;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use ranks_kit::discs::{Discs, SIZE, cross_entropy, read, settings, unet, with_lovasz};
use ranks_kit::{Company, Rank, company, this_rank};
use s2pipe::net::collective::{Collective, RankError, Team};
use s2pipe::net::ops::GradientsOf;
use s2pipe::net::rng::Rng;
use s2pipe::net::{
    Compute, NetError, Part, PatchSource, Result, TrainConfig, TrainHooks, Trained, draw, train, train_together,
};
use serde_json::{Value, json};

/// The test that a started process runs.
const ENTRY: &str = "a_process_that_is_a_rank_does_its_work";

/// As rank 0, does the work with `ranks` processes; returns what every rank found.
fn with_ranks(ranks: usize, work: &str) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (collective, others) = company(ENTRY, ranks, work, folder.path());
    let mut found = vec![do_work(&collective, work, folder.path())];
    drop(collective);
    others.end_well();
    found.extend((1..ranks).map(|rank| fs::read(folder.path().join(format!("rank-{rank}"))).unwrap()));
    found
}

#[test]
fn a_process_that_is_a_rank_does_its_work() {
    let Some(Rank { collective, work, folder }) = this_rank() else { return };
    let found = do_work(&collective, &work, &folder);
    fs::write(folder.join(format!("rank-{}", collective.rank())), found).unwrap();
}

fn do_work(collective: &Arc<dyn Collective>, work: &str, folder: &Path) -> Vec<u8> {
    match work.split_once(' ') {
        Some(("exchange", count)) => exchange(collective.as_ref(), count.parse().unwrap()),
        Some(("train", config)) => {
            let team = Team::new(Arc::clone(collective));
            // All ranks read the folder, rank 0 alone writes there.
            let hooks = folder.join("checkpoints");
            weights_and_history(&together(&team, &read(config), &TrainHooks::quiet(&hooks)).unwrap())
        }
        Some(("endure", config)) => {
            let team = Team::new(Arc::clone(collective));
            let hooks = folder.join("checkpoints");
            together(&team, &read(config), &TrainHooks::quiet(&hooks)).map(|_| Vec::new()).unwrap_or_default()
        }
        _ => panic!("{work}"),
    }
}

// What is exchanged.

/// Numbers of many sizes, so that the order of a sum shows in its last bits.
fn numbers(rank: usize, count: usize) -> Vec<f64> {
    let mut rng = Rng::new(rank as u64).fork("numbers");
    (0..count).map(|_| rng.normal() * 10_f64.powf(6.0 * rng.uniform() - 3.0)).collect()
}

/// Everything that a collective can do, one after another; returns all results as bytes.
fn exchange(collective: &dyn Collective, count: usize) -> Vec<u8> {
    let (rank, ranks) = (collective.rank(), collective.ranks());
    let mine = numbers(rank, count);
    let mut single: Vec<f32> = mine.iter().map(|v| *v as f32).collect();
    let mut double = mine.clone();
    collective.sum_f32(&mut single).unwrap();
    collective.sum_f64(&mut double).unwrap();
    // Not all give as much, and one gives nothing.
    let uneven: Vec<u8> = (0..rank * 3).map(|i| (10 * rank + i) as u8).collect();
    let gathered = collective.gather(&uneven).unwrap();
    assert_eq!(gathered.len(), ranks);
    let mut word = format!("from {rank}").into_bytes();
    collective.broadcast(&mut word).unwrap();
    collective.barrier().unwrap();
    let mut found: Vec<u8> = single.iter().flat_map(|v| v.to_le_bytes()).collect();
    found.extend(double.iter().flat_map(|v| v.to_le_bytes()));
    gathered.into_iter().for_each(|part| found.extend(part));
    found.extend(word);
    found
}

#[test]
fn two_and_four_processes_hold_the_same_bits_which_are_those_of_sums_in_their_order() {
    for (ranks, count) in [(2, 1), (2, 100_003), (4, 0), (4, 70_001)] {
        let found = with_ranks(ranks, &format!("exchange {count}"));
        let mut double = vec![0.0; count];
        let mut single = vec![0.0_f32; count];
        for rank in 0..ranks {
            for ((value, single), double) in numbers(rank, count).iter().zip(&mut single).zip(&mut double) {
                *single += *value as f32;
                *double += *value;
            }
        }
        let mut expected: Vec<u8> = single.iter().flat_map(|v| v.to_le_bytes()).collect();
        expected.extend(double.iter().flat_map(|v| v.to_le_bytes()));
        for rank in 0..ranks {
            expected.extend((0..rank * 3).map(|i| (10 * rank + i) as u8));
        }
        expected.extend(b"from 0");
        for (rank, found) in found.iter().enumerate() {
            assert!(*found == expected, "rank {rank} of {ranks} holds something else");
        }
    }
}

// Trainings.

fn together(team: &Team, config: &TrainConfig, hooks: &TrainHooks<'_>) -> Result<Trained> {
    train_together((&Compute::Cpu, Some(team)), config, draw(config, &Discs)?, &Discs, hooks)
}

/// Parameters and running averages one after another, then the losses of the epochs; and the history as text.
fn weights_and_history(trained: &Trained) -> Vec<u8> {
    let mut weights: Vec<f32> = Vec::new();
    for (_, var) in trained.model.parameters().iter().chain(trained.model.buffers()) {
        weights.extend(var.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let history = serde_json::to_string(&trained.history).unwrap();
    serde_json::to_vec(&(bytes, history)).unwrap()
}

/// What a training ended with.
struct End {
    weights: Vec<f32>,
    losses: Vec<f64>,
    scores: Vec<f64>,
}

impl End {
    fn of(found: &[u8]) -> Self {
        let (bytes, history): (Vec<u8>, String) = serde_json::from_slice(found).unwrap();
        let weights = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let history: Value = serde_json::from_str(&history).unwrap();
        let epochs = history["epochs"].as_array().unwrap();
        let numbers = |of: &dyn Fn(&Value) -> f64| epochs.iter().map(of).collect();
        Self {
            weights,
            losses: numbers(&|epoch| epoch["train_loss"].as_f64().unwrap()),
            scores: numbers(&|epoch| epoch["holdout"]["loss"].as_f64().unwrap()),
        }
    }

    /// Largest distance of a weight, relative to the root mean square of the weights; and of a loss.
    fn distance(&self, other: &Self) -> (f64, f64) {
        assert_eq!(self.weights.len(), other.weights.len());
        let squares: f64 = self.weights.iter().map(|w| f64::from(*w).powi(2)).sum();
        let typical = (squares / self.weights.len() as f64).sqrt();
        let weights =
            self.weights.iter().zip(&other.weights).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        let losses = self.losses.iter().chain(&self.scores).zip(other.losses.iter().chain(&other.scores));
        (weights / typical, losses.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
    }
}

fn one_process(config: &Value) -> End {
    let folder = tempfile::tempdir().unwrap();
    let trained = train(&read(&config.to_string()), &Discs, &TrainHooks::quiet(folder.path())).unwrap();
    End::of(&weights_and_history(&trained))
}

/// Eight steps of f32 numbers that were added up in another order: a few units in the last place of the largest weight,
/// 6e-8 of it each. A hundred of them are let pass.
const TOLERANCE: f64 = 1e-5;

#[test]
fn two_and_four_ranks_take_the_steps_of_one_process() {
    let segformer =
        json!({ "kind": "segformer", "width": 8, "depth": 2, "blocks": 1, "heads": 2, "ffn": 2, "decoder": 8 });
    let mut cases = vec![
        ("U-Net, cross-entropy", settings(unet(), cross_entropy())),
        ("U-Net, cross-entropy and Lovász", settings(unet(), with_lovasz())),
        ("SegFormer, cross-entropy", settings(segformer, cross_entropy())),
    ];
    let mut adam = settings(unet(), json!({ "kind": "dice" }));
    adam["optimizer"] = json!({ "kind": "adamw", "lr": 0.01 });
    adam["ema"] = json!({ "decay": 0.9 });
    cases.push(("U-Net, Dice, AdamW, averages", adam));
    for (name, config) in cases {
        let alone = one_process(&config);
        // AdamW divides by the size of the gradients: where they are next to nothing, their last digits count as much as the first.
        let tolerance = if config["optimizer"]["kind"] == "adamw" { 100.0 * TOLERANCE } else { TOLERANCE };
        for ranks in [2, 4] {
            let found = with_ranks(ranks, &format!("train {config}"));
            assert!(found.iter().all(|f| *f == found[0]), "{name}: {ranks} ranks ended with different weights");
            let (weights, losses) = End::of(&found[0]).distance(&alone);
            println!("{name}, {ranks} ranks: weights differ by {weights:.1e} of a typical one, losses by {losses:.1e}");
            assert!(weights < tolerance && losses < TOLERANCE, "{name}, {ranks} ranks: {weights:e}, {losses:e}");
        }
    }
}

/// What the ranks would compute if each normalised its own share: not what one process computes.
#[test]
fn without_common_statistics_the_gradients_would_be_others() {
    let config = read(&settings(unet(), cross_entropy()).to_string());
    let model = draw(&config, &Discs).unwrap();
    let (bands, labels) = batch(6);
    let loss = config.loss.criterion(&Discs.class_pixels()).unwrap();
    let whole = {
        let recorded = model.record(&bands).unwrap();
        let (_, gradient) = loss.with_gradient(recorded.output(), &labels).unwrap();
        recorded.backward(&gradient).unwrap()
    };
    let shares = [(0, 3), (3, 3)].map(|(first, count)| model.record(&bands.narrow(0, first, count).unwrap()).unwrap());
    let logits = Tensor::cat(&[shares[0].output(), shares[1].output()], 0).unwrap();
    let (_, gradient) = loss.with_gradient(&logits, &labels).unwrap();
    let mut parts = shares
        .into_iter()
        .zip([0, 3])
        .map(|(share, first)| share.backward(&gradient.narrow(0, first, 3).unwrap().contiguous().unwrap()).unwrap());
    let (a, b) = (parts.next().unwrap(), parts.next().unwrap());
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (mut difference, mut squares) = (0.0, 0.0);
    for (_, var) in model.parameters() {
        let sum = (a.of(var).unwrap() + b.of(var).unwrap()).unwrap();
        for (sum, whole) in values(&sum).iter().zip(values(whole.of(var).unwrap())) {
            difference += f64::from(sum - whole).powi(2);
            squares += f64::from(whole).powi(2);
        }
    }
    let relative = (difference / squares).sqrt();
    println!("without common statistics gradients differ by {relative:.1e}");
    assert!(relative > 1000.0 * TOLERANCE, "{relative:e}: the tolerance of the other test would let this pass");
}

fn batch(patches: usize) -> (Tensor, Tensor) {
    let pixels = SIZE * SIZE;
    let (mut bands, mut labels) = (vec![0.0; patches * pixels * 2], vec![0; patches * pixels]);
    for patch in 0..patches {
        let (bands, labels) = (&mut bands[patch * pixels * 2..][..pixels * 2], &mut labels[patch * pixels..][..pixels]);
        Discs.read(Part::Train, patch, bands, labels).unwrap();
    }
    let bands = Tensor::from_vec(bands, (patches, SIZE, SIZE, 2), &Device::Cpu).unwrap();
    (bands, Tensor::from_vec(labels, (patches, SIZE, SIZE), &Device::Cpu).unwrap())
}

#[test]
fn the_same_ranks_leave_the_same_bytes_twice_also_where_batches_are_smaller_than_ranks() {
    let mut config = settings(unet(), with_lovasz());
    config["batch"] = json!(3);
    let alone = one_process(&config);
    let once = with_ranks(4, &format!("train {config}"));
    assert!(once == with_ranks(4, &format!("train {config}")));
    let (weights, losses) = End::of(&once[0]).distance(&alone);
    assert!(weights < TOLERANCE && losses < TOLERANCE, "{weights:e}, {losses:e}");
}

// What goes wrong.

/// Longest time from the death of a rank to the errors of the others.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A training that ends only when a rank is gone.
fn endless() -> Value {
    let mut config = settings(unet(), cross_entropy());
    config["epochs"] = json!(1_000_000);
    config
}

fn trouble(result: Result<Trained>) -> RankError {
    match result {
        Err(NetError::Ranks(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it ended well"),
    }
}

#[test]
fn a_rank_that_is_killed_ends_the_others_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let config = endless();
    let (collective, mut others) = company(ENTRY, 4, &format!("endure {config}"), folder.path());
    let team = Team::new(collective);
    let children = std::cell::RefCell::new(&mut others);
    let on_step = |done: usize, _: usize, _: f32| {
        if done == 20 {
            children.borrow_mut().children[1].kill().unwrap();
        }
    };
    let hooks = TrainHooks { on_step: &on_step, ..TrainHooks::quiet(folder.path()) };
    let started = Instant::now();
    let error = trouble(together(&team, &read(&config.to_string()), &hooks));
    assert!(started.elapsed() < 2 * AT_ONCE, "rank 0 hangs");
    assert!(matches!(&error, RankError::Lost { peer: 2, .. }), "{error}");
    assert!(error.to_string().contains("rank 2 was lost"), "{error}");
    // The others are told, and end by themselves.
    let waiting = Instant::now();
    let Company { children } = &mut others;
    for other in [0, 2] {
        while children[other].try_wait().unwrap().is_none() {
            assert!(waiting.elapsed() < AT_ONCE, "rank {} hangs", other + 1);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn ranks_that_begin_elsewhere_or_cannot_go_on_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let other = endless();
    let (collective, others) = company(ENTRY, 2, &format!("endure {other}"), folder.path());
    let mut mine = read(&other.to_string());
    mine.seed += 1;
    let own = tempfile::tempdir().unwrap();
    let error = trouble(together(&Team::new(collective), &mine, &TrainHooks::quiet(own.path())));
    assert_eq!(error, RankError::BeginsElsewhere { peer: 1, what: "settings or data" });
    drop(others);

    let (collective, others) = company(ENTRY, 2, &format!("endure {other}"), folder.path());
    // This rank alone has no place for checkpoints: the other must hear of it.
    let file = own.path().join("file");
    fs::write(&file, "").unwrap();
    let team = Team::new(collective);
    let refused = together(&team, &read(&other.to_string()), &TrainHooks::quiet(&file));
    assert!(matches!(refused, Err(NetError::Io { .. })));
    let error = team.collective().barrier().unwrap_err();
    assert!(matches!(error, RankError::GaveUp { peer: 0, .. }), "{error}");
    others.end_well();
}

#[test]
fn another_number_of_ranks_goes_on_with_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let config = settings(unet(), cross_entropy());
    let checkpoints = folder.path().join("checkpoints");
    // One process makes five of eight steps.
    let steps = std::cell::Cell::new(0);
    let on_step = |done: usize, _: usize, _: f32| steps.set(done);
    let hooks = TrainHooks { on_step: &on_step, cancelled: &|| steps.get() == 5, ..TrainHooks::quiet(&checkpoints) };
    let stopped = train(&read(&config.to_string()), &Discs, &hooks);
    assert!(matches!(stopped, Err(NetError::Cancelled)));
    // Two make one more, four the rest.
    for (ranks, stop) in [(2, Some(6)), (4, None)] {
        let (collective, others) = company(ENTRY, ranks, &format!("endure {config}"), folder.path());
        let first = std::cell::Cell::new(0);
        let on_step = |done: usize, _: usize, _: f32| {
            steps.set(done);
            if first.get() == 0 {
                first.set(done);
            }
        };
        let hooks = TrainHooks {
            on_step: &on_step,
            cancelled: &|| Some(steps.get()) == stop,
            ..TrainHooks::quiet(&checkpoints)
        };
        let ended = together(&Team::new(collective), &read(&config.to_string()), &hooks);
        others.end_well();
        match ended {
            Err(NetError::Cancelled) => assert_eq!((first.get(), steps.get()), (6, 6)),
            Err(other) => panic!("{other}"),
            Ok(trained) => {
                assert_eq!(first.get(), 7);
                let (weights, losses) = End::of(&weights_and_history(&trained)).distance(&one_process(&config));
                assert!(weights < TOLERANCE && losses < TOLERANCE, "{weights:e}, {losses:e}");
            }
        }
    }
}
