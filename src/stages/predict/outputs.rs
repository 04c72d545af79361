//! The rasters that a prediction leaves, written row by row.

use std::path::Path;

use super::certainty::{UNKNOWN, confidence, entropy};
use crate::engine::{Cancel, Expansion, Item, Origin, OutputDecl, StageError, TaskContext};
use crate::net::IGNORE;
use crate::raster::{
    ClassTable, Georeference, NO_LABEL, Predictor, RasterError, RasterWriter, SampleType, Samples, WriteOptions,
    label_options, sieve,
};

/// What a prediction leaves beside its map, and what becomes of small regions in it.
#[derive(Clone, Copy, Debug)]
pub(in crate::stages) struct Wanted {
    pub(in crate::stages) probabilities: bool,
    pub(in crate::stages) confidence: bool,
    pub(in crate::stages) entropy: bool,
    /// Pixels.
    pub(in crate::stages) min_area: usize,
}

impl Wanted {
    /// Names of the outputs beside the map.
    fn extra(self) -> impl Iterator<Item = &'static str> {
        let all = [(PROBABILITIES, self.probabilities), (CONFIDENCE, self.confidence), (ENTROPY, self.entropy)];
        all.into_iter().filter_map(|(name, wanted)| wanted.then_some(name))
    }

    /// What the task of a scene leaves, the map first; each is an item of the stage's output of that kind.
    pub(in crate::stages) fn declare(self, stage: &str, scene: &str, expansion: &mut Expansion) -> Vec<OutputDecl> {
        let map = ("maps", OutputDecl { name: MAP.into(), path: format!("{scene}.tif").into() });
        let of =
            |name: &'static str| (name, OutputDecl { name: name.into(), path: format!("{name}/{scene}.tif").into() });
        let mut declared = Vec::new();
        for (output, left) in std::iter::once(map).chain(self.extra().map(of)) {
            let from = Origin::Task { stage: stage.into(), task: scene.into(), output: left.name.clone() };
            expansion.outputs.entry(output.into()).or_default().push(Item::new(scene, from));
            declared.push(left);
        }
        declared
    }
}

/// The map and, where asked for, what the network thought of it.
pub(in crate::stages) struct Outputs {
    map: Map,
    codes: Vec<u8>,
    probabilities: Option<RasterWriter>,
    confidence: Option<RasterWriter>,
    entropy: Option<RasterWriter>,
}

impl Outputs {
    /// Begins all files, for a scene of this width and height. Channels of the network are the classes of `classes`, in its order.
    pub(in crate::stages) fn create(
        wanted: Wanted,
        classes: &ClassTable,
        (size, georef): ((usize, usize), &Georeference),
        task: &TaskContext<'_>,
    ) -> Result<Self, StageError> {
        let begin = |name: &str, options: &WriteOptions<'_>| create(&task.output(name)?, options);
        let one_band =
            |wanted: bool, name: &str| wanted.then(|| begin(name, &certainty_options(size, georef, name))).transpose();
        let probabilities =
            wanted.probabilities.then(|| begin(PROBABILITIES, &probability_options(size, georef, classes)));
        Ok(Self {
            map: Map {
                file: begin(MAP, &label_options(size.0, size.1, georef, classes))?,
                width: size.0,
                min_area: wanted.min_area,
                held: Vec::new(),
            },
            codes: classes.codes(),
            probabilities: probabilities.transpose()?,
            confidence: one_band(wanted.confidence, CONFIDENCE)?,
            entropy: one_band(wanted.entropy, ENTROPY)?,
        })
    }

