//! Checkpoints: what a training leaves when it is stopped in whatever way, and that it goes on from there to the same bytes.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::tests::{DISCS, Discs, config, fingerprint_of, uninterrupted};
use super::*;
use crate::net::optim::AdamWConfig;
use crate::net::rng::Rng;
use crate::net::schedule::Schedule;
use crate::net::{NetError, OptimizerConfig};

/// A training whose best epoch is not its last, so that the best weights must outlive interruptions too.
fn wavering() -> TrainConfig {
    let optimizer = OptimizerConfig::AdamW(AdamWConfig::with_lr(0.2));
    TrainConfig { epochs: 6, optimizer, schedule: Schedule::Constant, seed: 2, ..config() }
}

fn checkpoints(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn goes_on_after_interruptions_as_if_there_had_been_none() {
    let whole = uninterrupted(&wavering());
    assert!(whole.best_epoch < 5, "best epoch {}", whole.best_epoch);
    let expected = fingerprint_of(&whole);
    let mut rng = Rng::new(2);
    for _ in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let mut interruptions = 0;
        let resumed = loop {
            // The flag is read after every step and hold-out batch: 5 times an epoch. Cut anywhere, evaluations too.
            let patience = Cell::new(1 + rng.below(8));
            let cancelled = || {
                patience.set(patience.get() - 1);
                patience.get() == 0
            };
            let hooks = TrainHooks { cancelled: &cancelled, ..TrainHooks::quiet(dir.path()) };
            match train(&wavering(), &DISCS, &hooks) {
                Ok(trained) => break trained,
                Err(NetError::Cancelled) => interruptions += 1,
                Err(other) => panic!("{other}"),
            }
            assert!(interruptions < 40, "must get on");
        };
        assert!(interruptions > 0);
        assert_eq!(fingerprint_of(&resumed), expected, "after {interruptions} interruptions");
    }
}

#[test]
fn goes_on_after_being_killed_from_whatever_was_on_the_disk() {
    let expected = fingerprint_of(&uninterrupted(&wavering()));
    for kill_after in [2, 3, 7, 16] {
        let (dir, as_killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let on_step = |done: usize, _: usize, _: f32| {
            if done == kill_after {
                for file in checkpoints(dir.path()) {
                    std::fs::copy(&file, as_killed.path().join(file.file_name().unwrap())).unwrap();
                }
            }
        };
        let hooks = TrainHooks { on_step: &on_step, checkpoint_every: Duration::ZERO, ..TrainHooks::quiet(dir.path()) };
        train(&wavering(), &DISCS, &hooks).unwrap();
        assert!(!checkpoints(as_killed.path()).is_empty());
        let resumed = train(&wavering(), &DISCS, &TrainHooks::quiet(as_killed.path())).unwrap();
        assert_eq!(fingerprint_of(&resumed), expected, "killed after step {kill_after}");
    }
}

/// Trains up to `steps` steps with a checkpoint at each, and leaves them in `dir`.
fn leave_checkpoints(dir: &Path, config: &TrainConfig, steps: usize) {
    let done = Cell::new(0);
    let cancelled = || done.replace(done.get() + 1) + 1 == steps;
    let hooks = TrainHooks { cancelled: &cancelled, checkpoint_every: Duration::ZERO, ..TrainHooks::quiet(dir) };
    assert!(matches!(train(config, &DISCS, &hooks), Err(NetError::Cancelled)));
}

#[test]
fn damaged_checkpoints_are_passed_over() {
    let expected = fingerprint_of(&uninterrupted(&config()));
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.clear(),
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes[..8].fill(0xff),
    ];
    for damage in damages {
        for damaged in [1, 2] {
            let dir = tempfile::tempdir().unwrap();
            leave_checkpoints(dir.path(), &config(), 7);
            let files = checkpoints(dir.path());
            assert_eq!(files.len(), 2, "the newest and the one before");
            for file in files.iter().rev().take(damaged) {
                let mut bytes = std::fs::read(file).unwrap();
                damage(&mut bytes);
                std::fs::write(file, bytes).unwrap();
            }
            let first = Cell::new(0);
            let on_step = |done, _: usize, _: f32| {
                if first.get() == 0 {
                    first.set(done);
                }
            };
            let hooks = TrainHooks { on_step: &on_step, ..TrainHooks::quiet(dir.path()) };
            let trained = train(&config(), &DISCS, &hooks).unwrap();
            assert_eq!(fingerprint_of(&trained), expected);
            // Cancelled in the second epoch's evaluation or a step of it: the checkpoint before is later than nothing.
            assert_eq!(first.get() == 1, damaged == 2, "first step {}", first.get());
        }
    }
}

