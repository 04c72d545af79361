//! Ingests one scene: reads it strip by strip, checks it, writes the tile.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::engine::{Progress, StageError, TaskContext};
use crate::raster::{GridMismatch, NO_LABEL, RasterInfo, Reader, Sample, Samples, read_labels};
use crate::stages::document::write_document;
use crate::stages::tile::{
    BandStatistics, CARD_FILE, Moments, Plan, Preparation, SCENE_CARD_VERSION, SceneCard, TILE_FILE, TileType,
    TileWriter,
};

/// The files of one scene.
pub(super) struct SceneFiles<'a> {
    pub(super) scene: &'a Path,
    pub(super) truth: Option<&'a Path>,
    /// Nodata value where the scene file names none.
    pub(super) nodata: Option<f64>,
}

/// Rows read at a time: one row of blocks in most files, and little memory even for a full Sentinel-2 scene.
const STRIP_ROWS: usize = 256;

/// Reads, checks and writes one scene.
pub(super) fn ingest_scene(
    name: &str,
    bands: &[String],
    preparation: &Preparation,
    codes: &[u8],
    files: &SceneFiles<'_>,
    out_dir: &Path,
    task: &TaskContext<'_>,
) -> Result<(), StageError> {
    let reader = Reader::open(files.scene).map_err(|e| StageError::failed(e.to_string()))?;
    let info = reader.info().clone();
    check_bands(&info, bands)?;
    let plan = preparation.plan(bands).map_err(|missing| StageError::failed(missing.to_string()))?;
    let mut labels = match files.truth {
        Some(truth) => read_truth(truth, &info, codes)?,
        None => vec![NO_LABEL; info.width * info.height],
    };
    std::fs::create_dir_all(out_dir).map_err(|e| at(out_dir, &e))?;
    let tile = out_dir.join(TILE_FILE);
    let nodata = info.nodata.or(files.nodata);
    let mut dtype = match preparation.indices.is_empty() && preparation.scale == 1.0 {
        true => TileType::first_guess(info.sample_type),
        false => TileType::F32,
    };
    let Written { moments, valid } = loop {
        match write_tile(&reader, &tile, &plan, dtype, nodata, &mut labels, task)? {
            Some(written) => break written,
            None => dtype = dtype.wider(),
        }
    };
    let valid_pixels = valid.iter().map(|&v| u64::from(v)).sum();
    if valid_pixels == 0 {
        return Err(StageError::with_help(
            format!("{}: no pixel of scene {name} has data in every band", info.path.display()),
            "look at its nodata value with `s2pipe info`, and take the scene out if it is truly empty",
        ));
    }
    let file_bands = bands;
    let bands = preparation.bands(file_bands);
    warn_of_offset(&info, preparation, &plan, file_bands, &moments, task);
    let card = SceneCard {
        format: SCENE_CARD_VERSION.into(),
        name: name.to_owned(),
        width: info.width,
        height: info.height,
        bands: bands.clone(),
        dtype: dtype.word().into(),
        georeference: info.georef.clone(),
        nodata,
        valid_pixels,
        statistics: bands.iter().zip(&moments).map(|(b, m)| BandStatistics::new(b, m)).collect(),
        has_truth: files.truth.is_some(),
        class_counts: if files.truth.is_some() { count(&labels) } else { BTreeMap::new() },
        preparation: preparation.clone(),
    };
    write_document(&out_dir.join(CARD_FILE), &card)
}

fn at(path: &Path, error: &io::Error) -> StageError {
    StageError::failed(format!("{}: {error}", path.display()))
}

fn check_bands(info: &RasterInfo, bands: &[String]) -> Result<(), StageError> {
    if info.bands == bands.len() {
        return Ok(());
    }
    Err(StageError::with_help(
        format!(
            "{}: has {} band{}, the pipeline names {} ({})",
            info.path.display(),
            info.bands,
            if info.bands == 1 { "" } else { "s" },
            bands.len(),
            bands.join(", ")
        ),
        "make `bands:` of the ingest stage name every band of the scene files, in their order",
    ))
}

/// Says so where a scene looks as if its radiometric offset had been applied before.
fn warn_of_offset(
    info: &RasterInfo,
    preparation: &Preparation,
    plan: &Plan,
    bands: &[String],
    moments: &[Moments],
    task: &TaskContext<'_>,
) {
    let least = |band: usize| moments[band].min() / preparation.scale - preparation.offset;
    let Some(band) = (0..bands.len()).find(|&band| plan.seems_applied(band, least(band))) else { return };
    let text = format!(
        "{}: band {} begins at {}: has the offset of {} been applied already? If so, leave `offset` out",
        info.path.display(),
        bands[band],
        least(band),
        preparation.offset
    );
    tracing::warn!("{text}");
    task.progress.progress(Progress::Message(text));
}

/// What to do when truth and scene do not lie on the same grid.
const WARP: &str = "check that the right two files are paired; if they are, warp the truth onto the scene's grid with \
                    nearest neighbour, never like a picture: gdalwarp -r near";