    /// Writes further rows: class indices and, where anything needs them, probabilities `[rows, width, classes]`.
    pub(in crate::stages) fn write(&mut self, indices: &[u8], probabilities: &[f32]) -> Result<(), RasterError> {
        let code = |&index: &u8| if index == IGNORE { NO_LABEL } else { self.codes[index as usize] };
        self.map.write(indices.iter().map(code).collect())?;
        let pixels = || indices.iter().zip(probabilities.chunks_exact(self.codes.len()));
        let certainty = |of: fn(&[f32]) -> f32| {
            Samples::F32(pixels().map(|(index, p)| if *index == IGNORE { UNKNOWN } else { of(p) }).collect())
        };
        if let Some(writer) = &mut self.probabilities {
            let mut planes = vec![0.0; probabilities.len()];
            for (pixel, (_, p)) in pixels().enumerate() {
                p.iter().enumerate().for_each(|(class, &p)| planes[class * indices.len() + pixel] = p);
            }
            writer.write_rows(&Samples::F32(planes))?;
        }
        if let Some(writer) = &mut self.confidence {
            writer.write_rows(&certainty(confidence))?;
        }
        if let Some(writer) = &mut self.entropy {
            writer.write_rows(&certainty(entropy))?;
        }
        Ok(())
    }

    /// Puts the files in their places.
    pub(in crate::stages) fn finish(self, cancel: &Cancel) -> Result<(), StageError> {
        let map = self.map.whole(cancel)?;
        let writers = [Some(map), self.probabilities, self.confidence, self.entropy];
        writers.into_iter().flatten().try_for_each(RasterWriter::finish).map_err(|e| StageError::failed(e.to_string()))
    }
}

/// A map that is written as it comes or, where small regions must go, held until the last row is there.
struct Map {
    file: RasterWriter,
    width: usize,
    /// Pixels.
    min_area: usize,
    held: Vec<u8>,
}

/// Rows of a held map that are written together.
const ROWS: usize = 512;

impl Map {
    fn write(&mut self, codes: Vec<u8>) -> Result<(), RasterError> {
        if self.min_area > 1 {
            self.held.extend(codes);
            return Ok(());
        }
        self.file.write_rows(&Samples::U8(codes))
    }

    /// The file with all its rows.
    fn whole(mut self, cancel: &Cancel) -> Result<RasterWriter, StageError> {
        sieve(&mut self.held, self.width, self.min_area, &|| cancel.is_cancelled());
        if cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        for rows in self.held.chunks(ROWS * self.width) {
            let written = self.file.write_rows(&Samples::U8(rows.to_vec()));
            written.map_err(|e| StageError::failed(e.to_string()))?;
        }
        Ok(self.file)
    }
}

/// The tasks' output for the map.
const MAP: &str = "map";
/// Outputs of the stage, of its tasks, and the settings that ask for them.
pub(in crate::stages) const PROBABILITIES: &str = "probabilities";
/// As [`PROBABILITIES`].
pub(in crate::stages) const CONFIDENCE: &str = "confidence";
/// As [`PROBABILITIES`].
pub(in crate::stages) const ENTROPY: &str = "entropy";

fn create(path: &Path, options: &WriteOptions<'_>) -> Result<RasterWriter, StageError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| StageError::failed(format!("{}: {e}", folder.display())))?;
    }
    RasterWriter::create(path, options).map_err(|e| StageError::failed(e.to_string()))
}

fn probability_options(
    (width, height): (usize, usize),
    georef: &Georeference,
    classes: &ClassTable,
) -> WriteOptions<'static> {
    WriteOptions {
        georef: georef.clone(),
        predictor: Predictor::Float,
        planar: true,
        band_names: classes.iter().map(|c| c.name.clone()).collect(),
        ..WriteOptions::new(width, height, classes.len(), SampleType::F32)
    }
}

fn certainty_options((width, height): (usize, usize), georef: &Georeference, name: &str) -> WriteOptions<'static> {
    WriteOptions {
        georef: georef.clone(),
        nodata: Some(f64::from(UNKNOWN)),
        predictor: Predictor::Float,
        band_names: vec![name.to_owned()],
        ..WriteOptions::new(width, height, 1, SampleType::F32)
    }
}
