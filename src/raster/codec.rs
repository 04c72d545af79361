//! Decompression and compression of one strip or tile.

use std::io::Read;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use weezl::{BitOrder, LzwStatus};

use super::info::Compression;

/// Deflate level of what we write: zlib's default, the best trade of time for size on label maps.
const DEFLATE_LEVEL: flate2::Compression = flate2::Compression::new(6);

/// The most bytes that `stored` compressed bytes can decode to. A declaration beyond it is a lie.
pub(super) fn capacity(compression: Compression, stored: u64) -> u64 {
    let ratio = match compression {
        Compression::None => 1,
        // Two bytes give 128.
        Compression::PackBits => 64,
        // A code of 12 bits stands for less than 4096 bytes.
        Compression::Lzw => 2731,
        // A match of 258 bytes takes at least 2 bits.
        Compression::Deflate => 1032,
        // A block of 128 KiB of one byte takes 4 bytes.
        Compression::Zstd => 32_768,
    };
    stored.saturating_mul(ratio)
}

/// Decompresses chunk after chunk; its tables are made once.
pub(super) enum Decoder {
    Plain,
    PackBits,
    Lzw(weezl::decode::Decoder),
    Deflate(Decompress),
    Zstd,
}

impl Decoder {
    pub(super) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Plain,
            Compression::PackBits => Self::PackBits,
            Compression::Lzw => {
                let tiff = weezl::decode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8);
                Self::Lzw(tiff.with_yield_on_full_buffer(true).build())
            }
            Compression::Deflate => Self::Deflate(Decompress::new(true)),
            Compression::Zstd => Self::Zstd,
        }
    }

    /// Decompresses `input` into `output` and returns how many bytes it gave, at most the length of `output`; what would
    /// come after is not looked at.
    ///
    /// # Errors
    /// What the decoder met, as a phrase.
    pub(super) fn decompress(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize, String> {
        match self {
            Self::Plain => {
                let len = input.len().min(output.len());
                output[..len].copy_from_slice(&input[..len]);
                Ok(len)
            }
            Self::PackBits => unpack_bits(input, output),
            Self::Lzw(lzw) => unlzw(lzw, input, output),
            Self::Deflate(zlib) => inflate(zlib, input, output),
            Self::Zstd => unzstd(input, output),
        }
    }
}

fn inflate(zlib: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<usize, String> {
    zlib.reset(true);
    loop {
        let (read, written) = (zlib.total_in() as usize, zlib.total_out() as usize);
        if written == output.len() {
            return Ok(written);
        }
        let status = zlib
            .decompress(&input[read..], &mut output[written..], FlushDecompress::Finish)
            .map_err(|e| format!("zlib: {e}"))?;
        let stuck = zlib.total_in() as usize == read && zlib.total_out() as usize == written;
        if status == Status::StreamEnd || stuck {
            return Ok(zlib.total_out() as usize);
        }
    }
}

fn unlzw(lzw: &mut weezl::decode::Decoder, input: &[u8], output: &mut [u8]) -> Result<usize, String> {
    lzw.reset();
    let (mut read, mut written) = (0, 0);
    while written < output.len() {
        let step = lzw.decode_bytes(&input[read..], &mut output[written..]);
        read += step.consumed_in;
        written += step.consumed_out;
        match step.status.map_err(|e| format!("LZW: {e}"))? {
            LzwStatus::Done | LzwStatus::NoProgress => break,
            LzwStatus::Ok => {}
        }
    }
    Ok(written)
}

fn unzstd(input: &[u8], output: &mut [u8]) -> Result<usize, String> {
    let fail = |e: std::io::Error| format!("zstd: {e}");
    let mut stream = zstd::stream::read::Decoder::with_buffer(input).map_err(fail)?;
    let mut written = 0;
    while written < output.len() {
        match stream.read(&mut output[written..]).map_err(fail)? {
            0 => break,
            n => written += n,
        }
    }
    Ok(written)
}

/// PackBits (TIFF 6.0 section 9): a count byte n, then n+1 literal bytes, or one byte to be repeated 1-n times.
fn unpack_bits(mut input: &[u8], output: &mut [u8]) -> Result<usize, String> {
    let mut written = 0;
    while written < output.len() {
        let Some((&count, rest)) = input.split_first() else { break };
        input = rest;
        let room = &mut output[written..];
        match count as i8 {
            -128 => {}
            n @ 0.. => {
                let len = n as usize + 1;
                let (literal, rest) = input.split_at_checked(len).ok_or("PackBits: a literal run is cut off")?;
                let len = len.min(room.len());
                room[..len].copy_from_slice(&literal[..len]);
                input = rest;
                written += len;
            }
            n => {
                let (&byte, rest) = input.split_first().ok_or("PackBits: a repeated run is cut off")?;
                let len = (1 - i16::from(n)) as usize;
                let len = len.min(room.len());
                room[..len].fill(byte);
                input = rest;
                written += len;
            }
        }
    }
    Ok(written)
}

/// zlib's stream for `input`, the same bytes on every machine.
pub(super) fn deflate(input: &[u8]) -> Vec<u8> {
    let mut zlib = Compress::new(DEFLATE_LEVEL, true);
    let mut output = Vec::with_capacity(input.len() / 4 + 128);
    loop {
        let read = zlib.total_in() as usize;
        let status = zlib
            .compress_vec(&input[read..], &mut output, FlushCompress::Finish)
            .expect("compressing from memory to memory has no way to fail");
        if status == Status::StreamEnd {
            return output;
        }
        output.reserve(output.capacity().max(128));
    }
}

/// TIFF's LZW stream for `input`.
pub(super) fn lzw(input: &[u8]) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8)
        .encode(input)
        .expect("every byte is a symbol of an 8-bit alphabet")
}
