//! Whole scenes, against a blend that holds everything at once.

use std::cell::{Cell, RefCell};

use candle_core::{Tensor, Var};

use super::*;
use crate::net::ops::Recorded;
use crate::net::rng::Rng;
use crate::net::{IGNORE, Mode, Model, ModelConfig, UNetConfig};

mod sides;

/// A scene of noise with a corner without data.
struct Noise {
    width: usize,
    height: usize,
    values: Vec<f32>,
    rows_read: RefCell<Vec<usize>>,
}

const BANDS: usize = 2;

impl Noise {
    fn new(width: usize, height: usize) -> Self {
        let mut rng = Rng::new(3);
        let values = (0..width * height * BANDS).map(|_| rng.normal() as f32).collect();
        Self { width, height, values, rows_read: RefCell::default() }
    }

    fn has_data(&self, row: usize, column: usize) -> bool {
        row + column >= self.width.min(self.height) / 2
    }
}

impl SceneSource for Noise {
    fn width(&self) -> usize {
        self.width
    }
    fn height(&self) -> usize {
        self.height
    }
    fn bands(&self) -> usize {
        BANDS
    }
    fn read(&self, row: usize, col: usize, h: usize, w: usize, out: &mut [f32], valid: &mut [bool]) -> Result<()> {
        assert!(row + h <= self.height && col + w <= self.width, "reads lie within the scene");
        assert_eq!((out.len(), valid.len()), (h * w * BANDS, h * w));
        self.rows_read.borrow_mut().extend(row..row + h);
        for r in 0..h {
            for c in 0..w {
                let from = ((row + r) * self.width + col + c) * BANDS;
                out[(r * w + c) * BANDS..][..BANDS].copy_from_slice(&self.values[from..from + BANDS]);
                valid[r * w + c] = self.has_data(row + r, col + c);
                if !valid[r * w + c] {
                    out[(r * w + c) * BANDS] = f32::NAN;
                }
            }
        }
        Ok(())
    }
}

/// Logits that depend on the pixel, its neighbours and, unless `even`, on the place within the window: the worst a blend
/// can meet.
struct Toy {
    even: bool,
}

const CLASSES: usize = 3;

impl Segmenter for Toy {
    fn parameters(&self) -> &[(String, Var)] {
        &[]
    }
    fn buffers(&self) -> &[(String, Var)] {
        &[]
    }
    fn bands(&self) -> usize {
        BANDS
    }
    fn classes(&self) -> usize {
        CLASSES
    }
    fn multiple(&self) -> usize {
        8
    }
    fn record(&self, _: &Tensor) -> Result<Recorded> {
        unreachable!("nothing here trains")
    }
    fn forward(&self, bands: &Tensor, _: Mode) -> Result<Tensor> {
        let (n, h, w, _) = bands.dims4()?;
        assert!(h % 8 == 0 && w % 8 == 0);
        let values = bands.flatten_all()?.to_vec1::<f32>()?;
        let mut logits = Vec::new();
        for i in 0..n * h * w {
            let (row, column) = (i / w % h, i % w);
            let right = if column + 1 < w { i + 1 } else { i };
            let place = if self.even { 0.0 } else { 0.05 * row as f32 - 0.03 * column as f32 };
            let local = if self.even { 0.0 } else { values[i * BANDS] + 0.5 * values[right * BANDS + 1] };
            logits.extend([local, place, 0.5]);
        }
        Ok(Tensor::from_vec(logits, (n, h, w, CLASSES), bands.device())?)
    }
}

/// Predicts and puts the rows together, checking that they come in order and once.
fn predict(model: &dyn Segmenter, scene: &dyn SceneSource, options: PredictOptions) -> (Vec<u8>, Vec<f32>) {
    let (mut labels, mut probabilities, mut next) = (Vec::new(), Vec::new(), 0);
    let mut sink = |row: usize, rows: usize, l: &[u8], p: &[f32]| {
        assert_eq!((row, l.len()), (next, rows * scene.width()));
        assert!(rows > 0 && p.len() == l.len() * model.classes());
        next += rows;
        labels.extend_from_slice(l);
        probabilities.extend_from_slice(p);
        Ok(())
    };
    predict_scene(model, scene, &options, &mut sink, &PredictHooks::quiet()).unwrap();
    assert_eq!(next, scene.height());
    (labels, probabilities)
}

