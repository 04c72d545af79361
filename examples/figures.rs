//! Draws every figure from made-up data, to look at them: `cargo run --example figures [FOLDER]` (default: `figures/` in
//! the system's temporary folder).

use std::path::PathBuf;
use std::time::Instant;

use s2pipe::figure::{NODATA_GREY, Panel, Picture, SegmentationFigure, segmentation};
use s2pipe::metrics::{ConfusionMatrix, Score};
use s2pipe::raster::{Class, ClassTable, Rgb};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("figures"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let draw = |name: &str, make: &dyn Fn() -> Result<Picture>| -> Result<()> {
        let start = Instant::now();
        let picture = make()?;
        let path = folder.join(format!("{name}.jpg"));
        picture.write_jpeg(&path)?;
        println!(
            "{:>6} ms  {:>5} x {:<5} {}",
            start.elapsed().as_millis(),
            picture.width(),
            picture.height(),
            path.display()
        );
        Ok(())
    };
    for (width, height) in [(300, 280), (848, 851), (10_980, 10_980), (2400, 700)] {
        let world = World::new(width, height, exercise());
        draw(&format!("segmentation_{width}"), &|| world.segmentation("val_scene_0"))?;
    }
    Ok(())
}

/// The classes of the exercise.
fn exercise() -> ClassTable {
    classes(&[
        ("urban", "red"),
        ("cropland", "yellow"),
        ("grass", "lime"),
        ("forest", "green"),
        ("wetland", "purple"),
        ("water", "blue"),
    ])
}

fn classes(names: &[(&str, &str)]) -> ClassTable {
    let class = |(i, (name, color)): (usize, &(&str, &str))| Class {
        code: i as u8 + 1,
        name: (*name).to_owned(),
        color: Rgb::parse(color).unwrap_or(Rgb(0, 0, 0)),
    };
    ClassTable::new(names.iter().enumerate().map(class).collect())
}

/// A made-up landscape with its truth and a prediction that is wrong along edges and in spots.
struct World {
    width: usize,
    height: usize,
    classes: ClassTable,
}

impl World {
    fn new(width: usize, height: usize, classes: ClassTable) -> Self {
        Self { width, height, classes }
    }

    fn segmentation(&self, name: &str) -> Result<Picture> {
        let (width, height) = (self.width, self.height);
        let mut matrix = ConfusionMatrix::new();
        let (mut truths, mut guesses) = (vec![0; width], vec![0; width]);
        for y in 0..height {
            self.truth_row(y, &mut truths);
            self.prediction_row(y, &mut guesses);
            matrix.add(&truths, &guesses, Some(0))?;
        }
        let score = Score::of_classes(&matrix, &self.classes);
        let scene = Panel::rgb(width, height, |y, rgb, valid| -> Result<()> {
            self.scene_row(y, rgb, valid);
            Ok(())
        })?;
        let truth = Panel::labels(width, height, |y, row| -> Result<()> {
            self.truth_row(y, row);
            Ok(())
        })?;
        let prediction = Panel::labels(width, height, |y, row| -> Result<()> {
            self.prediction_row(y, row);
            Ok(())
        })?;
        Ok(segmentation(&SegmentationFigure {
            title: name,
            subtitle: "U-Net, width 24 · Sørumsand, Østfold and Åmot",
            scene: &scene,
            truth: Some(&truth),
            prediction: &prediction,
            classes: &self.classes,
            scores: Some(&score),
            pixel_size_m: Some(10.0),
        })?)
    }

    /// Label code at a place, from two smooth heights; the upper right corner has no label.
    fn code(&self, x: f64, y: f64, shift: f64) -> u8 {
        let (height, wet) = (terrain(x, y, 1.0 + shift), terrain(x + 40.0, y - 17.0, 2.0 + shift));
        match (height, wet) {
            (h, _) if h < -0.42 => 6,
            (h, w) if h < -0.36 && w > 0.1 => 5,
            (h, w) if h > 0.32 && w < 0.1 => 1,
            (h, w) if h > -0.1 && w < -0.25 => 2,
            (h, w) if h > -0.1 && w < -0.12 => 3,
            _ => 4,
        }
    }

    /// The landscape repeats at one scale whatever the scene's size.
    fn place(&self, x: usize, y: usize) -> (f64, f64) {
        (x as f64 / 70.0, y as f64 / 70.0)
    }

    fn truth_row(&self, y: usize, row: &mut [u8]) {
        let corner = self.width / 12;
        for (x, code) in row.iter_mut().enumerate() {
            let (u, v) = self.place(x, y);
            *code = if x + corner > self.width + y { 0 } else { self.code(u, v, 0.0) };
        }
    }

    fn prediction_row(&self, y: usize, row: &mut [u8]) {
        for (x, code) in row.iter_mut().enumerate() {
            let (u, v) = self.place(x, y);
            *code = self.code(u + 0.05 * (v * 9.0).sin(), v + 0.06 * (u * 7.0).cos(), 0.08);
        }
    }

    fn scene_row(&self, y: usize, rgb: &mut [u8], valid: &mut [bool]) {
        let colours =
            [[0; 3], [148, 140, 134], [176, 158, 104], [110, 136, 72], [42, 62, 40], [80, 84, 58], [22, 38, 62]];
        for (x, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            valid[x] = x + self.height / 9 > y / 5 && (x + self.height < y + self.width * 2 || x < self.width);
            valid[x] &= !(y > self.height * 9 / 10 && x < self.width / 10);
            let (u, v) = self.place(x, y);
            let base = colours[usize::from(self.code(u, v, 0.0))];
            let grain = noise(x as i64, y as i64) * 18.0 + terrain(u * 5.0, v * 5.0, 7.0) * 22.0;
            let grey = [NODATA_GREY.0, NODATA_GREY.1, NODATA_GREY.2];
            for band in 0..3 {
                let value = (f64::from(base[band]) + grain).clamp(0.0, 255.0) as u8;
                pixel[band] = if valid[x] { value } else { grey[band] };
            }
        }
    }
}

/// Smooth height -1..=1: value noise of three octaves.
fn terrain(x: f64, y: f64, seed: f64) -> f64 {
    let octave = |scale: f64, weight: f64| weight * smooth(x * scale + seed * 31.7, y * scale - seed * 17.3);
    octave(0.6, 0.6) + octave(1.5, 0.27) + octave(4.0, 0.13)
}

fn smooth(x: f64, y: f64) -> f64 {
    let (left, top) = (x.floor(), y.floor());
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let (fx, fy) = (ease(x - left), ease(y - top));
    let at = |dx: i64, dy: i64| noise(left as i64 + dx, top as i64 + dy);
    let row = |dy: i64| at(0, dy) * (1.0 - fx) + at(1, dy) * fx;
    row(0) * (1.0 - fy) + row(1) * fy
}

/// A fixed pseudo-random value -1..=1 for each place.
fn noise(x: i64, y: i64) -> f64 {
    let mut h = (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    h = (h ^ (h >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((h >> 40) as f64 / (1_u64 << 23) as f64) - 1.0
}
