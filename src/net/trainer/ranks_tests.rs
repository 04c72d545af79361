//! Steps and scores of several ranks, as threads of this process, against those of one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor, Var};

use super::evaluate::evaluate;
use super::feed::Feed;
use super::learner::{Lesson, Step, learner};
use super::tests::{DISCS, Discs, SIZE, config};
use super::*;
use crate::net::HoldoutScore;
use crate::net::batches::Loader;
use crate::net::checkpoint::Progress;
use crate::net::collective::{Meeting, join};
use crate::net::ops::{self, Conv2dConfig, Recorded, tape};
use crate::net::rng::Rng;
use crate::net::{Mode, Segmenter};

/// Runs `work` as every rank of a team, each on a thread of its own; what they return, in order.
fn each<R: Send>(ranks: usize, work: impl Fn(&Team) -> R + Sync) -> Vec<R> {
    let patience = Duration::from_secs(30);
    let meeting = Meeting::open(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let (port, token) = (meeting.port(), meeting.token().clone());
    std::thread::scope(|scope| {
        let guests: Vec<_> = (1..ranks)
            .map(|rank| {
                let (token, work) = (token.clone(), &work);
                scope.spawn(move || {
                    let hosts = ["127.0.0.1".to_owned()];
                    work(&Team::new(Arc::new(join((&hosts, port), &token, (rank, ranks), patience).unwrap())))
                })
            })
            .collect();
        let hub = meeting.gather(ranks, patience, &|| Ok(())).unwrap();
        let mut all = vec![work(&Team::new(Arc::new(hub)))];
        all.extend(guests.into_iter().map(|guest| guest.join().unwrap()));
        all
    })
}

#[derive(Clone, Copy, Debug)]
enum Norm {
    Batch,
    Group,
}

/// A convolution, a normalisation with rectifier, and a convolution to three classes.
struct Tiny {
    norm: Norm,
    parameters: Vec<(String, Var)>,
    buffers: Vec<(String, Var)>,
}

const CHANNELS: usize = 8;

impl Tiny {
    fn new(norm: Norm) -> Self {
        let mut rng = Rng::new(3);
        let mut random = |name: &str, shape: &[usize], scale: f64| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| (scale * rng.normal()) as f32).collect();
            (name.to_owned(), Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap())
        };
        let parameters = vec![
            random("first", &[3, 3, 2, CHANNELS], 0.3),
            random("gamma", &[CHANNELS], 1.0),
            random("beta", &[CHANNELS], 0.1),
            random("last", &[1, 1, CHANNELS, 3], 0.3),
        ];
        let buffers = vec![random("mean", &[CHANNELS], 0.0), random("var", &[CHANNELS], 0.0)];
        Self { norm, parameters, buffers }
    }

    fn logits(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let [first, gamma, beta, last] = [0, 1, 2, 3].map(|at| self.parameters[at].1.as_tensor());
        let x = ops::conv2d(x, first, None, Conv2dConfig::same(3))?;
        let x = match self.norm {
            Norm::Group => ops::group_norm(&x, gamma, beta, 4, 1e-5, true)?,
            Norm::Batch => {
                let running = ops::Running { mean: &self.buffers[0].1, variance: &self.buffers[1].1, momentum: 0.1 };
                ops::batch_norm_running(&x, gamma, beta, 1e-5, true, running)?
            }
        };
        ops::conv2d(&x, last, None, Conv2dConfig::same(1))
    }

    fn values(&self) -> Vec<f32> {
        let all = self.parameters.iter().chain(&self.buffers);
        all.flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
    }
}

impl Segmenter for Tiny {
    fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    fn buffers(&self) -> &[(String, Var)] {
        &self.buffers
    }

    fn forward(&self, bands: &Tensor, _: Mode) -> Result<Tensor> {
        Ok(self.logits(bands)?)
    }

    fn record(&self, bands: &Tensor) -> Result<Recorded> {
        Ok(tape::record(bands, || self.logits(bands))?)
    }

    fn bands(&self) -> usize {
        2
    }

    fn classes(&self) -> usize {
        3
    }

    fn multiple(&self) -> usize {
        1
    }
}

