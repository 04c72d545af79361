//! Spectral indices: derived bands, from the bands of a pixel in reflectance (or in anything proportional to it).

/// A derived band.
pub(super) struct Formula {
    /// Its name, and the name of the band.
    pub(super) name: &'static str,
    /// Names of the bands that it reads.
    pub(super) bands: &'static [&'static str],
    /// Numerator and denominator from their values.
    pub(super) of: fn(&[f64]) -> [f64; 2],
    /// Whether a constant in it counts in reflectance, so that the result depends on the unit of the bands.
    pub(super) absolute: bool,
}

/// `(a - b) / (a + b)`.
const fn difference(name: &'static str, bands: &'static [&'static str; 2]) -> Formula {
    Formula { name, bands, of: |v| [v[0] - v[1], v[0] + v[1]], absolute: false }
}

/// All that there are. The language guide has the same table, with the sources.
pub(super) static FORMULAS: [Formula; COUNT] = [
    difference("ndvi", &["nir", "red"]),
    difference("ndwi", &["green", "nir"]),
    difference("mndwi", &["green", "swir1"]),
    difference("ndmi", &["nir", "swir1"]),
    difference("ndbi", &["swir1", "nir"]),
    difference("nbr", &["nir", "swir2"]),
    difference("ndre", &["nir", "red_edge1"]),
    Formula {
        name: "bsi",
        bands: &["swir1", "red", "nir", "blue"],
        of: |v| [v[0] + v[1] - (v[2] + v[3]), v[0] + v[1] + (v[2] + v[3])],
        absolute: false,
    },
    Formula {
        name: "evi2",
        bands: &["nir", "red"],
        of: |v| [2.5 * (v[0] - v[1]), v[0] + 2.4 * v[1] + 1.0],
        absolute: true,
    },
    Formula { name: "savi", bands: &["nir", "red"], of: |v| [1.5 * (v[0] - v[1]), v[0] + v[1] + 0.5], absolute: true },
];

const COUNT: usize = 10;

/// Names of all indices.
pub const INDEX_NAMES: [&str; COUNT] = ["ndvi", "ndwi", "mndwi", "ndmi", "ndbi", "nbr", "ndre", "bsi", "evi2", "savi"];

/// The index of this name.
pub(super) fn formula(name: &str) -> Option<&'static Formula> {
    FORMULAS.iter().find(|formula| formula.name == name)
}

/// Whether the index depends on the unit of the bands.
pub fn is_absolute(name: &str) -> bool {
    formula(name).is_some_and(|formula| formula.absolute)
}

impl Formula {
    /// The index of a pixel. Values below 0, which are noise, count as 0, so that normalised differences lie in -1..=1; where
    /// the denominator is 0 the index is 0.
    pub(super) fn value(&self, bands: &[f64]) -> f64 {
        let bands: [f64; 4] = std::array::from_fn(|i| bands.get(i).map_or(0.0, |v| v.max(0.0)));
        let [numerator, denominator] = (self.of)(&bands);
        let index = numerator / denominator;
        if denominator == 0.0 || !index.is_finite() { 0.0 } else { index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_formulas() {
        assert_eq!(FORMULAS.each_ref().map(|formula| formula.name), INDEX_NAMES);
        assert!(FORMULAS.iter().all(|formula| formula.bands.len() <= 4));
    }

    /// Of blue 0.04, green 0.08, red 0.06, red edge 0.12, nir 0.35, swir1 0.2, swir2 0.1, in numpy.
    #[test]
    fn indices_are_those_of_numpy() {
        let value = |band: &str| match band {
            "blue" => 0.04,
            "green" => 0.08,
            "red" => 0.06,
            "red_edge1" => 0.12,
            "nir" => 0.35,
            "swir1" => 0.2,
            _ => 0.1,
        };
        let expected = [
            0.707_317_073_170_731_7,
            -0.627_906_976_744_186,
            -0.428_571_428_571_428_6,
            0.272_727_272_727_272_65,
            -0.272_727_272_727_272_65,
            0.555_555_555_555_555_6,
            0.489_361_702_127_659_5,
            -0.2,
            0.485_274_431_057_563_57,
            0.478_021_978_021_978,
        ];
        for (formula, expected) in FORMULAS.iter().zip(expected) {
            let bands: Vec<f64> = formula.bands.iter().map(|band| value(band)).collect();
            let found = formula.value(&bands);
            assert!((found - expected).abs() < 1e-12, "{}: {found} {expected}", formula.name);
        }
    }

    #[test]
    fn nothing_over_nothing_is_nothing() {
        let ndvi = formula("ndvi").unwrap();
        assert_eq!(ndvi.value(&[0.0, 0.0]), 0.0);
        assert_eq!(ndvi.value(&[-5.0, -9.0]), 0.0);
        assert_eq!(ndvi.value(&[30.0, -1.0]), 1.0);
    }
}