#[test]
fn checkpoints_of_another_training_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    leave_checkpoints(dir.path(), &TrainConfig { seed: 1, ..config() }, 3);
    let trained = train(&config(), &DISCS, &TrainHooks::quiet(dir.path())).unwrap();
    assert_eq!(fingerprint_of(&trained), fingerprint_of(&uninterrupted(&config())));
    // The same configuration on other data.
    leave_checkpoints(dir.path(), &TrainConfig { seed: 1, ..config() }, 3);
    let brighter = Discs { scale: 1.5, ..DISCS };
    let first = Cell::new(0);
    let on_step = |done, _: usize, _: f32| first.set(if first.get() == 0 { done } else { first.get() });
    let hooks = TrainHooks { on_step: &on_step, ..TrainHooks::quiet(dir.path()) };
    train(&TrainConfig { seed: 1, ..config() }, &brighter, &hooks).unwrap();
    assert_eq!(first.get(), 1);
}

#[test]
fn a_finished_training_is_taken_from_its_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let trained = train(&config(), &DISCS, &TrainHooks::quiet(dir.path())).unwrap();
    let hooks = TrainHooks { on_step: &|_, _, _| panic!("no step is left"), ..TrainHooks::quiet(dir.path()) };
    let again = train(&config(), &DISCS, &hooks).unwrap();
    assert_eq!(fingerprint_of(&again), fingerprint_of(&trained));
}

#[test]
fn a_folder_that_can_no_longer_be_written_does_not_stop_the_training() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("checkpoints");
    let on_step = |done: usize, _: usize, _: f32| {
        if done == 2 {
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::write(&folder, "in the way").unwrap();
        }
    };
    let hooks = TrainHooks { on_step: &on_step, checkpoint_every: Duration::ZERO, ..TrainHooks::quiet(&folder) };
    let trained = train(&config(), &DISCS, &hooks).unwrap();
    assert_eq!(fingerprint_of(&trained), fingerprint_of(&uninterrupted(&config())));
    // From the start it is an error, and so is a request to stop that cannot leave its checkpoint.
    assert!(matches!(train(&config(), &DISCS, &TrainHooks::quiet(&folder)), Err(NetError::Io { .. })));
    std::fs::remove_file(&folder).unwrap();
    let cancelled = || {
        std::fs::remove_dir_all(&folder).unwrap();
        true
    };
    let hooks = TrainHooks { cancelled: &cancelled, ..TrainHooks::quiet(&folder) };
    assert!(matches!(train(&config(), &DISCS, &hooks), Err(NetError::Io { .. })));
}

#[test]
fn half_written_files_of_a_killed_process_are_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("step-0000000099.tmp");
    std::fs::write(&half, "half").unwrap();
    train(&config(), &DISCS, &TrainHooks::quiet(dir.path())).unwrap();
    assert!(!half.exists());
    assert_eq!(checkpoints(dir.path()).len(), 2);
}

#[test]
fn a_diverging_loss_stops_and_keeps_the_last_good_checkpoint() {
    let wild = TrainConfig {
        optimizer: OptimizerConfig::AdamW(AdamWConfig::with_lr(1e30)),
        schedule: Schedule::Constant,
        clip: None,
        ..config()
    };
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let hooks = TrainHooks { checkpoint_every: Duration::ZERO, ..TrainHooks::quiet(dir.path()) };
        match train(&wild, &DISCS, &hooks) {
            Err(NetError::Diverged { epoch, step, .. } | NetError::GradientDiverged { epoch, step, .. }) => {
                (epoch, step)
            }
            other => panic!("{other:?}"),
        }
    };
    let (epoch, step) = run();
    assert!(step > 1 && epoch == (step - 1) / 3 + 1, "epoch {epoch}, step {step}");
    assert!(!checkpoints(dir.path()).is_empty());
    assert_eq!(run(), (epoch, step), "and again from the checkpoint");
}
