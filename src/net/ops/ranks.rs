//! Sorting what [`Element::rank`](super::element::Element::rank) makes of values.

/// Bits of a digit: its 2048 counts stay in the first-level cache.
const DIGIT: u32 = 11;
const BUCKETS: usize = 1 << DIGIT;
/// First bits of the digits of the value, which lies above the index.
const SHIFTS: [u32; 3] = [32, 32 + DIGIT, 32 + 2 * DIGIT];

/// Ranks of f32 values, which come with ascending indices, in ascending order: three stable passes over the value's digits (D. E.
/// Knuth, "The Art of Computer Programming" 3, section 5.2.5), where comparisons would take some eighteen.
pub(super) fn sort_f32(ranks: Vec<u64>) -> Vec<u64> {
    debug_assert!(ranks.windows(2).all(|pair| (pair[0] as u32) < pair[1] as u32), "indices ascend");
    let mut counts = [[0_u32; BUCKETS]; SHIFTS.len()];
    for rank in &ranks {
        for (counts, shift) in counts.iter_mut().zip(SHIFTS) {
            counts[digit(*rank, shift)] += 1;
        }
    }
    let mut sorted = ranks;
    let mut spare = vec![0; sorted.len()];
    for (counts, shift) in counts.iter_mut().zip(SHIFTS) {
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for rank in &sorted {
            let place = &mut counts[digit(*rank, shift)];
            spare[*place as usize] = *rank;
            *place += 1;
        }
        std::mem::swap(&mut sorted, &mut spare);
    }
    sorted
}

/// The same for f64 values, by comparison: gradient checks alone use them.
pub(super) fn sort_f64(mut ranks: Vec<u128>) -> Vec<u128> {
    // No two are equal: the index is a part of them.
    ranks.sort_unstable();
    ranks
}

fn digit(rank: u64, shift: u32) -> usize {
    (rank >> shift) as usize & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ops::element::Element;
    use crate::net::rng::Rng;

    #[test]
    fn the_order_is_that_of_a_comparing_sort() {
        let mut rng = Rng::new(6);
        for len in [0, 1, 2, 77, 5000] {
            let draw = |index: usize| {
                let value = match rng.below(4) {
                    0 => 0.0,
                    1 => 1.0,
                    2 => (rng.uniform() * 1e-7) as f32,
                    _ => rng.uniform() as f32,
                };
                value.rank(index as u32)
            };
            let ranks: Vec<u64> = (0..len).map(draw).collect();
            let mut expected = ranks.clone();
            expected.sort_unstable();
            assert_eq!(sort_f32(ranks), expected);
        }
        let odd = [f32::MIN_POSITIVE, f32::NAN, 0.5, f32::INFINITY, 1e-40, 0.5];
        let ranks: Vec<u64> = (0..).zip(odd).map(|(index, value)| value.rank(index)).collect();
        let mut expected = ranks.clone();
        expected.sort_unstable();
        assert_eq!(sort_f32(ranks), expected);
    }
}