/// The training patches of [`DISCS`] from `first` on.
fn patches(first: usize, count: usize) -> (Tensor, Tensor, u64) {
    let pixels = SIZE * SIZE;
    let (mut bands, mut labels) = (vec![0.0; count * pixels * 2], vec![0; count * pixels]);
    for patch in 0..count {
        let bands = &mut bands[patch * pixels * 2..][..pixels * 2];
        DISCS.read(crate::net::Part::Train, first + patch, bands, &mut labels[patch * pixels..][..pixels]).unwrap();
        // Patches far from each other, so that a share's statistics are not the batch's.
        bands.iter_mut().for_each(|value| *value += patch as f32);
    }
    let labelled = labels.iter().filter(|label| **label != crate::net::IGNORE).count() as u64;
    let bands = Tensor::from_vec(bands, (count, SIZE, SIZE, 2), &Device::Cpu).unwrap();
    (bands, Tensor::from_vec(labels, (count, SIZE, SIZE), &Device::Cpu).unwrap(), labelled)
}

/// Five steps on batches of 5, 5, 3, 1 and 4 patches: parameters and running averages, and the losses.
fn five_steps(norm: Norm, team: Option<&Team>) -> (Vec<f32>, Vec<f32>) {
    let network = Tiny::new(norm);
    let config = config();
    let loss = config.loss.criterion(&DISCS.class_pixels()).unwrap();
    let mut learner = learner(&config, (&Compute::Cpu, team), &network).unwrap();
    let mut progress = Progress::start(Rng::new(1).state());
    let mut losses = Vec::new();
    for (number, (first, count)) in [(0, 5), (5, 5), (2, 3), (1, 1), (6, 4)].into_iter().enumerate() {
        let (bands, labels, labelled) = patches(first, count);
        let lesson = Lesson { network: &network, loss: loss.as_ref(), bands, labels, labelled };
        let step = Step { number: number + 1, per_epoch: 5, lr: 0.01 };
        losses.extend(learner.step(&lesson, &step, &mut progress).unwrap());
    }
    (network.values(), losses)
}

/// f32 numbers of about 1 that were added up in another order: some units of 6e-8; AdamW makes more of those of small gradients.
const TOLERANCE: f32 = 2e-5;

#[test]
fn ranks_take_the_steps_of_one_process_with_either_normalisation() {
    for norm in [Norm::Batch, Norm::Group] {
        let (alone, losses) = five_steps(norm, None);
        for ranks in [2, 3] {
            let all = each(ranks, |team| five_steps(norm, Some(team)));
            assert!(all.iter().all(|found| *found == all[0]), "{norm:?}: the ranks differ");
            let difference = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let found = (difference(&all[0].0, &alone), difference(&all[0].1, &losses));
            assert!(found.0 < TOLERANCE && found.1 < TOLERANCE, "{norm:?}, {ranks} ranks: {found:?}");
        }
    }
}

#[test]
fn scores_of_ranks_are_those_of_one_process_to_the_bit() {
    let network = Tiny::new(Norm::Group);
    let score = |team: Option<&Team>| -> Option<HoldoutScore> {
        let loss = config().loss.criterion(&DISCS.class_pixels()).unwrap();
        // Seven batches of up to 3 patches, for 3 ranks.
        let source = Discs { holdout: 20, ..DISCS };
        let augment = crate::net::augment::AugmentConfig::default();
        let loader = Loader { source: &source, classes: 3, batch: 3, augment, rng: Rng::new(0), on_device: None };
        evaluate((&network, loss.as_ref()), &loader, &mut Feed::Host, &|| false, team).unwrap()
    };
    let alone = score(None);
    assert!(alone.is_some());
    for found in each(3, |team| score(Some(team))) {
        assert_eq!(found, alone);
    }
}

/// Only rank 0 is asked, and all of them stop.
#[test]
fn ranks_stop_together_when_rank_0_is_told_to() {
    let stopped = each(2, |team| {
        let dir = tempfile::tempdir().unwrap();
        let leads = team.leads();
        let hooks = TrainHooks { cancelled: &|| leads, ..TrainHooks::quiet(dir.path()) };
        let model = draw(&config(), &DISCS).unwrap();
        let ended = train_together((&Compute::Cpu, Some(team)), &config(), model, &DISCS, &hooks);
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        (matches!(ended, Err(NetError::Cancelled)), files)
    });
    assert_eq!(stopped, [(true, 1), (true, 0)], "rank 0 alone writes checkpoints");
}
