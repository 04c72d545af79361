//! Keeps classes apart for every eye: classes whose colours look alike get different hatches.

use super::colour::{Vision, difference};
use super::fill::{Fill, Hatch, NO_DATA};
use crate::raster::{ClassTable, NO_LABEL, Rgb};

/// CIEDE2000 difference below which two class colours count as too close in a map, to normal, protan or deutan eyes.
/// Laid side by side in large patches far less is visible; in a map the patches are small and apart.
pub const LEAST_DIFFERENCE: f64 = 15.0;

/// Colour of codes that are no class: nothing else is black.
const STRAY: Rgb = Rgb(0, 0, 0);

/// Pairs of codes (ascending) whose colours some eye can take for one another.
pub fn too_close(classes: &ClassTable) -> Vec<(u8, u8)> {
    let classes: Vec<_> = classes.iter().collect();
    let mut pairs = Vec::new();
    for (i, a) in classes.iter().enumerate() {
        for b in &classes[i + 1..] {
            if Vision::ALL.into_iter().any(|vision| difference(a.color, b.color, vision) < LEAST_DIFFERENCE) {
                pairs.push((a.code, b.code));
            }
        }
    }
    pairs
}

/// The fill of every label code.
#[derive(Clone, Debug)]
pub struct ClassFills {
    fills: Box<[Fill; 256]>,
}

impl ClassFills {
    /// Gives out hatches: of two classes that are too close, at most one is plain, and no two share a pattern.
    ///
    /// A class takes the first pattern that no class too close to it has; of the patterns with lines, the one given
    /// out least, so that two hatched classes look different even where they need not.
    pub fn new(classes: &ClassTable) -> Self {
        let pairs = too_close(classes);
        let mut fills = Box::new([Fill::new(STRAY, Hatch::None); 256]);
        fills[usize::from(NO_LABEL)] = NO_DATA;
        let mut given: Vec<(u8, Hatch)> = Vec::new();
        for class in classes.iter() {
            let is_rival = |code: u8| pairs.contains(&(code.min(class.code), code.max(class.code)));
            let hatch = next_hatch(&given, is_rival);
            given.push((class.code, hatch));
            fills[usize::from(class.code)] = Fill::new(class.color, hatch);
        }
        Self { fills }
    }

    /// The fill of a code; black for codes that are no class, hatched grey for "no label".
    pub fn of(&self, code: u8) -> Fill {
        self.fills[usize::from(code)]
    }
}

fn next_hatch(given: &[(u8, Hatch)], is_rival: impl Fn(u8) -> bool) -> Hatch {
    let taken = |hatch: Hatch| given.iter().any(|&(code, other)| other == hatch && is_rival(code));
    if !taken(Hatch::None) {
        return Hatch::None;
    }
    let uses = |hatch: Hatch| given.iter().filter(|(_, other)| *other == hatch).count();
    let patterns = &Hatch::ALL[1..];
    // With more rivals than patterns some must share one; then the least used.
    let free = patterns.iter().copied().filter(|&hatch| !taken(hatch)).min_by_key(|&hatch| uses(hatch));
    free.or_else(|| patterns.iter().copied().min_by_key(|&hatch| uses(hatch))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Class;

    fn table(colours: &[&str]) -> ClassTable {
        let class = |(i, colour): (usize, &&str)| Class {
            code: i as u8 + 1,
            name: format!("class {}", i + 1),
            color: Rgb::parse(colour).unwrap(),
        };
        ClassTable::new(colours.iter().enumerate().map(class).collect())
    }

    #[test]
    fn the_exercise_has_two_pairs_that_only_a_hatch_keeps_apart() {
        let classes = table(&["red", "yellow", "lime", "green", "purple", "blue"]);
        assert_eq!(too_close(&classes), [(1, 4), (2, 3)], "urban/forest and cropland/grass");
        let fills = ClassFills::new(&classes);
        let hatches: Vec<Hatch> = (1..=6).map(|code| fills.of(code).hatch).collect();
        assert_eq!(hatches, [Hatch::None, Hatch::None, Hatch::Rising, Hatch::Dots, Hatch::None, Hatch::None]);
    }

    #[test]
    fn colours_made_for_all_eyes_stay_plain() {
        let classes = table(&["#0072b2", "#d55e00", "#f0e442", "#000000"]);
        assert_eq!(too_close(&classes), []);
        let fills = ClassFills::new(&classes);
        assert!((1..=4).all(|code| fills.of(code).hatch == Hatch::None));
    }

    #[test]
    fn no_two_rivals_share_a_pattern() {
        let greens = ["#00aa00", "#00aa05", "#05aa00", "#0aaa00", "#00a500", "#00a000", "#05a505"];
        let classes = table(&greens);
        assert_eq!(too_close(&classes).len(), 21, "all pairs of seven");
        let fills = ClassFills::new(&classes);
        let mut hatches: Vec<Hatch> = (1..=7).map(|code| fills.of(code).hatch).collect();
        hatches.sort();
        hatches.dedup();
        assert_eq!(hatches.len(), 7);
    }

    #[test]
    fn more_rivals_than_patterns_still_get_one_each() {
        let classes = table(&["gray"; 20]);
        let fills = ClassFills::new(&classes);
        let plain = (1..=20).filter(|&code| fills.of(code).hatch == Hatch::None).count();
        assert_eq!(plain, 1);
    }
}
