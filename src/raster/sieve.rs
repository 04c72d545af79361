//! Minimum mapping unit: small regions of a label raster take the class around them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::classes::NO_LABEL;

/// Gives every region smaller than `min_area` pixels the class that most of the pixels around it have; of equals the one with
/// the lower code. `codes` are label codes, row by row; a region is pixels of one code that hang together by their sides.
///
/// The smallest region comes first, of equals the one that begins first, and what has grown together counts as one region from
/// then on. In the end no region is smaller than `min_area`, but for those that have no class around them at all. Pixels
/// without a label ([`NO_LABEL`]) stay as they are and are no class.
///
/// Needs a byte a pixel beside `codes`. Looks at `cancelled` now and then, and stops early where it is true.
///
/// # Panics
/// When `codes` are no whole rows of `width`.
pub fn sieve(codes: &mut [u8], width: usize, min_area: usize, cancelled: &dyn Fn() -> bool) {
    assert!(width > 0 && codes.len().is_multiple_of(width), "{} codes are no whole rows of {width}", codes.len());
    let mut map = Map { seen: vec![false; codes.len()], codes, width };
    let mut small = map.regions_below(min_area);
    map.seen.fill(false);
    let mut turn = 0_usize;
    while let Some(Reverse((size, first))) = small.pop() {
        turn += 1;
        if turn.is_multiple_of(LOOK_UP) && cancelled() {
            return;
        }
        // A region that has grown since is in the heap once more, under its new size.
        let Some(region) = map.region(first, size + 1).filter(|r| r.len() == size && r.iter().min() == Some(&first))
        else {
            continue;
        };
        let Some(code) = map.code_around(&region) else { continue };
        region.iter().for_each(|&pixel| map.codes[pixel] = code);
        if let Some(grown) = map.region(first, min_area) {
            small.extend(grown.iter().min().map(|&first| Reverse((grown.len(), first))));
        }
    }
}

/// Regions between two looks at whether to stop.
const LOOK_UP: usize = 1024;

/// Sizes and first pixels of regions, the smallest on top.
type Regions = BinaryHeap<Reverse<(usize, usize)>>;

struct Map<'a> {
    codes: &'a mut [u8],
    width: usize,
    /// Scratch of a search; all false between two.
    seen: Vec<bool>,
}

impl Map<'_> {
    /// All regions smaller than `min_area`. Leaves marks in `seen`.
    fn regions_below(&mut self, min_area: usize) -> Regions {
        let mut regions = Regions::new();
        let mut front = VecDeque::new();
        for first in 0..self.codes.len() {
            if self.codes[first] == NO_LABEL || self.seen[first] {
                continue;
            }
            // A queue, not a stack: it holds no more than the rim of what has been seen.
            let mut size = 0;
            self.seen[first] = true;
            front.push_back(first);
            while let Some(pixel) = front.pop_front() {
                size += 1;
                for neighbour in neighbours(pixel, self.width, self.codes.len()) {
                    if self.codes[neighbour] == self.codes[first] && !self.seen[neighbour] {
                        self.seen[neighbour] = true;
                        front.push_back(neighbour);
                    }
                }
            }
            if size < min_area {
                regions.push(Reverse((size, first)));
            }
        }
        regions
    }

    /// Pixels of the region that `start` is in; `None` where there are `limit` or more.
    fn region(&mut self, start: usize, limit: usize) -> Option<Vec<usize>> {
        let mut region = vec![start];
        self.seen[start] = true;
        let mut next = 0;
        while next < region.len() && region.len() < limit {
            for neighbour in neighbours(region[next], self.width, self.codes.len()) {
                if self.codes[neighbour] == self.codes[start] && !self.seen[neighbour] {
                    self.seen[neighbour] = true;
                    region.push(neighbour);
                }
            }
            next += 1;
        }
        region.iter().for_each(|&pixel| self.seen[pixel] = false);
        (region.len() < limit).then_some(region)
    }

    /// The code of most pixels that touch the region; `None` where none has one.
    fn code_around(&self, region: &[usize]) -> Option<u8> {
        let own = self.codes[region[0]];
        let around = region.iter().flat_map(|&pixel| neighbours(pixel, self.width, self.codes.len()));
        let mut around: Vec<usize> =
            around.filter(|&pixel| self.codes[pixel] != own && self.codes[pixel] != NO_LABEL).collect();
        around.sort_unstable();
        around.dedup();
        let mut counts = [0_usize; 256];
        around.iter().for_each(|&pixel| counts[usize::from(self.codes[pixel])] += 1);
        let most = (0..=255_u8).max_by_key(|&code| (counts[usize::from(code)], Reverse(code)))?;
        (counts[usize::from(most)] > 0).then_some(most)
    }
}

