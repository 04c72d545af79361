//! Chooses what is held out: whole scenes where there are many, spatial blocks of scenes where there are few.
//!
//! Pixels a few metres apart are nearly copies of each other. A hold-out of random pixels or patches therefore measures
//! memory, not skill (Roberts et al. 2017, Ecography 40:913-929); blocks of at least a patch's side do not.

use crate::net::rng::Rng;

/// A piece of a scene that is held out whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    /// Position of the scene.
    pub(super) scene: usize,
    /// `[row, column, height, width]`.
    pub(super) rect: [usize; 4],
    /// Labelled pixels per class, in the order of the class table.
    pub(super) counts: Vec<u64>,
}

/// Cuts scenes (`[height, width]`) into units: whole scenes when at least two of them would be held out, else blocks
/// of about `block` pixels a side (never less).
pub(super) fn cut(scenes: &[[usize; 2]], block: usize, holdout: f64) -> Vec<(usize, [usize; 4])> {
    let whole = scenes.len() as f64 * holdout >= 2.0;
    let mut units = Vec::new();
    for (scene, &[height, width]) in scenes.iter().enumerate() {
        let (rows, cols) = if whole { (1, 1) } else { ((height / block).max(1), (width / block).max(1)) };
        for r in 0..rows {
            for c in 0..cols {
                let (top, bottom) = (height * r / rows, height * (r + 1) / rows);
                let (left, right) = (width * c / cols, width * (c + 1) / cols);
                units.push((scene, [top, left, bottom - top, right - left]));
            }
        }
    }
    units
}

/// Random choices tried; the one whose classes are split most evenly is taken.
const TRIALS: usize = 400;

/// Chooses units to hold out, about `holdout` of the labelled pixels of *every* class. Returns positions, ascending.
///
/// A rare class may live in one unit only; then it stays in training, for a class that was never trained cannot be
/// mapped, while one without hold-out pixels is merely not used to choose the best epoch.
pub(super) fn choose(units: &[Unit], holdout: f64, seed: u64) -> Vec<usize> {
    if holdout <= 0.0 || units.len() < 2 {
        return Vec::new();
    }
    let classes = units[0].counts.len();
    let mut total = vec![0u64; classes];
    units.iter().for_each(|u| add(&mut total, &u.counts));
    let goal = total.iter().sum::<u64>() as f64 * holdout;
    let mut rng = Rng::new(seed).fork("hold-out");
    let mut order: Vec<usize> = (0..units.len()).collect();
    let mut best: (f64, Vec<usize>) = (f64::INFINITY, Vec::new());
    for _ in 0..TRIALS {
        rng.shuffle(&mut order);
        let (chosen, held) = take_until(units, &order, goal, classes);
        let badness = badness(&held, &total, holdout);
        if badness < best.0 {
            best = (badness, chosen);
        }
    }
    best.1.sort_unstable();
    best.1
}

fn add(sum: &mut [u64], counts: &[u64]) {
    sum.iter_mut().zip(counts).for_each(|(s, c)| *s += c);
}

/// Takes units in this order while that brings the number of held pixels nearer to the goal; always one, never all.
fn take_until(units: &[Unit], order: &[usize], goal: f64, classes: usize) -> (Vec<usize>, Vec<u64>) {
    let mut held = vec![0u64; classes];
    let mut sum = 0u64;
    let mut chosen = Vec::new();
    for &unit in &order[..order.len() - 1] {
        let pixels: u64 = units[unit].counts.iter().sum();
        if !chosen.is_empty() && (sum + pixels) as f64 - goal > goal - sum as f64 {
            break;
        }
        sum += pixels;
        add(&mut held, &units[unit].counts);
        chosen.push(unit);
    }
    (chosen, held)
}

/// How far the held share of each class is from the wanted one; a class that would vanish from training weighs most,
/// one that would be missing from the hold-out next.
fn badness(held: &[u64], total: &[u64], holdout: f64) -> f64 {
    held.iter()
        .zip(total)
        .filter(|(_, total)| **total > 0)
        .map(|(&held, &total)| {
            let share = held as f64 / total as f64;
            let lost = if held == total { 1e6 } else { 0.0 };
            let unseen = if held == 0 { 1e3 } else { 0.0 };
            lost + unseen + ((share - holdout) / holdout).powi(2)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(counts: &[u64]) -> Unit {
        Unit { scene: 0, rect: [0, 0, 1, 1], counts: counts.to_vec() }
    }

    #[test]
    fn blocks_cover_every_pixel_once_and_are_never_smaller_than_asked() {
        for (height, width) in [(848, 851), (130, 129), (383, 257)] {
            let units = cut(&[[height, width]], 128, 0.15);
            let area: usize = units.iter().map(|(_, r)| r[2] * r[3]).sum();
            assert_eq!(area, height * width);
            assert!(units.iter().all(|(_, r)| r[2] >= 128 && r[3] >= 128), "{units:?}");
        }
    }

    #[test]
    fn many_scenes_are_held_out_whole() {
        let units = cut(&vec![[256, 256]; 120], 128, 0.15);
        assert_eq!(units.len(), 120);
        assert_eq!(units[7], (7, [0, 0, 256, 256]));
    }

    #[test]
    fn a_class_in_one_unit_only_stays_in_training() {
        let mut units: Vec<Unit> = (0..12).map(|_| unit(&[100, 50, 0])).collect();
        units[5].counts[2] = 30;
        for seed in 0..20 {
            let held = choose(&units, 0.2, seed);
            assert!(!held.contains(&5), "seed {seed}: {held:?}");
            assert!(!held.is_empty() && held.len() < units.len());
        }
    }

    #[test]
    fn a_class_in_several_units_is_in_both_parts() {
        let units: Vec<Unit> = (0..20).map(|i| unit(&[100, u64::from(i % 7 == 0) * 40])).collect();
        for seed in 0..20 {
            let held = choose(&units, 0.2, seed);
            let rare = held.iter().filter(|&&u| units[u].counts[1] > 0).count();
            assert!((1..3).contains(&rare), "seed {seed}: {held:?}");
        }
    }

    #[test]
    fn the_share_held_out_is_near_the_one_asked_for() {
        let units: Vec<Unit> = (0..30).map(|i| unit(&[80 + i, 120 - i])).collect();
        let held: u64 = choose(&units, 0.15, 3).iter().map(|&u| units[u].counts.iter().sum::<u64>()).sum();
        assert!((0.12..0.18).contains(&(held as f64 / 6000.0)), "{held}");
    }

    #[test]
    fn nothing_is_held_out_when_nothing_is_asked_for() {
        assert!(choose(&[unit(&[1]), unit(&[1])], 0.0, 1).is_empty());
        assert!(choose(&[unit(&[1])], 0.5, 1).is_empty());
    }
}
