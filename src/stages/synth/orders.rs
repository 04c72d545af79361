//! Which scenes to make: the shipped sample, places of another size and number, or scenes for given masks.

use super::sample::{SAMPLE, SampleScene, Split};

/// The seed that the shipped sample is made with.
pub const SAMPLE_SEED: u64 = 42;

/// Scenes of about `size` pixels a side (as the shipped sample when `None`), `train` to learn from and `val` to be
/// scored on. With the sample's seed, size and numbers, these are the sample's scenes.
///
/// No two scenes have the same size, and none overlap.
pub fn orders(size: Option<u32>, train: usize, val: usize, seed: u64) -> Vec<SampleScene> {
    let splits = [(Split::Training, train), (Split::Validation, val)];
    let mut orders = Vec::with_capacity(train + val);
    for (split, count) in splits {
        let shipped: Vec<&SampleScene> = SAMPLE.iter().filter(|s| s.split == split).collect();
        for number in 0..count {
            // Places beyond the sample repeat its landscapes with other seeds.
            let model = shipped[number % shipped.len()];
            let index = orders.len();
            let mut scene = SampleScene { split, number, ..*model };
            if seed != SAMPLE_SEED || number >= shipped.len() {
                scene.config.seed = seed.wrapping_mul(1_000_003).wrapping_add(index as u64);
            }
            if let Some(size) = size {
                (scene.config.width, scene.config.height) = near(size as usize, index);
            }
            if size.is_some() || number >= shipped.len() {
                scene.origin = origin(index, scene.config.width.max(scene.config.height));
            }
            orders.push(scene);
        }
    }
    orders
}

/// Odd sizes around `size`, another pair for each scene.
fn near(size: usize, index: usize) -> (usize, usize) {
    (size + (index * 5) % 11 - (index % 3), size + (index * 7) % 13 - (index % 2))
}

/// Corners on a wide grid, so that no two scenes overlap (exact ones for [`SampleScene::origin`]).
fn origin(index: usize, side: usize) -> (f64, f64) {
    let pitch = (side as f64 * super::SAMPLE_PIXEL / 10_000.0).ceil() * 10_000.0 + 10_000.0;
    (400_000.0 + pitch * (index % 4) as f64, 6_600_000.0 - pitch * (index / 4) as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn without_wishes_it_is_the_shipped_sample() {
        assert_eq!(orders(None, 4, 2, SAMPLE_SEED), SAMPLE);
    }

    #[test]
    fn no_two_scenes_are_alike_and_none_overlap() {
        for (size, train, val, seed) in [(None, 9, 5, 42), (Some(120), 7, 3, 42), (Some(850), 4, 2, 7)] {
            let scenes = orders(size, train, val, seed);
            assert_eq!(scenes.len(), train + val);
            let seeds: HashSet<u64> = scenes.iter().map(|s| s.config.seed).collect();
            assert_eq!(seeds.len(), scenes.len());
            for (i, a) in scenes.iter().enumerate() {
                for b in &scenes[..i] {
                    let side = |s: &SampleScene| s.config.width.max(s.config.height) as f64 * 10.0;
                    let (dx, dy) = (a.origin.0 - b.origin.0, a.origin.1 - b.origin.1);
                    assert!(dx.abs() >= side(a).min(side(b)) || dy.abs() >= side(a).min(side(b)), "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn sizes_are_near_the_one_asked_for_and_differ() {
        let scenes = orders(Some(850), 4, 2, 42);
        let sizes: HashSet<(usize, usize)> = scenes.iter().map(|s| (s.config.width, s.config.height)).collect();
        assert_eq!(sizes.len(), 6);
        assert!(sizes.iter().all(|(w, h)| w.abs_diff(850) < 14 && h.abs_diff(850) < 14), "{sizes:?}");
    }
}
