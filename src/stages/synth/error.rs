//! What can be wrong with an order for a scene.

/// A scene that cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SynthError {
    /// No pixels.
    #[error("a scene of {width} x {height} pixels is empty: width and height are at least 1")]
    Empty {
        /// Width asked for, pixels.
        width: usize,
        /// Height asked for, pixels.
        height: usize,
    },
    /// Too many pixels to address.
    #[error("a scene of {width} x {height} pixels is too large: width and height are at most {MAX_SIDE}")]
    TooLarge {
        /// Width asked for, pixels.
        width: usize,
        /// Height asked for, pixels.
        height: usize,
    },
    /// A share of the scene that is no share.
    #[error("{name} is {value}: it is a share of the scene, between 0 and {max}")]
    Share {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: f32,
        /// The largest share that leaves room for the rest.
        max: f32,
    },
    /// The mask has another number of pixels than its size says.
    #[error("the truth mask has {found} pixels, but {width} x {height} makes {}", width * height)]
    MaskSize {
        /// Width given, pixels.
        width: usize,
        /// Height given, pixels.
        height: usize,
        /// Pixels in the mask.
        found: usize,
    },
    /// The mask has a code for which no ground is known.
    #[error(
        "the truth mask has {count} pixels of code {code}: a scene can be made for the codes 1 urban, 2 cropland, \
         3 grass, 4 forest, 5 wetland, 6 water and 0 no label"
    )]
    UnknownCode {
        /// The first such code.
        code: u8,
        /// Pixels that have it.
        count: usize,
    },
}

/// Longest side, pixels: positions are 32-bit floats, which hold a hundredth of a pixel up to here.
pub(super) const MAX_SIDE: usize = 32_768;
