//! Whether two rasters lie on the same pixels, and whether they share ground.

use serde::{Deserialize, Serialize};

/// The first difference between the grids of two rasters, `left` and `right`.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{}", self.between("the first raster", "the second"))]
pub enum GridMismatch {
    /// Not the same number of pixels; (width, height) each.
    Size {
        /// Of the first raster.
        left: (usize, usize),
        /// Of the second.
        right: (usize, usize),
    },
    /// Not the same CRS; [`None`] where there is none.
    Crs {
        /// Of the first raster.
        left: Option<String>,
        /// Of the second.
        right: Option<String>,
    },
    /// Not the same place or pixel size; [`None`] where there is no transform.
    Transform {
        /// Of the first raster.
        left: Option<[f64; 6]>,
        /// Of the second.
        right: Option<[f64; 6]>,
    },
}

impl GridMismatch {
    pub(super) fn of_sizes(left: (usize, usize), right: (usize, usize)) -> Result<(), Self> {
        if left == right { Ok(()) } else { Err(Self::Size { left, right }) }
    }

    /// The difference in words, with names for the two rasters: `between("truth tra_truth_0.tif", "its scene
    /// tra_scene_0.tif")` gives "truth tra_truth_0.tif is 848x851 px, its scene tra_scene_0.tif 850x853 px".
    pub fn between(&self, left_name: &str, right_name: &str) -> String {
        match self {
            Self::Size { left, right } => {
                format!("{left_name} is {}x{} px, {right_name} {}x{} px", left.0, left.1, right.0, right.1)
            }
            Self::Crs { left, right } => {
                let crs = |crs: &Option<String>| crs.clone().unwrap_or_else(|| "no CRS".to_owned());
                format!("{left_name} has {}, {right_name} {}", crs(left), crs(right))
            }
            Self::Transform { left, right } => match (left, right) {
                (Some(left), Some(right)) => transforms(left_name, left, right_name, right),
                (Some(_), None) => format!("{left_name} is georeferenced, {right_name} is not"),
                (None, Some(_)) => format!("{left_name} is not georeferenced, {right_name} is"),
                (None, None) => format!("{left_name} has other ground control points than {right_name}"),
            },
        }
    }
}

fn transforms(left_name: &str, left: &[f64; 6], right_name: &str, right: &[f64; 6]) -> String {
    let linear = |t: &[f64; 6]| [t[0], t[1], t[3], t[4]];
    if linear(left) == linear(right) {
        let (dx, dy) = (right[2] - left[2], right[5] - left[5]);
        return format!(
            "{left_name} begins at ({}, {}), {right_name} at ({}, {}), {:.2} pixel(s) away",
            left[2],
            left[5],
            right[2],
            right[5],
            dx.hypot(dy) / left[0].hypot(left[3]),
        );
    }
    let size = |t: &[f64; 6]| format!("{} x {}", t[0].hypot(t[3]), t[1].hypot(t[4]));
    if size(left) == size(right) {
        return format!("{left_name} has the transform {left:?}, {right_name} {right:?}");
    }
    format!("{left_name} has pixels of {}, {right_name} of {}", size(left), size(right))
}

/// The ground that a raster covers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Footprint {
    /// The CRS of the corners, as [`crate::raster::Georeference::crs_name`] gives it.
    pub crs: Option<String>,
    /// (x, y) of the outer corners: of the first row's first and last pixel, then of the last row's last and first.
    pub corners: [[f64; 2]; 4],
}

impl Footprint {
    /// `[min x, min y, max x, max y]`.
    pub fn bounds(&self) -> [f64; 4] {
        let fold = |axis: usize, pick: fn(f64, f64) -> f64| {
            self.corners.iter().map(|corner| corner[axis]).reduce(pick).unwrap_or(f64::NAN)
        };
        [fold(0, f64::min), fold(1, f64::min), fold(0, f64::max), fold(1, f64::max)]
    }

    /// Whether the bounds of both share ground: an area, not just an edge, as neighbouring tiles do. Footprints in
    /// different CRSs are not compared and never overlap; rotated ones are compared by their bounds.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.crs == other.crs && self.overlap(other) > 0.0
    }

    /// The share of the smaller one's bounds that lies in the other's, 0 to 1, whatever their CRSs.
    pub fn overlap(&self, other: &Self) -> f64 {
        let (a, b) = (self.bounds(), other.bounds());
        let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
        let area = |bounds: [f64; 4]| (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]);
        let smaller = area(a).min(area(b));
        let share = if smaller > 0.0 { side(0, 2) * side(1, 3) / smaller } else { 0.0 };
        // Neighbours whose coordinates were rounded share a sliver that is no ground.
        if share < 1e-9 { 0.0 } else { share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Georeference;

    #[test]
    fn differences_read_well() {
        let size = GridMismatch::Size { left: (848, 851), right: (850, 853) };
        assert_eq!(
            size.between("truth tra_truth_0.tif", "its scene tra_scene_0.tif"),
            "truth tra_truth_0.tif is 848x851 px, its scene tra_scene_0.tif 850x853 px"
        );
        let crs = GridMismatch::Crs { left: Some("EPSG:32633".into()), right: None };
        assert_eq!(crs.to_string(), "the first raster has EPSG:32633, the second no CRS");
        let moved = GridMismatch::Transform {
            left: Some([10.0, 0.0, 100.0, 0.0, -10.0, 200.0]),
            right: Some([10.0, 0.0, 120.0, 0.0, -10.0, 200.0]),
        };
        assert_eq!(moved.between("a", "b"), "a begins at (100, 200), b at (120, 200), 2.00 pixel(s) away");
        let coarser = GridMismatch::Transform {
            left: Some([10.0, 0.0, 0.0, 0.0, -10.0, 0.0]),
            right: Some([20.0, 0.0, 0.0, 0.0, -20.0, 0.0]),
        };
        assert_eq!(coarser.between("a", "b"), "a has pixels of 10 x 10, b of 20 x 20");
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let at = |x: f64| {
            let georef = Georeference::from_epsg(32_633, [10.0, 0.0, x, 0.0, -10.0, 0.0]);
            georef.footprint(100, 100).expect("it has a transform")
        };
        assert!(!at(0.0).overlaps(&at(1000.0)));
        assert!(at(0.0).overlaps(&at(990.0)));
        assert!((at(0.0).overlap(&at(500.0)) - 0.5).abs() < 1e-12);
        let other_crs = Footprint { crs: Some("EPSG:32632".into()), ..at(0.0) };
        assert!(!at(0.0).overlaps(&other_crs));
    }
}