/// The same by the definition, the whole scene at once, in f64: pad by mirroring, run every window alone, add up weight
/// and weight times probability, divide.
fn naive(model: &dyn Segmenter, scene: &Noise, options: PredictOptions) -> Vec<f64> {
    let side = |len: usize| {
        let window = options.window.min(len.div_ceil(8) * 8);
        let mut starts = vec![0];
        while starts[starts.len() - 1] + window < len {
            starts.push((starts[starts.len() - 1] + window - options.overlap).min(len - window));
        }
        (window, starts)
    };
    let reflect = |index: usize, len: usize| {
        let (mut at, mut step) = (0_isize, 1);
        for _ in 0..index {
            if len > 1 {
                if at + step < 0 || at + step >= len as isize {
                    step = -step;
                }
                at += step;
            }
        }
        at as usize
    };
    let bell = |i: usize, window: usize| {
        let x = (i as f64 - (window as f64 - 1.0) / 2.0) / (window as f64 / 8.0);
        (-0.5 * x * x).exp()
    };
    let ((wh, tops), (ww, lefts)) = (side(scene.height), side(scene.width));
    let mut sums = vec![0.0; scene.width * scene.height * CLASSES];
    let mut weights = vec![0.0; scene.width * scene.height];
    for &top in &tops {
        for &left in &lefts {
            let mut window = Vec::new();
            for (r, c) in (0..wh).flat_map(|r| (0..ww).map(move |c| (r, c))) {
                let (row, column) = (reflect(top + r, scene.height), reflect(left + c, scene.width));
                let known = scene.has_data(row, column);
                for band in 0..BANDS {
                    let value = scene.values[(row * scene.width + column) * BANDS + band];
                    window.push(if known { value } else { 0.0 });
                }
            }
            let window = Tensor::from_vec(window, (1, wh, ww, BANDS), &model.device()).unwrap();
            let logits = model.forward(&window, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (r, c) in (0..wh).flat_map(|r| (0..ww).map(move |c| (r, c))) {
                if top + r >= scene.height || left + c >= scene.width {
                    continue;
                }
                let exps: Vec<f64> =
                    (0..CLASSES).map(|k| f64::from(logits[(r * ww + c) * CLASSES + k]).exp()).collect();
                let (weight, pixel) = (bell(r, wh) * bell(c, ww), (top + r) * scene.width + left + c);
                weights[pixel] += weight;
                for k in 0..CLASSES {
                    sums[pixel * CLASSES + k] += weight * exps[k] / exps.iter().sum::<f64>();
                }
            }
        }
    }
    sums.iter().enumerate().map(|(i, sum)| sum / weights[i / CLASSES]).collect()
}

const OPTIONS: PredictOptions =
    PredictOptions { window: 32, overlap: 12, batch: 3, probabilities: true, augment: Augment::None };

#[test]
fn equals_the_naive_blend_of_the_whole_scene() {
    for (width, height) in [(300, 211), (211, 300), (40, 17), (17, 40), (5, 3), (1, 1), (32, 32), (33, 90)] {
        let (scene, model) = (Noise::new(width, height), Toy { even: false });
        let (labels, probabilities) = predict(&model, &scene, OPTIONS);
        let expected = naive(&model, &scene, OPTIONS);
        for pixel in 0..width * height {
            let ours = &probabilities[pixel * CLASSES..][..CLASSES];
            if !scene.has_data(pixel / width, pixel % width) {
                assert_eq!((labels[pixel], ours), (IGNORE, &[0.0; CLASSES][..]));
                continue;
            }
            let theirs = &expected[pixel * CLASSES..][..CLASSES];
            for (a, b) in ours.iter().zip(theirs) {
                assert!((f64::from(*a) - b).abs() < 2e-6, "{width} x {height}, pixel {pixel}: {ours:?} {theirs:?}");
            }
            let chosen = f64::from(ours[usize::from(labels[pixel])]);
            assert!(theirs.iter().all(|p| *p <= chosen + 2e-6));
        }
    }
}

#[test]
fn constant_logits_leave_no_seam() {
    let scene = Noise::new(150, 97);
    let (labels, probabilities) = predict(&Toy { even: true }, &scene, OPTIONS);
    let total = 2.0 + 0.5_f32.exp();
    for (pixel, p) in probabilities.chunks(CLASSES).enumerate() {
        if scene.has_data(pixel / 150, pixel % 150) {
            assert_eq!(labels[pixel], 2);
            for (p, logit) in p.iter().zip([0.0_f32, 0.0, 0.5]) {
                assert!((p - logit.exp() / total).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn does_not_depend_on_batch_nor_threads() {
    let config = ModelConfig::UNet(UNetConfig::new(4, 3));
    let model = Model::new(&config, BANDS, CLASSES, 1).unwrap();
    let run = |batch, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let scene = Noise::new(110, 75);
            predict(&model, &scene, PredictOptions { batch, ..OPTIONS })
        })
    };
    let (labels, probabilities) = run(1, 1);
    assert!(labels.iter().any(|l| *l != labels[0]));
    assert_eq!(run(1, 2), (labels.clone(), probabilities.clone()));
    for batch in [2, 4, 100] {
        assert_eq!(run(batch, 2), (labels.clone(), probabilities.clone()), "batch {batch}");
    }
}

#[test]
fn reads_every_row_once_and_counts_its_windows() {
    let scene = Noise::new(100, 211);
    let (calls, last) = (Cell::new(0), Cell::new((0, 0)));
    let progress = |done, total| {
        assert!(done >= last.get().0 && done <= total);
        calls.set(calls.get() + 1);
        last.set((done, total));
    };
    let hooks = PredictHooks { progress: &progress, ..PredictHooks::quiet() };
    predict_scene(&Toy { even: true }, &scene, &OPTIONS, &mut |_, _, _, _| Ok(()), &hooks).unwrap();
    assert_eq!(*scene.rows_read.borrow(), (0..211).collect::<Vec<_>>());
    let (done, total) = last.get();
    assert_eq!((done, total), (5 * 10, 50));
    assert!(calls.get() >= 20);
}

#[test]
fn stops_on_request_and_passes_the_sinks_error_on() {
    let (scene, model) = (Noise::new(100, 100), Toy { even: true });
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let hooks = PredictHooks { cancelled: &cancelled, ..PredictHooks::quiet() };
    let stopped = predict_scene(&model, &scene, &OPTIONS, &mut |_, _, _, _| Ok(()), &hooks);
    assert!(matches!(stopped, Err(NetError::Cancelled)));
    let full = || NetError::Io { path: "map.tif".into(), source: std::io::ErrorKind::StorageFull.into() };
    let failed = predict_scene(&model, &scene, &OPTIONS, &mut |_, _, _, _| Err(full()), &PredictHooks::quiet());
    assert!(matches!(failed, Err(NetError::Io { .. })));
}

#[test]
fn refuses_options_that_do_not_fit() {
    let refused = |options: PredictOptions, scene: &Noise| {
        let model = Toy { even: true };
        match predict_scene(&model, scene, &options, &mut |_, _, _, _| Ok(()), &PredictHooks::quiet()) {
            Err(NetError::Config(problem)) => problem,
            other => panic!("{other:?}"),
        }
    };
    let scene = Noise::new(20, 20);
    assert!(refused(PredictOptions { window: 30, ..OPTIONS }, &scene).contains("such as 32"));
    assert!(refused(PredictOptions { window: 0, ..OPTIONS }, &scene).contains("such as 8"));
    assert!(refused(PredictOptions { overlap: 32, ..OPTIONS }, &scene).contains("overlap"));
    assert!(refused(PredictOptions { batch: 0, ..OPTIONS }, &scene).contains("batch"));
    assert!(refused(OPTIONS, &Noise::new(0, 5)).contains("empty"));
}
