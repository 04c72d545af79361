//! What is made of a scene's values before anything else sees them.

use serde::{Deserialize, Serialize};

use super::indices::{Formula, formula};
use crate::stages::params::is_default;

/// Radiometric offset, scale and derived bands. The default leaves values as they are, and is left out of documents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Preparation {
    /// Added to every band that is no index, in the file's units.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offset: f64,
    /// What the sum is multiplied by.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub scale: f64,
    /// Spectral indices that follow the bands of the file, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indices: Vec<String>,
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's interface")]
fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Default for Preparation {
    fn default() -> Self {
        Self { offset: 0.0, scale: 1.0, indices: Vec::new() }
    }
}

/// An index that needs a band which a scene has not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{index}` needs the band `{band}`")]
pub struct MissingBand {
    /// Name of the index.
    pub index: String,
    /// Name of the band.
    pub band: String,
}

impl Preparation {
    /// Whether values stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Bands of a prepared scene whose file has these.
    pub fn bands(&self, of_file: &[String]) -> Vec<String> {
        of_file.iter().chain(&self.indices).cloned().collect()
    }

    /// Makes it ready for scenes whose files have these bands.
    ///
    /// # Errors
    /// An index whose bands are not among them.
    pub fn plan(&self, of_file: &[String]) -> Result<Plan, MissingBand> {
        let plain: Vec<bool> = of_file.iter().map(|band| formula(band).is_none()).collect();
        let indices = self.indices.iter().map(|index| derived(index, of_file)).collect::<Result<_, _>>()?;
        Ok(Plan { offset: self.offset, scale: self.scale, plain, indices })
    }
}

fn derived(index: &str, of_file: &[String]) -> Result<(&'static Formula, Vec<usize>), MissingBand> {
    let missing = |band: &str| MissingBand { index: index.to_owned(), band: band.to_owned() };
    let formula = formula(index).ok_or_else(|| missing(index))?;
    let positions = formula.bands.iter().map(|band| position(of_file, band).ok_or_else(|| missing(band)));
    Ok((formula, positions.collect::<Result<_, _>>()?))
}

/// Where a band is; `swir` alone is taken for the first of the two, and for the only one.
fn position(of_file: &[String], band: &str) -> Option<usize> {
    let named = |name: &str| of_file.iter().position(|found| found.eq_ignore_ascii_case(name));
    named(band).or_else(|| if band == "swir1" { named("swir") } else { None })
}

/// A [`Preparation`] for scenes with certain bands.
pub struct Plan {
    offset: f64,
    scale: f64,
    /// Which bands of the file are no indices themselves.
    plain: Vec<bool>,
    indices: Vec<(&'static Formula, Vec<usize>)>,
}

impl Plan {
    /// Bands of a prepared pixel.
    pub fn bands(&self) -> usize {
        self.plain.len() + self.indices.len()
    }

    /// Prepares a pixel: the file's values first, and places for the indices behind them.
    ///
    /// # Panics
    /// When it has not [`Self::bands`] values.
    pub fn apply(&self, pixel: &mut [f64]) {
        assert_eq!(pixel.len(), self.bands(), "values of a pixel");
        let (bands, derived) = pixel.split_at_mut(self.plain.len());
        if (self.offset, self.scale) != (0.0, 1.0) {
            for (value, _) in bands.iter_mut().zip(&self.plain).filter(|(_, plain)| **plain) {
                *value = (*value + self.offset) * self.scale;
            }
        }
        let mut inputs = [0.0; 4];
        for (value, (formula, positions)) in derived.iter_mut().zip(&self.indices) {
            inputs.iter_mut().zip(positions).for_each(|(input, band)| *input = bands[*band]);
            *value = formula.value(&inputs[..positions.len()]);
        }
    }

    /// Whether a least value of band `band`, in the file's units, says that the offset is in the values already: what would
    /// come out is further below 0 than the darkest water or shadow is.
    pub fn seems_applied(&self, band: usize, least: f64) -> bool {
        self.offset < 0.0 && self.plain[band] && least < -0.5 * self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn offset_comes_before_scale_and_both_before_indices() {
        let preparation = Preparation { offset: -1000.0, scale: 1e-4, indices: names(&["ndvi", "evi2"]) };
        let plan = preparation.plan(&names(&["Red", "nir", "ndwi"])).unwrap();
        let mut pixel = [1600.0, 4500.0, -0.3, 9.0, 9.0];
        plan.apply(&mut pixel);
        let expected = [0.06, 0.35, -0.3, 0.29 / 0.41, 2.5 * 0.29 / (0.35 + 2.4 * 0.06 + 1.0)];
        assert!(pixel.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{pixel:?}");
        assert_eq!(preparation.bands(&names(&["red", "nir"])), ["red", "nir", "ndvi", "evi2"]);
    }

    #[test]
    fn a_missing_band_is_named() {
        let plan = |indices: &[&str], bands: &[&str]| {
            Preparation { indices: names(indices), ..Preparation::default() }.plan(&names(bands)).map(|p| p.bands())
        };
        assert_eq!(plan(&["ndbi"], &["nir", "swir"]), Ok(3));
        let missing = plan(&["ndvi", "nbr"], &["red", "nir", "swir"]).unwrap_err();
        assert_eq!(missing.to_string(), "`nbr` needs the band `swir2`");
    }

    #[test]
    fn an_offset_that_is_there_already_is_seen() {
        let plan = Preparation { offset: -1000.0, ..Preparation::default() }.plan(&names(&["red", "ndvi"])).unwrap();
        assert!(plan.seems_applied(0, 120.0) && !plan.seems_applied(0, 960.0) && !plan.seems_applied(1, -1.0));
    }

    #[test]
    fn the_default_leaves_no_trace_in_documents() {
        assert_eq!(serde_json::to_string(&Preparation::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Preparation>("{}").unwrap(), Preparation::default());
    }
}
