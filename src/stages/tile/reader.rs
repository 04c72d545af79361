//! Reads windows of a tile straight from disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::{CARD_FILE, SCENE_CARD_VERSION, SceneCard, TILE_FILE};
use crate::engine::StageError;
use crate::stages::document::read_document;

/// An open tile. Reads are positioned, so that one reader serves many threads.
#[derive(Debug)]
pub struct TileReader {
    card: SceneCard,
    file: File,
    path: PathBuf,
    dtype: Dtype,
    bands_at: u64,
    labels_at: u64,
    valid_at: u64,
}

/// Header bytes that no tile of ours comes near; a larger one is damage.
const MAX_HEADER: u64 = 1 << 20;

impl TileReader {
    /// Opens the tile in this directory.
    ///
    /// # Errors
    /// A sentence naming the file when it is missing, of another version, or its tensors are not a tile's.
    pub fn open(dir: &Path) -> Result<Self, StageError> {
        let card: SceneCard = read_document(&dir.join(CARD_FILE), "a scene description", SCENE_CARD_VERSION)?;
        let path = dir.join(TILE_FILE);
        let damaged = |what: String| StageError::failed(format!("{}: {what}", path.display()));
        let mut file = File::open(&path).map_err(|e| damaged(e.to_string()))?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|e| damaged(e.to_string()))?;
        let header = u64::from_le_bytes(length);
        if header > MAX_HEADER {
            return Err(damaged("is not a tile: its safetensors header is too long".into()));
        }
        let mut head = Vec::new();
        file.by_ref().take(header).read_to_end(&mut head).map_err(|e| damaged(e.to_string()))?;
        let metadata: Metadata = serde_json::from_slice(&head).map_err(|e| damaged(format!("is not a tile: {e}")))?;
        let base = 8 + header;
        let at = |name: &str, shape: &[usize]| match metadata.info(name) {
            Some(info) if info.shape == shape => Ok((info.dtype, base + info.data_offsets.0 as u64)),
            Some(info) => Err(damaged(format!("tensor {name:?} has shape {:?}, expected {shape:?}", info.shape))),
            None => Err(damaged(format!("has no tensor {name:?}"))),
        };
        let (height, width) = (card.height, card.width);
        let (dtype, bands_at) = at("bands", &[height, width, card.bands.len()])?;
        let (_, labels_at) = at("labels", &[height, width])?;
        let (_, valid_at) = at("valid", &[height, width])?;
        if !matches!(dtype, Dtype::U8 | Dtype::I16 | Dtype::U16 | Dtype::I32 | Dtype::F32) {
            return Err(damaged(format!("bands of type {dtype:?} are not known to this version")));
        }
        Ok(Self { card, file, path, dtype, bands_at, labels_at, valid_at })
    }

    /// The scene's description.
    pub fn card(&self) -> &SceneCard {
        &self.card
    }

    /// Reads a window of pixel values, `[height, width, band]`, in the scene's own units.
    ///
    /// # Errors
    /// A sentence naming the file.
    ///
    /// # Panics
    /// When the window leaves the scene or `out` has another length.
    pub fn read_bands(&self, [row, col, height, width]: [usize; 4], out: &mut [f32]) -> Result<(), StageError> {
        let bands = self.card.bands.len();
        assert!(row + height <= self.card.height && col + width <= self.card.width, "the window leaves the scene");
        assert_eq!(out.len(), height * width * bands, "the buffer does not fit the window");
        let size = dtype_bytes(self.dtype);
        let mut bytes = vec![0; width * bands * size];
        for (r, line) in out.chunks_exact_mut(width * bands).enumerate() {
            let first = ((row + r) * self.card.width + col) * bands;
            self.read_at(&mut bytes, self.bands_at + (first * size) as u64)?;
            decode(self.dtype, &bytes, line);
        }
        Ok(())
    }

    /// Reads a window of label codes, `[height, width]`.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn read_labels(&self, window: [usize; 4], out: &mut [u8]) -> Result<(), StageError> {
        self.read_mask(self.labels_at, window, out)
    }

    /// Reads a window of the valid mask, `[height, width]`, 1 or 0.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn read_valid(&self, window: [usize; 4], out: &mut [u8]) -> Result<(), StageError> {
        self.read_mask(self.valid_at, window, out)
    }

    fn read_mask(&self, base: u64, [row, col, height, width]: [usize; 4], out: &mut [u8]) -> Result<(), StageError> {
        assert!(row + height <= self.card.height && col + width <= self.card.width, "the window leaves the scene");
        assert_eq!(out.len(), height * width, "the buffer does not fit the window");
        for (r, line) in out.chunks_exact_mut(width).enumerate() {
            self.read_at(line, base + ((row + r) * self.card.width + col) as u64)?;
        }
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), StageError> {
        self.file.read_exact_at(bytes, at).map_err(|e| {
            let what = match e.kind() {
                io::ErrorKind::UnexpectedEof => "ends before its last pixel".to_owned(),
                _ => e.to_string(),
            };
            StageError::failed(format!("{}: {what}", self.path.display()))
        })
    }
}

fn dtype_bytes(dtype: Dtype) -> usize {
    match dtype {
        Dtype::U8 => 1,
        Dtype::I16 | Dtype::U16 => 2,
        _ => 4,
    }
}

fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    macro_rules! each {
        ($t:ty) => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks().0) {
                *value = <$t>::from_le_bytes(*raw) as f32;
            }
        };
    }
    match dtype {
        Dtype::U8 => each!(u8),
        Dtype::I16 => each!(i16),
        Dtype::U16 => each!(u16),
        Dtype::I32 => each!(i32),
        _ => each!(f32),
    }
}
