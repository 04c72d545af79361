//! From the bytes of one decompressed row of a chunk to typed samples: byte order and predictor undone.

use super::info::ByteOrder;
use super::samples::Sample;

/// How samples are stored: their order and what was done before compression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage {
    pub(super) order: ByteOrder,
    /// 1 none, 2 horizontal differences, 3 floating point (checked when the file was opened).
    pub(super) predictor: u16,
    /// Samples per pixel inside the chunk: the distance over which differences are taken.
    pub(super) stride: usize,
}

/// A type that samples are stored as: one of the ten that they are read as, float16, or a few bits.
pub(super) trait Stored: Copy + Send + Sync + 'static {
    /// The type that it is read as.
    type Out: Sample;

    /// Replaces `row` by the samples in `bytes`. `bytes` may be changed on the way.
    fn decode_row(storage: Storage, bytes: &mut [u8], row: &mut Vec<Self::Out>);
}

/// Adds up differences as the file's writer took them: modulo 2^bits, also for floating point.
fn accumulate<T: Copy>(row: &mut [T], stride: usize, add: impl Fn(T, T) -> T) {
    if stride == 1 {
        // The common case, without a second index for the compiler to check.
        let Some((&mut first, rest)) = row.split_first_mut() else { return };
        rest.iter_mut().fold(first, |left, sample| {
            *sample = add(left, *sample);
            *sample
        });
        return;
    }
    for i in stride..row.len() {
        row[i] = add(row[i - stride], row[i]);
    }
}

/// Undoes the floating-point predictor (TIFF Technical Note 3): byte differences over the row, then the bytes of all
/// samples grouped by significance, most significant first.
fn unshuffle<const N: usize>(bytes: &mut [u8], stride: usize) -> impl Iterator<Item = [u8; N]> {
    accumulate(bytes, stride, u8::wrapping_add);
    let count = bytes.len() / N;
    let bytes = &*bytes;
    (0..count).map(move |i| std::array::from_fn(|j| bytes[j * count + i]))
}

macro_rules! stored {
    ($($type:ty, $bits:ty, $out:ty, $convert:expr;)*) => {$(
        impl Stored for $type {
            type Out = $out;

            fn decode_row(storage: Storage, bytes: &mut [u8], row: &mut Vec<$out>) {
                const N: usize = size_of::<$bits>();
                let convert = |bits: $bits| -> $out { $convert(bits) };
                row.clear();
                if storage.predictor == 3 {
                    row.extend(unshuffle::<N>(bytes, storage.stride).map(|b| convert(<$bits>::from_be_bytes(b))));
                    return;
                }
                let (words, _) = bytes.as_chunks_mut::<N>();
                if storage.order != ByteOrder::NATIVE {
                    words.iter_mut().for_each(|word| word.reverse());
                }
                if storage.predictor == 2 {
                    // In place, so that no second buffer is needed.
                    let bits = <$bits>::from_ne_bytes;
                    accumulate(words, storage.stride, |a, b| bits(a).wrapping_add(bits(b)).to_ne_bytes());
                }
                row.extend(words.iter().map(|&b| convert(<$bits>::from_ne_bytes(b))));
            }
        }
    )*};
}

/// IEEE 754 half precision, read as f32.
#[derive(Clone, Copy)]
pub(super) struct Half;

stored! {
    u8, u8, u8, |v: u8| v;
    i8, u8, i8, |v: u8| v as i8;
    u16, u16, u16, |v: u16| v;
    i16, u16, i16, |v: u16| v as i16;
    u32, u32, u32, |v: u32| v;
    i32, u32, i32, |v: u32| v as i32;
    u64, u64, u64, |v: u64| v;
    i64, u64, i64, |v: u64| v as i64;
    f32, u32, f32, f32::from_bits;
    f64, u64, f64, f64::from_bits;
    Half, u16, f32, |v: u16| half::f16::from_bits(v).to_f32();
}

/// 1, 2 or 4 bits, most significant first, read as u8 without scaling.
#[derive(Clone, Copy)]
pub(super) struct Packed<const BITS: usize>;

impl<const BITS: usize> Stored for Packed<BITS> {
    type Out = u8;

    fn decode_row(_: Storage, bytes: &mut [u8], row: &mut Vec<u8>) {
        row.clear();
        let mask = ((1u16 << BITS) - 1) as u8;
        for byte in bytes {
            row.extend((0..8 / BITS).rev().map(|i| *byte >> (i * BITS) & mask));
        }
    }
}
