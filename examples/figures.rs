//! Draws every figure from made-up data, to look at them: `cargo run --example figures [FOLDER]` (default: `figures/` in
//! the system's temporary folder).

use std::path::PathBuf;
use std::time::Instant;

use s2pipe::figure::{
    ConfusionFigure, CurvesFigure, Epoch, ErrorPanel, ErrorsFigure, JaccardFigure, NODATA_GREY, Panel, Picture,
    SegmentationFigure, confusion, curves, errors, jaccard_bars, segmentation,
};
use s2pipe::metrics::{ConfusionMatrix, Intervals, Score};
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
    let few = classes(&[("open land", "#e69f00"), ("forest", "#009e73")]);
    for (name, classes) in [("exercise", exercise()), ("many", many()), ("two", few)] {
        let score = made_up_score(&classes);
        draw(&format!("jaccard_{name}"), &|| bars(&score, &classes))?;
        draw(&format!("confusion_{name}"), &|| heat_map(&score, &classes))?;
    }
    for (name, epochs, best) in [("40", 40, Some(33)), ("3", 3, Some(3)), ("1", 1, Some(1)), ("300", 300, Some(12))] {
        draw(&format!("curves_{name}"), &|| training(epochs, best))?;
    }
    let small = World { classes: many(), ..World::new(256, 256, exercise()) };
    draw("segmentation_many", &|| {
        small.segmentation("a scene with a very long name that goes on and on ".repeat(4).trim())
    })?;
    for (width, height) in [(300, 280), (848, 851), (2400, 700), (500, 900), (10_980, 10_980)] {
        let world = World::new(width, height, exercise());
        draw(&format!("segmentation_{width}"), &|| world.segmentation("val_scene_0"))?;
        draw(&format!("errors_{width}"), &|| world.errors("val_scene_0"))?;
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

/// Twenty classes, some with long names, several of like colours.
fn many() -> ClassTable {
    classes(&[
        ("continuous urban fabric", "#e6004d"),
        ("discontinuous urban fabric", "#ff0000"),
        ("industry and commerce", "#cc4df2"),
        ("roads, railways and their land", "#cc0000"),
        ("ports", "#e6cccc"),
        ("airports", "#e6cce6"),
        ("mineral extraction", "#a600cc"),
        ("green urban areas", "#ffa6ff"),
        ("non-irrigated arable land", "#ffffa8"),
        ("fruit trees, berry plantations", "#f2a64d"),
        ("pastures (beitemark på øyer)", "#e6e64d"),
        ("broad-leaved forest", "#80ff00"),
        ("coniferous forest", "#00a600"),
        ("mixed forest", "#4dff00"),
        ("natural grassland", "#ccf24d"),
        ("moors and heathland", "#a6ff80"),
        ("bare rock", "#cccccc"),
        ("glaciers (isbræer)", "#a6e6cc"),
        ("peat bogs (myr)", "#4d4dff"),
        ("sea", "#e6f2ff"),
    ])
}

/// A score that gets worse from class to class; the fifth class, if any, is absent.
fn made_up_score(classes: &ClassTable) -> Score {
    let mut matrix = ConfusionMatrix::new();
    let codes: Vec<i64> = classes.codes().into_iter().map(i64::from).filter(|code| *code != 5).collect();
    for (i, &truth) in codes.iter().enumerate() {
        let size = 40_000.0 * (1.0 + 6.0 * noise(i as i64, 3).abs());
        let right = 0.97 - 0.6 * i as f64 / codes.len() as f64;
        for (j, &guess) in codes.iter().enumerate() {
            let share = if i == j { right } else { (1.0 - right) * noise(i as i64, j as i64).powi(4) / 2.0 };
            matrix.count(truth, guess, (share * size) as u64);
        }
    }
    Score::of_classes(&matrix, classes)
}

/// Wider for lower scores.
fn made_up_intervals(score: &Score) -> Intervals {
    let around = |value: f64| [value - 0.2 * (1.0 - value), (value + 0.15 * (1.0 - value)).min(1.0)];
    Intervals {
        samples: 1000,
        block: 64,
        blocks: 392,
        confidence: 0.95,
        mean: score.mean.map(around),
        jaccard: score.jaccard.iter().map(|(&label, &value)| (label, around(value))).collect(),
        notes: Vec::new(),
    }
}

fn bars(score: &Score, classes: &ClassTable) -> Result<Picture> {
    Ok(jaccard_bars(&JaccardFigure {
        title: "Land cover, validation scenes",
        subtitle: "2 scenes, 1.45 M labelled pixels",
        classes,
        per_class: &JaccardFigure::per_class_of(score, classes),
        mean: score.mean,
        intervals: Some(&made_up_intervals(score)),
    })?)
}

fn heat_map(score: &Score, classes: &ClassTable) -> Result<Picture> {
    Ok(confusion(&ConfusionFigure {
        title: "Confusion matrix",
        subtitle: "share of each true class, and pixels",
        classes,
        labels: &score.labels,
        counts: &score.confusion,
    })?)
}

fn training(epochs: usize, best_epoch: Option<usize>) -> Result<Picture> {
    let wobble = |i: usize, salt: i64| noise(i as i64, salt);
    let epoch = |i: usize| {
        let t = i as f64 / 8.0;
        Epoch {
            epoch: i,
            train_loss: 0.18 + 1.5 * (-t).exp() + 0.01 * wobble(i, 1),
            holdout_loss: (i != 7).then(|| 0.31 + 1.35 * (-t * 1.1).exp() + 0.004 * t + 0.03 * wobble(i, 2)),
            holdout_jaccard: Some(0.71 - 0.6 * (-t).exp() + 0.02 * wobble(i, 3)),
        }
    };
    let epochs: Vec<Epoch> = (1..=epochs).map(epoch).collect();
    let (title, subtitle) = ("Training", "U-Net, width 24, depth 4 · hold-out: 15 % of the training scenes");
    Ok(curves(&CurvesFigure { title, subtitle, epochs: &epochs, best_epoch })?)
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
    /// Pixels a side of the smallest thing: more for a scene of a whole tile, to be done in seconds.
    grain: usize,
    classes: ClassTable,
}

impl World {
    fn new(width: usize, height: usize, classes: ClassTable) -> Self {
        Self { width, height, grain: width.max(height).div_ceil(2400), classes }
    }

    fn score(&self) -> Result<Score> {
        let mut matrix = ConfusionMatrix::new();
        let (mut truths, mut guesses) = (vec![0; self.width], vec![0; self.width]);
        for y in 0..self.height {
            self.truth_row(y, &mut truths);
            self.prediction_row(y, &mut guesses);
            matrix.add(&truths, &guesses, Some(0))?;
        }
        Ok(Score::of_classes(&matrix, &self.classes))
    }

    fn errors(&self, name: &str) -> Result<Picture> {
        let mut valid = vec![true; self.width];
        let panel = ErrorPanel::new(self.width, self.height, |y, row| -> Result<()> {
            self.scene_row(y, &mut row.rgb, &mut valid);
            self.truth_row(y, &mut row.truth);
            self.prediction_row(y, &mut row.map);
            Ok(())
        })?;
        let (classes, score) = (&self.classes, &self.score()?);
        Ok(errors(&ErrorsFigure { title: name, panel: &panel, classes, score, pixel_size_m: Some(10.0) })?)
    }

    fn segmentation(&self, name: &str) -> Result<Picture> {
        let (width, height) = (self.width, self.height);
        let score = self.score()?;
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

    /// A place in the landscape.
    fn place(&self, x: usize, y: usize) -> (f64, f64) {
        let unit = 70.0 * self.grain as f64;
        (x as f64 / unit, y as f64 / unit)
    }

    fn truth_row(&self, y: usize, row: &mut [u8]) {
        let corner = self.width / 12;
        self.fill_row(y, row, |x, u, v| if x + corner > self.width + y { 0 } else { self.code(u, v, 0.0) });
    }

    fn prediction_row(&self, y: usize, row: &mut [u8]) {
        self.fill_row(y, row, |_, u, v| self.code(u + 0.05 * (v * 9.0).sin(), v + 0.06 * (u * 7.0).cos(), 0.001));
    }

    fn fill_row(&self, y: usize, row: &mut [u8], code: impl Fn(usize, f64, f64) -> u8) {
        for (i, run) in row.chunks_mut(self.grain).enumerate() {
            let (u, v) = self.place(i * self.grain, y / self.grain * self.grain);
            run.fill(code(i * self.grain, u, v));
        }
    }

    fn scene_row(&self, y: usize, rgb: &mut [u8], valid: &mut [bool]) {
        let colours =
            [[0; 3], [148, 140, 134], [176, 158, 104], [110, 136, 72], [42, 62, 40], [80, 84, 58], [22, 38, 62]];
        let mut codes = vec![0; self.width];
        self.fill_row(y, &mut codes, |_, u, v| self.code(u, v, 0.0));
        for (x, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            valid[x] = x + self.height / 9 > y / 5;
            let grain = noise(x as i64, y as i64) * 18.0;
            for band in 0..3 {
                let value = (colours[usize::from(codes[x])][band] + grain as i32).clamp(0, 255) as u8;
                pixel[band] = if valid[x] { value } else { [NODATA_GREY.0, NODATA_GREY.1, NODATA_GREY.2][band] };
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
