//! What an area of one class looks like: its colour, and a hatch where the colour alone does not do.

use super::canvas::Raster;
use super::colour::{lightness, mix};
use crate::raster::Rgb;

/// Pixels after which a hatch repeats, in output pixels.
const PERIOD: usize = 12;

/// Width of a hatch line in output pixels.
const LINE: usize = 2;

/// A pattern drawn over a class colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, PartialOrd, Ord, Hash)]
pub enum Hatch {
    /// Plain colour.
    #[default]
    None,
    /// Lines from lower left to upper right.
    Rising,
    /// Dots in a quincunx.
    Dots,
    /// Level lines.
    Level,
    /// Lines from upper left to lower right.
    Falling,
    /// Upright lines.
    Upright,
    /// Rising and falling lines.
    Crossed,
}

impl Hatch {
    /// All patterns, in the order in which they are given out.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Rising, Self::Dots, Self::Level, Self::Falling, Self::Upright, Self::Crossed];

    /// Whether the pattern puts ink on this output pixel.
    fn inks(self, x: usize, y: usize) -> bool {
        let rising = (x + y) % PERIOD < LINE;
        let falling = (x + PERIOD - y % PERIOD) % PERIOD < LINE;
        match self {
            Self::None => false,
            Self::Rising => rising,
            Self::Falling => falling,
            Self::Crossed => rising || falling,
            Self::Level => y % PERIOD < LINE,
            Self::Upright => x % PERIOD < LINE,
            Self::Dots => {
                let (x, y) = (x % PERIOD, y % PERIOD);
                let half = PERIOD / 2;
                (x % half < 3 && y % half < 3) && (x < half) == (y < half)
            }
        }
    }
}

/// A colour and the hatch over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// The class colour.
    pub colour: Rgb,
    /// The pattern over it.
    pub hatch: Hatch,
    ink: Rgb,
}

/// The look of "no label" and of pixels without data: pale grey, hatched in a little darker grey.
pub(super) const NO_DATA: Fill =
    Fill { colour: Rgb(0xe9, 0xeb, 0xed), hatch: Hatch::Falling, ink: Rgb(0xc9, 0xce, 0xd3) };

impl Fill {
    /// Ink is a darker shade of the colour, or a lighter one where the colour is dark.
    pub fn new(colour: Rgb, hatch: Hatch) -> Self {
        let ink = if lightness(colour) > 35.0 {
            mix(colour, Rgb(0, 0, 0), 0.38)
        } else {
            mix(colour, Rgb(255, 255, 255), 0.5)
        };
        Self { colour, hatch, ink }
    }

    /// The colour of an output pixel. The pattern hangs on the picture's corner, so that all areas of one class join.
    pub(super) fn at(self, x: usize, y: usize) -> Rgb {
        if self.hatch.inks(x, y) { self.ink } else { self.colour }
    }

    /// A swatch of this fill, for legends and bars: the very pixels that maps are made of.
    pub(super) fn swatch(self, width: usize, height: usize) -> Raster {
        Raster::from_fn(width, height, |x, y| self.at(x, y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hatch_is_a_pattern_of_its_own_and_leaves_most_of_the_colour() {
        let drawn: Vec<Vec<bool>> = Hatch::ALL
            .iter()
            .map(|hatch| (0..PERIOD * PERIOD).map(|i| hatch.inks(i % PERIOD, i / PERIOD)).collect())
            .collect();
        for (i, pattern) in drawn.iter().enumerate() {
            let inked = pattern.iter().filter(|inked| **inked).count() as f64 / pattern.len() as f64;
            assert!((inked > 0.0) == (Hatch::ALL[i] != Hatch::None));
            assert!(inked < 0.35, "{:?} covers {inked}", Hatch::ALL[i]);
            assert!(drawn[..i].iter().all(|other| other != pattern), "{:?} is drawn twice", Hatch::ALL[i]);
        }
    }

    #[test]
    fn ink_stands_out_from_dark_and_bright_colours() {
        for colour in [Rgb(0, 0, 0), Rgb(0, 0, 255), Rgb(255, 255, 0), Rgb(0, 255, 0), Rgb(255, 255, 255)] {
            let fill = Fill::new(colour, Hatch::Rising);
            assert!((lightness(fill.ink) - lightness(colour)).abs() > 12.0, "{colour} {}", fill.ink);
        }
    }
}