/// Reads the truth raster and checks that it lies on the scene's grid and holds only known codes.
fn read_truth(path: &Path, scene: &RasterInfo, codes: &[u8]) -> Result<Vec<u8>, StageError> {
    let truth = read_labels(path).map_err(|e| StageError::failed(e.to_string()))?;
    let (name, scene_name) = (format!("truth {}", path.display()), format!("its scene {}", scene.path.display()));
    let (size, scene_size) = ((truth.width, truth.height), (scene.width, scene.height));
    if size != scene_size {
        return Err(StageError::with_help(
            GridMismatch::Size { left: size, right: scene_size }.between(&name, &scene_name),
            WARP,
        ));
    }
    if let Err(mismatch) = truth.georef.same_grid(&scene.georef) {
        return Err(StageError::with_help(mismatch.between(&name, &scene_name), WARP));
    }
    // The reader has turned the raster's own nodata value into "no label".
    let labels = truth.codes;
    let unknown: Vec<(u8, u64)> =
        count(&labels).into_iter().filter(|(code, _)| *code != NO_LABEL && !codes.contains(code)).collect();
    if unknown.is_empty() {
        return Ok(labels);
    }
    let list: Vec<String> = unknown.iter().map(|(code, n)| format!("{code} ({n} px)")).collect();
    let known: Vec<String> = codes.iter().map(u8::to_string).collect();
    Err(StageError::with_help(
        format!("{}: holds label codes that `classes` does not name: {}", path.display(), list.join(", ")),
        format!(
            "known codes are {}; add the missing ones to `classes:`, or recode the raster (0 means no label)",
            known.join(", ")
        ),
    ))
}

fn count(labels: &[u8]) -> BTreeMap<u8, u64> {
    let mut counts = [0u64; 256];
    labels.iter().for_each(|&l| counts[l as usize] += 1);
    (0..=255u8).map(|c| (c, counts[c as usize])).filter(|(_, n)| *n > 0).collect()
}

/// What writing the strips found out.
struct Written {
    /// Per band, over valid pixels.
    moments: Vec<Moments>,
    /// 1 where every band has data, else 0.
    valid: Vec<u8>,
}

/// Writes all strips; `None` when a value does not fit `dtype`. Pixels without data lose their label.
fn write_tile(
    reader: &Reader,
    path: &Path,
    plan: &Plan,
    dtype: TileType,
    nodata: Option<f64>,
    labels: &mut [u8],
    task: &TaskContext<'_>,
) -> Result<Option<Written>, StageError> {
    let info = reader.info().clone();
    let (width, height, bands) = (info.width, info.height, plan.bands());
    let mut out = TileWriter::create(path, height, width, bands, dtype).map_err(|e| at(path, &e))?;
    let mut moments = vec![Moments::default(); bands];
    let mut valid = vec![0u8; width * height];
    for row in (0..height).step_by(STRIP_ROWS) {
        if task.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        let rows = STRIP_ROWS.min(height - row);
        let samples = reader.read_rows(row, rows).map_err(|e| StageError::failed(e.to_string()))?;
        let pixels = row * width..(row + rows) * width;
        let Some(bytes) = encode_strip(&samples, plan, dtype, nodata, &mut valid[pixels.clone()], &mut moments) else {
            return Ok(None);
        };
        out.write_bands(&bytes).map_err(|e| at(path, &e))?;
        for (label, ok) in labels[pixels.clone()].iter_mut().zip(&valid[pixels]) {
            if *ok == 0 {
                *label = NO_LABEL;
            }
        }
        task.progress.progress(Progress::Step {
            unit: "rows",
            done: (row + rows) as u64,
            total: height as u64,
            note: String::new(),
        });
    }
    out.finish(labels, &valid).map_err(|e| at(path, &e))?;
    Ok(Some(Written { moments, valid }))
}

/// Interleaves one strip (band, row, column -> row, column, band); marks valid pixels and adds them to the moments.
/// Where a pixel is not finite, 0 is stored: the mask, not the value, says that there is nothing. `None` when a value
/// does not fit `dtype`.
fn encode_strip(
    samples: &Samples,
    plan: &Plan,
    dtype: TileType,
    nodata: Option<f64>,
    valid: &mut [u8],
    moments: &mut [Moments],
) -> Option<Vec<u8>> {
    macro_rules! typed {
        ($($variant:ident),*) => {
            match samples {
                $(Samples::$variant(values) => encode_values(values, plan, dtype, nodata, valid, moments)),*
            }
        };
    }
    typed!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64)
}

fn encode_values<T: Sample>(
    values: &[T],
    plan: &Plan,
    dtype: TileType,
    nodata: Option<f64>,
    valid: &mut [u8],
    moments: &mut [Moments],
) -> Option<Vec<u8>> {
    let (pixels, bands) = (valid.len(), plan.bands());
    let file_bands = values.len() / pixels.max(1);
    let mut bytes = Vec::with_capacity(pixels * bands * dtype.bytes());
    let mut strip = vec![Moments::default(); bands];
    let mut pixel = vec![0.0; bands];
    for (p, ok) in valid.iter_mut().enumerate() {
        let mut good = true;
        for (b, value) in pixel[..file_bands].iter_mut().enumerate() {
            *value = values[b * pixels + p].to_f64();
            good &= value.is_finite() && nodata != Some(*value);
        }
        *ok = u8::from(good);
        // Whether there is data is said of the file's values, before anything is made of them.
        plan.apply(&mut pixel);
        for (&value, moments) in pixel.iter().zip(&mut strip) {
            if good {
                moments.push(value);
            }
            if !dtype.push(if value.is_finite() { value } else { 0.0 }, &mut bytes) {
                return None;
            }
        }
    }
    moments.iter_mut().zip(&strip).for_each(|(all, strip)| all.merge(strip));
    Some(bytes)
}
