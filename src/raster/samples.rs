//! Pixel values of every type that GeoTIFF knows, typed.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a sample (one band of one pixel). Float16 on disk is [`SampleType::F32`] here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum SampleType {
    /// Unsigned, 8 bits.
    #[serde(rename = "uint8")]
    U8,
    /// Signed, 8 bits.
    #[serde(rename = "int8")]
    I8,
    /// Unsigned, 16 bits.
    #[serde(rename = "uint16")]
    U16,
    /// Signed, 16 bits.
    #[serde(rename = "int16")]
    I16,
    /// Unsigned, 32 bits.
    #[serde(rename = "uint32")]
    U32,
    /// Signed, 32 bits.
    #[serde(rename = "int32")]
    I32,
    /// Unsigned, 64 bits.
    #[serde(rename = "uint64")]
    U64,
    /// Signed, 64 bits.
    #[serde(rename = "int64")]
    I64,
    /// IEEE 754 single precision.
    #[serde(rename = "float32")]
    F32,
    /// IEEE 754 double precision.
    #[serde(rename = "float64")]
    F64,
}

impl SampleType {
    /// Bytes per sample.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// True for the two floating-point types.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// numpy's and rasterio's name: `uint8`, `float32` …
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that samples can have. Implemented for the ten primitive types of [`SampleType`].
pub trait Sample: sealed::Sealed + Copy + Default + PartialEq + Send + Sync + 'static {
    /// The type's tag.
    const TYPE: SampleType;
    /// The value as f64; 64-bit integers beyond 2^53 are rounded.
    fn to_f64(self) -> f64;
    /// The nearest f32.
    fn to_f32(self) -> f32;
    /// The nearest value of this type (saturating; NaN becomes 0 in integers).
    fn from_f64(value: f64) -> Self;
    /// Appends the bytes, least significant first.
    fn push_le(self, to: &mut Vec<u8>);
    /// Appends the bytes in this machine's order.
    fn push_ne(self, to: &mut Vec<u8>);
}

macro_rules! sample_types {
    ($($variant:ident $type:ty),*) => {
        /// Samples of one type. Where they are pixels of a raster the order is band, row, column.
        #[derive(Clone, PartialEq, Debug)]
        #[expect(missing_docs, reason = "the variants are those of SampleType")]
        pub enum Samples {
            $($variant(Vec<$type>)),*
        }

        $(
            impl sealed::Sealed for $type {}

            impl Sample for $type {
                const TYPE: SampleType = SampleType::$variant;

                fn to_f64(self) -> f64 {
                    self as f64
                }

                fn to_f32(self) -> f32 {
                    self as f32
                }

                fn from_f64(value: f64) -> Self {
                    value as Self
                }

                fn push_le(self, to: &mut Vec<u8>) {
                    to.extend_from_slice(&self.to_le_bytes());
                }

                fn push_ne(self, to: &mut Vec<u8>) {
                    to.extend_from_slice(&self.to_ne_bytes());
                }
            }

            impl From<Vec<$type>> for Samples {
                fn from(values: Vec<$type>) -> Self {
                    Self::$variant(values)
                }
            }
        )*

        impl Samples {
            /// The samples' type.
            pub const fn sample_type(&self) -> SampleType {
                match self {
                    $(Self::$variant(_) => SampleType::$variant),*
                }
            }

            /// Number of samples.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(values) => values.len()),*
                }
            }

            /// The sample at `index` as f64, [`None`] beyond the end.
            pub fn get_f64(&self, index: usize) -> Option<f64> {
                match self {
                    $(Self::$variant(values) => values.get(index).map(|&v| v.to_f64())),*
                }
            }

            /// Zeros (`0` or `0.0`) of a type.
            pub fn zeros(sample_type: SampleType, len: usize) -> Self {
                match sample_type {
                    $(SampleType::$variant => Self::$variant(vec![<$type>::default(); len])),*
                }
            }

            /// Appends the bytes of a range of samples, least significant byte first.
            pub fn extend_le_bytes(&self, range: std::ops::Range<usize>, to: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(values) => values[range].iter().for_each(|v| v.push_le(to))),*
                }
            }

            /// Appends the bytes of a range of samples in this machine's order.
            pub(super) fn extend_ne_bytes(&self, range: std::ops::Range<usize>, to: &mut Vec<u8>) {
                to.reserve(range.len() * self.sample_type().size());
                match self {
                    $(Self::$variant(values) => values[range].iter().for_each(|v| v.push_ne(to))),*
                }
            }
        }
    };
}

sample_types!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64);

/// Runs `$body` with `$values` bound to the typed vector inside a [`Samples`].
macro_rules! with_samples {
    ($samples:expr, $values:ident => $body:expr) => {
        match $samples {
            $crate::raster::Samples::U8($values) => $body,
            $crate::raster::Samples::I8($values) => $body,
            $crate::raster::Samples::U16($values) => $body,
            $crate::raster::Samples::I16($values) => $body,
            $crate::raster::Samples::U32($values) => $body,
            $crate::raster::Samples::I32($values) => $body,
            $crate::raster::Samples::U64($values) => $body,
            $crate::raster::Samples::I64($values) => $body,
            $crate::raster::Samples::F32($values) => $body,
            $crate::raster::Samples::F64($values) => $body,
        }
    };
}
pub(super) use with_samples;

impl Samples {
    /// All samples as f32: borrowed where they are, else converted (rounding integers beyond 2^24).
    pub fn as_f32(&self) -> Cow<'_, [f32]> {
        match self {
            Self::F32(values) => Cow::Borrowed(values),
            other => with_samples!(other, values => Cow::Owned(values.iter().map(|&v| v.to_f32()).collect())),
        }
    }

    /// True when there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
