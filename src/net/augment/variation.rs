//! All that is drawn for one sample.

use super::config::AugmentConfig;
use super::radiometry::{Dropped, Jitter, Noise};
use super::symmetry::Symmetry;
use super::zoom::Zoom;
use crate::net::rng::Rng;

/// How one sample is varied.
pub(crate) struct Variation {
    zoom: Option<Zoom>,
    pub(crate) symmetry: Symmetry,
    /// One pair a band.
    pub(crate) jitter: Option<Jitter>,
    /// One pair for all bands.
    jitter_scene: Option<Jitter>,
    noise: Option<Noise>,
    dropped: Option<Dropped>,
}

/// Side and bands of a patch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PatchShape {
    pub(crate) size: usize,
    pub(crate) bands: usize,
}

impl Variation {
    /// Draws it from the sample's own generator. Symmetry and jitter are drawn from that in this order; all that came later
    /// has generators of its own forked from it, so that switching one on changes nothing that another draws.
    pub(crate) fn draw(config: &AugmentConfig, shape: PatchShape, sample: &Rng) -> Self {
        let mut rng = sample.clone();
        let symmetry = if config.flips { Symmetry::draw(&mut rng) } else { Symmetry::IDENTITY };
        Self {
            zoom: Zoom::draw(config.scale, shape.size, &mut sample.fork("scale")),
            symmetry,
            jitter: Jitter::draw(config.jitter, shape.bands, &mut rng),
            jitter_scene: Jitter::draw(config.jitter_scene, 1, &mut sample.fork("jitter_scene")),
            noise: Noise::new(config.noise, sample.fork("noise")),
            dropped: Dropped::draw(config.drop_bands, shape.bands, &mut sample.fork("drop_bands")),
        }
    }

    /// Changes a patch (bands `[size, size, bands]`, labels `[size, size]`) in place: first where its pixels are, then what
    /// they hold, and bands that are left out last, so that they are 0.
    pub(crate) fn apply(self, bands: &mut [f32], labels: &mut [u8], shape: PatchShape) {
        let PatchShape { size, bands: channels } = shape;
        if let Some(zoom) = self.zoom {
            let (from, from_labels) = (bands.to_vec(), labels.to_vec());
            zoom.bands(&from, bands, size, channels);
            zoom.labels(&from_labels, labels, size);
        }
        if self.symmetry != Symmetry::IDENTITY {
            let (from, from_labels) = (bands.to_vec(), labels.to_vec());
            self.symmetry.copy(&from, bands, size, channels);
            self.symmetry.copy(&from_labels, labels, size, 1);
        }
        for jitter in [self.jitter, self.jitter_scene].into_iter().flatten() {
            jitter.apply(bands);
        }
        if let Some(noise) = self.noise {
            noise.apply(bands);
        }
        if let Some(dropped) = self.dropped {
            dropped.apply(bands);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: PatchShape = PatchShape { size: 4, bands: 2 };

    fn plain() -> AugmentConfig {
        AugmentConfig { jitter: 0.2, ..AugmentConfig::default() }
    }

    /// One of each that is off by default.
    fn others() -> [AugmentConfig; 4] {
        let plain = plain();
        [
            AugmentConfig { scale: [0.5, 2.0], ..plain },
            AugmentConfig { jitter_scene: 0.2, ..plain },
            AugmentConfig { noise: 0.2, ..plain },
            AugmentConfig { drop_bands: 0.5, ..plain },
        ]
    }

    /// Bands of a patch, varied by the draws for one place.
    fn varied(config: &AugmentConfig, place: usize) -> (Vec<f32>, Vec<u8>) {
        let sample = Rng::new(3).fork(&place.to_string());
        let mut labels: Vec<u8> = (0..16).collect();
        let mut bands: Vec<f32> = labels.iter().flat_map(|l| [f32::from(*l) + 1.0, 20.0 - f32::from(*l)]).collect();
        Variation::draw(config, SHAPE, &sample).apply(&mut bands, &mut labels, SHAPE);
        (bands, labels)
    }

    /// What was drawn before there was anything else: one generator, symmetry and then jitter.
    #[test]
    fn flips_and_jitter_are_drawn_as_ever() {
        for place in 0..50 {
            let mut rng = Rng::new(3).fork(&place.to_string());
            let symmetry = Symmetry::draw(&mut rng);
            let jitter = Jitter::draw(0.2, 2, &mut rng);
            for config in others().iter().chain([&plain()]) {
                let drawn = Variation::draw(config, SHAPE, &Rng::new(3).fork(&place.to_string()));
                assert_eq!((drawn.symmetry, &drawn.jitter), (symmetry, &jitter), "{config:?}");
            }
        }
    }

    #[test]
    fn each_changes_something_by_itself_and_nothing_that_another_draws() {
        let all = AugmentConfig { jitter_scene: 0.2, scale: [0.5, 2.0], noise: 0.2, drop_bands: 0.5, ..plain() };
        for config in others() {
            assert!((0..20).any(|place| varied(&config, place) != varied(&plain(), place)), "{config:?}");
        }
        for place in 0..20 {
            let sample = Rng::new(3).fork(&place.to_string());
            let drawn = Variation::draw(&all, SHAPE, &sample);
            let [zoom, scene, _, dropped] = others().map(|config| Variation::draw(&config, SHAPE, &sample));
            assert_eq!(drawn.zoom, zoom.zoom);
            assert_eq!(drawn.jitter_scene, scene.jitter_scene);
            assert_eq!(drawn.dropped, dropped.dropped);
            assert_eq!(varied(&all, place), varied(&all, place));
        }
    }

    #[test]
    fn bands_that_are_left_out_are_0_whatever_else_is_done() {
        let config = AugmentConfig { jitter_scene: 0.2, noise: 0.2, drop_bands: 0.5, ..plain() };
        let mut dropped = 0;
        for place in 0..100 {
            let (bands, _) = varied(&config, place);
            let zeros = (0..2).filter(|band| bands.iter().skip(*band).step_by(2).all(|value| *value == 0.0)).count();
            assert_eq!(bands.iter().filter(|value| **value == 0.0).count(), 16 * zeros);
            dropped += zeros;
        }
        // Each of two bands with probability 1/2 - 1/8.
        assert!((50..100).contains(&dropped), "{dropped}");
    }
}
