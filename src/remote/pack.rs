//! Compressing a file: standard zstd, a frame for every block, so that blocks are compressed side by side and any zstd
//! program reads the whole.

use std::fs::File;
use std::io::{self, Read};

use rayon::prelude::*;

use crate::engine::{Digest, Hasher};

/// Bytes of a block before compression.
const BLOCK: usize = 4 << 20;
/// Blocks that are compressed side by side, at most: what bounds the memory.
const SIDE_BY_SIDE: usize = 8;
/// The level for what becomes smaller, and the one that costs next to nothing for what does not.
const LEVEL: i32 = 3;
const CHEAP: i32 = -7;
/// The first bytes of a block tell whether it becomes smaller by at least this part.
const SAMPLE: usize = 64 << 10;
const WORTH_IT: f64 = 0.03;

/// A file that is read, digested and compressed piece by piece.
pub(super) struct Packer {
    file: File,
    hasher: Hasher,
    read: u64,
    ended: bool,
    blocks: usize,
}

impl Packer {
    pub(super) fn new(file: File) -> Self {
        let blocks = rayon::current_num_threads().clamp(1, SIDE_BY_SIDE);
        Self { file, hasher: Hasher::default(), read: 0, ended: false, blocks }
    }

    /// Digest and number of the bytes read so far.
    pub(super) fn seen(&self) -> (Digest, u64) {
        (self.hasher.digest(), self.read)
    }

    /// The next compressed bytes; `None` after the last. An empty file is one empty frame.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let first = self.read == 0;
        let mut blocks = Vec::with_capacity(self.blocks);
        while blocks.len() < self.blocks && !self.ended {
            let mut block = Vec::new();
            self.file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
            self.ended = block.len() < BLOCK;
            self.hasher.update(&block);
            self.read += block.len() as u64;
            if !block.is_empty() || (first && blocks.is_empty()) {
                blocks.push(block);
            }
        }
        let frames: Vec<Vec<u8>> = match blocks.as_slice() {
            [one] => vec![compress(one)?],
            many => many.par_iter().map(|block| compress(block)).collect::<io::Result<_>>()?,
        };
        Ok(Some(frames.concat()))
    }
}

fn compress(block: &[u8]) -> io::Result<Vec<u8>> {
    let sample = &block[..block.len().min(SAMPLE)];
    let packed = zstd::bulk::compress(sample, 1)?.len() as f64;
    let pays = packed <= sample.len() as f64 * (1.0 - WORTH_IT);
    zstd::bulk::compress(block, if pays { LEVEL } else { CHEAP })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(bytes: &[u8]) -> (Vec<u8>, (Digest, u64)) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut packer = Packer::new(file);
        let mut all = Vec::new();
        while let Some(piece) = packer.next().unwrap() {
            all.extend(piece);
        }
        (all, packer.seen())
    }

    /// Bytes that no program makes smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn any_zstd_program_reads_what_was_packed() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 19 * BLOCK + 5] {
            let bytes: Vec<u8> = (0..len).map(|i| (i / 7 % 251) as u8).collect();
            let (packed, seen) = packed(&bytes);
            assert!(zstd::decode_all(&packed[..]).unwrap() == bytes, "{len} bytes");
            assert_eq!(seen, (Digest::of(&bytes), len as u64));
            assert!(!packed.is_empty() && packed.len() <= len / 20 + 100, "{len} bytes -> {}", packed.len());
        }
    }

    #[test]
    fn noise_grows_by_next_to_nothing() {
        let bytes = noise(2 * BLOCK);
        let (packed, _) = packed(&bytes);
        assert!(packed.len() < bytes.len() + bytes.len() / 1000);
        assert!(zstd::decode_all(&packed[..]).unwrap() == bytes);
    }
}
