//! From rows of samples to the bytes of one strip or tile: interleaving, predictor, compression.

use super::codec;
use super::info::Compression;
use super::options::Predictor;

/// How chunks are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkEncoder {
    /// Pixels in a row of a chunk.
    pub(super) width: usize,
    /// Bytes of a sample.
    pub(super) sample_size: usize,
    pub(super) compression: Compression,
    pub(super) predictor: Predictor,
}

/// Rows of one band waiting to be written: samples in this machine's byte order.
pub(super) struct BandRows<'a> {
    pub(super) bytes: &'a [u8],
    /// Pixels in a row of the raster.
    pub(super) width: usize,
}

impl ChunkEncoder {
    /// The stored bytes of a chunk of `rows` rows that begins at column `left`; where the bands end before the chunk
    /// does, it is padded with zeros. One band gives a chunk of a plane, several are interleaved by pixel.
    pub(super) fn encode(&self, bands: &[BandRows<'_>], left: usize, rows: usize) -> Vec<u8> {
        let mut bytes = self.gather(bands, left, rows);
        let row_bytes = self.width * bands.len() * self.sample_size;
        for row in bytes.chunks_exact_mut(row_bytes) {
            match self.predictor {
                Predictor::None => {}
                Predictor::Horizontal => difference(row, bands.len(), self.sample_size),
                Predictor::Float => shuffle(row, bands.len(), self.sample_size),
            }
        }
        match self.compression {
            Compression::Lzw => codec::lzw(&bytes),
            Compression::Deflate => codec::deflate(&bytes),
            // The writer refuses the other methods before it begins.
            Compression::None | Compression::PackBits | Compression::Zstd => bytes,
        }
    }

    fn gather(&self, bands: &[BandRows<'_>], left: usize, rows: usize) -> Vec<u8> {
        let size = self.sample_size;
        let pixel = bands.len() * size;
        let mut bytes = vec![0; self.width * rows * pixel];
        for (order, band) in bands.iter().enumerate() {
            let columns = self.width.min(band.width - left);
            let source = band.bytes.chunks_exact(band.width * size);
            for (to, from) in bytes.chunks_exact_mut(self.width * pixel).zip(source) {
                let from = &from[left * size..(left + columns) * size];
                if bands.len() == 1 {
                    to[..from.len()].copy_from_slice(from);
                } else {
                    let places = to.chunks_exact_mut(pixel).map(|to| &mut to[order * size..(order + 1) * size]);
                    places.zip(from.chunks_exact(size)).for_each(|(to, from)| to.copy_from_slice(from));
                }
            }
        }
        bytes
    }
}

/// Predictor 2: each sample becomes its difference to the same band of the pixel before it, modulo 2^bits.
fn difference(row: &mut [u8], stride: usize, sample_size: usize) {
    fn run<const N: usize>(row: &mut [u8], stride: usize, subtract: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
        let (samples, _) = row.as_chunks_mut::<N>();
        for i in (stride..samples.len()).rev() {
            samples[i] = subtract(samples[i], samples[i - stride]);
        }
    }
    match sample_size {
        1 => run(row, stride, |[a], [b]| [a.wrapping_sub(b)]),
        2 => run(row, stride, |a, b| u16::from_ne_bytes(a).wrapping_sub(u16::from_ne_bytes(b)).to_ne_bytes()),
        4 => run(row, stride, |a, b| u32::from_ne_bytes(a).wrapping_sub(u32::from_ne_bytes(b)).to_ne_bytes()),
        _ => run(row, stride, |a, b| u64::from_ne_bytes(a).wrapping_sub(u64::from_ne_bytes(b)).to_ne_bytes()),
    }
}

/// Predictor 3: the bytes of all samples grouped by significance, most significant first, then byte differences.
fn shuffle(row: &mut [u8], stride: usize, sample_size: usize) {
    let count = row.len() / sample_size;
    let plain = row.to_vec();
    for (i, sample) in plain.chunks_exact(sample_size).enumerate() {
        for (j, &byte) in sample.iter().enumerate() {
            let significance = if cfg!(target_endian = "little") { sample_size - 1 - j } else { j };
            row[significance * count + i] = byte;
        }
    }
    for i in (stride..row.len()).rev() {
        row[i] = row[i].wrapping_sub(row[i - stride]);
    }
}

/// Refuses compression methods that are read but not written.
pub(super) fn check(compression: Compression, predictor: Predictor, float: bool) -> Result<(), String> {
    match (compression, predictor) {
        (Compression::PackBits | Compression::Zstd, _) => {
            Err(format!("{compression} compression is read but not written; choose none, lzw or deflate"))
        }
        (Compression::None, Predictor::Horizontal | Predictor::Float) => {
            Err("a predictor needs lzw or deflate compression".to_owned())
        }
        (_, Predictor::Float) if !float => Err("the floating-point predictor needs float samples".to_owned()),
        _ => Ok(()),
    }
}
