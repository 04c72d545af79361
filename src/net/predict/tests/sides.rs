//! Windows looked at from several sides, against turning by formula and averaging in f64.

use super::*;

/// A scene with data everywhere.
struct Whole {
    size: [usize; 2],
    values: Vec<f32>,
}

impl Whole {
    fn new([height, width]: [usize; 2]) -> Self {
        let mut rng = Rng::new(8);
        Self { size: [height, width], values: (0..height * width * BANDS).map(|_| rng.normal() as f32).collect() }
    }

    fn seen_from(&self, side: u8) -> Self {
        let (values, size) = turned(&self.values, self.size, side);
        Self { size, values }
    }
}

impl SceneSource for Whole {
    fn width(&self) -> usize {
        self.size[1]
    }
    fn height(&self) -> usize {
        self.size[0]
    }
    fn bands(&self) -> usize {
        BANDS
    }
    fn read(&self, row: usize, _: usize, h: usize, w: usize, out: &mut [f32], valid: &mut [bool]) -> Result<()> {
        out.copy_from_slice(&self.values[row * w * BANDS..][..h * w * BANDS]);
        valid.fill(true);
        Ok(())
    }
}

/// An image mirrored left-right (bit 0), then top-bottom (bit 1), then transposed (bit 2), one after another.
fn turned<T: Copy>(image: &[T], [height, width]: [usize; 2], side: u8) -> (Vec<T>, [usize; 2]) {
    let depth = image.len() / (height * width);
    let mut rows: Vec<Vec<&[T]>> =
        image.chunks(width * depth).map(|row| row.chunks(depth).collect::<Vec<_>>()).collect();
    if side & 1 != 0 {
        rows.iter_mut().for_each(|row| row.reverse());
    }
    if side & 2 != 0 {
        rows.reverse();
    }
    if side & 4 != 0 {
        rows = (0..width).map(|column| rows.iter().map(|row| row[column]).collect()).collect();
    }
    let size = [rows.len(), rows[0].len()];
    (rows.concat().concat(), size)
}

/// The same the other way round: transposed first.
fn turned_back<T: Copy>(image: &[T], size: [usize; 2], side: u8) -> Vec<T> {
    let (image, size) = turned(image, size, side & 4);
    turned(&image, size, side & 3).0
}

fn sides(augment: Augment) -> &'static [u8] {
    match augment {
        Augment::None => &[0],
        Augment::Flips => &[0, 1, 2, 3],
        Augment::Eight => &[0, 1, 2, 3, 4, 5, 6, 7],
    }
}

/// A model whose logits are those that give the average of `Toy`'s probabilities over all sides.
struct FromAllSides(Augment);

impl Segmenter for FromAllSides {
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
    fn forward(&self, bands: &Tensor, mode: Mode) -> Result<Tensor> {
        let (n, h, w, _) = bands.dims4()?;
        assert_eq!(n, 1, "windows one at a time");
        let values = bands.flatten_all()?.to_vec1::<f32>()?;
        let mut average = vec![0.0_f64; h * w * CLASSES];
        for &side in sides(self.0) {
            let (values, [h, w]) = turned(&values, [h, w], side);
            let window = Tensor::from_vec(values, (1, h, w, BANDS), bands.device())?;
            let logits = Toy { even: false }.forward(&window, mode)?.flatten_all()?.to_vec1::<f32>()?;
            let exps: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp()).collect();
            let p: Vec<f64> = exps.chunks(CLASSES).flat_map(|p| p.iter().map(|e| e / p.iter().sum::<f64>())).collect();
            let back = turned_back(&p, [h, w], side);
            average.iter_mut().zip(back).for_each(|(sum, p)| *sum += p / sides(self.0).len() as f64);
        }
        let logits: Vec<f32> = average.iter().map(|p| p.ln() as f32).collect();
        Ok(Tensor::from_vec(logits, (1, h, w, CLASSES), bands.device())?)
    }
}

#[test]
fn is_the_plain_average_over_all_sides_of_every_window() {
    for augment in [Augment::Flips, Augment::Eight] {
        for (width, height) in [(70, 51), (40, 17), (17, 40), (5, 3), (32, 32)] {
            let scene = Noise::new(width, height);
            let (_, probabilities) = predict(&Toy { even: false }, &scene, PredictOptions { augment, ..OPTIONS });
            let expected = naive(&FromAllSides(augment), &scene, OPTIONS);
            for (pixel, p) in probabilities.chunks(CLASSES).enumerate() {
                let expected = &expected[pixel * CLASSES..][..CLASSES];
                let near = p.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 2e-6);
                let known = scene.has_data(pixel / width, pixel % width);
                assert!(near || !known, "{augment:?}, {width} x {height}, pixel {pixel}: {p:?} {expected:?}");
            }
        }
    }
}

fn unet() -> Model {
    Model::new(&ModelConfig::UNet(UNetConfig::new(4, 3)), BANDS, CLASSES, 1).unwrap()
}

/// Scenes of one window, which is mirrored nowhere.
#[test]
fn the_map_of_a_turned_scene_is_the_map_turned() {
    for size in [[32, 32], [24, 32], [16, 8]] {
        for augment in [Augment::Flips, Augment::Eight] {
            let options = PredictOptions { augment, ..OPTIONS };
            let scene = Whole::new(size);
            let (labels, probabilities) = predict(&unet(), &scene, options);
            assert!(probabilities.chunks(CLASSES).any(|p| p != &probabilities[..CLASSES]));
            for &side in sides(augment) {
                let found = predict(&unet(), &scene.seen_from(side), options);
                assert!(found == (turned(&labels, size, side).0, turned(&probabilities, size, side).0), "{side}");
            }
        }
    }
}

#[test]
fn sides_do_not_depend_on_batch_and_change_something() {
    let run = |augment, batch| predict(&unet(), &Noise::new(70, 50), PredictOptions { augment, batch, ..OPTIONS });
    let plain = run(Augment::None, 2);
    for augment in [Augment::Flips, Augment::Eight] {
        let found = run(augment, 1);
        assert!(found == run(augment, 5));
        assert!(found.1 != plain.1);
    }
}