/// Pixels that share a side with this one.
fn neighbours(pixel: usize, width: usize, pixels: usize) -> impl Iterator<Item = usize> {
    let column = pixel % width;
    let all = [
        (pixel >= width, pixel.wrapping_sub(width)),
        (column > 0, pixel.wrapping_sub(1)),
        (column + 1 < width, pixel + 1),
        (pixel + width < pixels, pixel + width),
    ];
    all.into_iter().filter_map(|(there, pixel)| there.then_some(pixel))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sieved(codes: &[u8], width: usize, min_area: usize) -> Vec<u8> {
        let mut codes = codes.to_vec();
        sieve(&mut codes, width, min_area, &|| false);
        codes
    }

    /// All regions by spreading the least pixel of each until nothing changes: first pixel -> pixels.
    fn regions(codes: &[u8], width: usize) -> BTreeMap<usize, Vec<usize>> {
        let mut first: Vec<usize> = (0..codes.len()).collect();
        loop {
            let before = first.clone();
            for pixel in 0..codes.len() {
                for other in 0..codes.len() {
                    let (rows, columns) =
                        ((pixel / width).abs_diff(other / width), (pixel % width).abs_diff(other % width));
                    if rows + columns == 1 && codes[pixel] == codes[other] {
                        first[pixel] = first[pixel].min(first[other]);
                    }
                }
            }
            if first == before {
                break;
            }
        }
        let mut regions = BTreeMap::<usize, Vec<usize>>::new();
        first.iter().enumerate().filter(|(pixel, _)| codes[*pixel] != NO_LABEL).for_each(|(pixel, first)| {
            regions.entry(*first).or_default().push(pixel);
        });
        regions
    }

    /// Pixels with a class around a region, each once.
    fn around(codes: &[u8], width: usize, region: &[usize]) -> Vec<usize> {
        let touches = |pixel: usize| {
            region.iter().any(|p| (p / width).abs_diff(pixel / width) + (p % width).abs_diff(pixel % width) == 1)
        };
        (0..codes.len()).filter(|p| !region.contains(p) && codes[*p] != NO_LABEL && touches(*p)).collect()
    }

    /// The definition, step by step, everything looked for anew each time.
    fn naive(codes: &[u8], width: usize, min_area: usize) -> Vec<u8> {
        let mut codes = codes.to_vec();
        loop {
            let mut small: Vec<Vec<usize>> = regions(&codes, width).into_values().collect();
            small.retain(|region| region.len() < min_area && !around(&codes, width, region).is_empty());
            small.sort_by_key(|region| (region.len(), region[0]));
            let Some(region) = small.first() else { return codes };
            let around = around(&codes, width, region);
            let count = |code: u8| around.iter().filter(|p| codes[**p] == code).count();
            let most = (1..=255).map(count).max().unwrap();
            let code = (1..=255).find(|code| count(*code) == most).unwrap();
            region.iter().for_each(|p| codes[*p] = code);
        }
    }

    #[test]
    fn does_what_the_definition_says() {
        let mut rng = Lcg(7);
        for (width, height, classes) in [(9, 7, 3), (1, 12, 2), (12, 1, 3), (8, 8, 2), (10, 9, 5), (7, 7, 4)] {
            for min_area in [1, 2, 3, 5, 9, 100] {
                let codes: Vec<u8> = (0..width * height).map(|_| rng.below(classes + 1)).collect();
                let found = sieved(&codes, width, min_area);
                assert_eq!(found, naive(&codes, width, min_area), "{width} x {height}, {min_area}: {codes:?}");
                let nothing = |codes: &[u8]| codes.iter().map(|code| *code == NO_LABEL).collect::<Vec<_>>();
                assert_eq!(nothing(&found), nothing(&codes), "pixels without data stay");
                for region in regions(&found, width).values().filter(|region| region.len() < min_area) {
                    assert!(around(&found, width, region).is_empty(), "{region:?} is small, and has neighbours");
                }
                assert_eq!(sieved(&found, width, min_area), found, "once is enough");
            }
        }
    }

    #[test]
    fn of_equals_the_lower_code_wins_and_corners_do_not_touch() {
        assert_eq!(sieved(&[5, 5, 7, 3, 3], 5, 2), [5, 5, 3, 3, 3]);
        let checkers = [1, 1, 2, 1, 1, 2, 2, 2, 1];
        assert_eq!(sieved(&checkers, 3, 2), [1, 1, 2, 1, 1, 2, 2, 2, 2]);
        assert_eq!(sieved(&[4, 0, 5, 5], 4, 3), [4, 0, 5, 5], "what has no class around it stays");
    }

    /// As fast as one look at every pixel, where regions are large.
    #[test]
    fn a_large_map_is_done_at_once() {
        let side = 1000;
        let codes: Vec<u8> = (0..side * side).map(|i| if i % 997 == 0 { 2 } else { 1 }).collect();
        assert!(sieved(&codes, side, 50).iter().all(|code| *code == 1));
    }

    /// Numbers for tests (Knuth's MMIX generator).
    struct Lcg(u64);

    impl Lcg {
        fn below(&mut self, n: u8) -> u8 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) % u64::from(n)) as u8
        }
    }
}
