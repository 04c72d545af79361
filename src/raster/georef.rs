//! Where on Earth a raster lies.

use serde::{Deserialize, Serialize};
use tiff::tags::Tag;

use super::directory::{Directory, TiffFile};
use super::error::RasterError;
use super::geokeys::GeoKeys;
use super::grid::{Footprint, GridMismatch};

/// What a pixel's value stands for (GDAL's AREA_OR_POINT).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelIs {
    /// The whole area of the pixel.
    #[default]
    Area,
    /// The point at its centre.
    Point,
}

/// Coordinate reference system and placement of a raster. Two rasters with the same size and
/// [the same grid](Georeference::same_grid) cover each other pixel by pixel.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Georeference {
    /// EPSG code of the CRS, where it has one.
    pub epsg: Option<u32>,
    /// `[a, b, c, d, e, f]` as in rasterio: x = a·col + b·row + c, y = d·col + e·row + f, with (col, row) = (0, 0) at
    /// the *outer corner* of the first pixel, also where pixels are points. [`None`]: not georeferenced.
    pub transform: Option<[f64; 6]>,
    /// What a pixel's value stands for.
    pub pixel_is: PixelIs,
    /// The CRS as the file has it; written back verbatim.
    pub geo_keys: Option<GeoKeys>,
    /// Ground control points `[column, row, 0, x, y, z]` of a raster that has these instead of a transform. `epsg` is
    /// then [`None`] as in GDAL: the CRS is that of the points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_points: Vec<[f64; 6]>,
}

impl Georeference {
    /// A raster in the CRS with this EPSG code.
    pub fn from_epsg(epsg: u16, transform: [f64; 6]) -> Self {
        Self {
            epsg: Some(u32::from(epsg)),
            transform: Some(transform),
            geo_keys: Some(GeoKeys::from_epsg(epsg, true)),
            ..Self::default()
        }
    }

    pub(super) fn read(file: &TiffFile, directory: &Directory) -> Result<Self, RasterError> {
        let geo_keys = match file.shorts(directory, Tag::GeoKeyDirectoryTag)? {
            Some(keys) => Some(GeoKeys {
                directory: keys,
                doubles: file.doubles(directory, Tag::GeoDoubleParamsTag)?.unwrap_or_default(),
                ascii: file.text(directory, Tag::GeoAsciiParamsTag)?.unwrap_or_default(),
            }),
            None => None,
        };
        let scale = file.doubles(directory, Tag::ModelPixelScaleTag)?.unwrap_or_default();
        let points = file.doubles(directory, Tag::ModelTiepointTag)?.unwrap_or_default();
        let matrix = file.doubles(directory, Tag::ModelTransformationTag)?.unwrap_or_default();

        let area = geo_keys.as_ref().is_none_or(GeoKeys::pixel_is_area);
        let points = points.as_chunks::<6>().0;
        let transform =
            placement(&scale, points, &matrix).map(|transform| if area { transform } else { shift(transform, -0.5) });
        let control_points = if transform.is_none() { points.to_vec() } else { Vec::new() };
        Ok(Self {
            epsg: geo_keys.as_ref().and_then(GeoKeys::epsg).filter(|_| control_points.is_empty()),
            transform,
            pixel_is: if area { PixelIs::Area } else { PixelIs::Point },
            geo_keys,
            control_points,
        })
    }

    /// Whether CRS and transform are the same, so that equal pixel positions are equal places. Transforms may differ by
    /// rounding: a hundredth of a pixel at the origin, a millionth of the pixel size.
    ///
    /// # Errors
    /// [`GridMismatch`] with the first difference.
    pub fn same_grid(&self, other: &Self) -> Result<(), GridMismatch> {
        if !self.same_crs(other) {
            return Err(GridMismatch::Crs { left: self.crs_name(), right: other.crs_name() });
        }
        let same = match (&self.transform, &other.transform) {
            (Some(left), Some(right)) => same_transform(left, right),
            (None, None) => self.control_points == other.control_points,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(GridMismatch::Transform { left: self.transform, right: other.transform })
    }

    /// The CRS for people: `EPSG:32633`, a citation, or [`None`] where the raster has no CRS.
    pub fn crs_name(&self) -> Option<String> {
        if let Some(epsg) = self.epsg {
            return Some(format!("EPSG:{epsg}"));
        }
        let keys = self.geo_keys.as_ref().filter(|keys| keys.has_crs())?;
        Some(keys.citation().unwrap_or("a CRS without an EPSG code").to_owned())
    }

    /// The ground that a raster of this size covers; [`None`] without a transform.
    pub fn footprint(&self, width: usize, height: usize) -> Option<Footprint> {
        let t = self.transform?;
        let at = |col: usize, row: usize| {
            let (col, row) = (col as f64, row as f64);
            [t[0] * col + t[1] * row + t[2], t[3] * col + t[4] * row + t[5]]
        };
        let corners = [at(0, 0), at(width, 0), at(width, height), at(0, height)];
        Some(Footprint { crs: self.crs_name(), corners })
    }

    /// Ground size of a pixel in units of the CRS: (along a row, along a column).
    pub fn pixel_size(&self) -> Option<(f64, f64)> {
        self.transform.map(|[a, b, _, d, e, _]| (a.hypot(d), b.hypot(e)))
    }

    /// Side of a pixel in metres; [`None`] where it is not known, or pixels are not square.
    pub fn metres_per_pixel(&self) -> Option<f64> {
        let (across, down) = self.pixel_size()?;
        let square = (across - down).abs() <= 1e-6 * across;
        (square && self.geo_keys.as_ref().is_some_and(GeoKeys::in_metres)).then_some(across)
    }

    /// Ground that a pixel covers in square metres; [`None`] where the CRS does not count in metres.
    pub fn square_metres_per_pixel(&self) -> Option<f64> {
        let [a, b, _, d, e, _] = self.transform?;
        self.geo_keys.as_ref().is_some_and(GeoKeys::in_metres).then_some((a * e - b * d).abs())
    }

    fn same_crs(&self, other: &Self) -> bool {
        let keys = |georef: &Self| georef.geo_keys.clone().filter(GeoKeys::has_crs);
        match (self.epsg, other.epsg) {
            (Some(left), Some(right)) => left == right,
            (None, None) => match (keys(self), keys(other)) {
                (Some(left), Some(right)) => left.same_crs(&right),
                (None, None) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// The key tags to write: those of the file that it came from, else made from the EPSG code.
    pub(super) fn keys_to_write(&self) -> Option<GeoKeys> {
        let area = self.pixel_is == PixelIs::Area;
        if let Some(keys) = &self.geo_keys {
            return Some(keys.clone());
        }
        match self.epsg.and_then(|epsg| u16::try_from(epsg).ok()) {
            Some(epsg) => Some(GeoKeys::from_epsg(epsg, area)),
            None => self.transform.map(|_| GeoKeys::raster_type_only(area)),
        }
    }

    /// The transform as TIFF has it: for pixels that are points it refers to the centre of the first one.
    pub(super) fn transform_to_write(&self) -> Option<[f64; 6]> {
        let area = self.keys_to_write().is_none_or(|keys| keys.pixel_is_area());
        self.transform.map(|transform| if area { transform } else { shift(transform, 0.5) })
    }
}

/// The transform that the three model tags give, if any (OGC 19-008r4, section 7.2; precedence as in GDAL).
fn placement(scale: &[f64], points: &[[f64; 6]], matrix: &[f64]) -> Option<[f64; 6]> {
    if let (&[sx, sy, ..], Some(&[col, row, _, x, y, _])) = (scale, points.first())
        && sx != 0.0
        && sy != 0.0
    {
        // Rows go down whatever the sign in the file.
        let sy = sy.abs();
        return Some([sx, 0.0, x - col * sx, 0.0, -sy, y + row * sy]);
    }
    let &[a, b, _, c, d, e, _, f, ..] = matrix else { return None };
    Some([a, b, c, d, e, f])
}

/// The transform with its origin moved by `pixels` along rows and columns.
fn shift(t: [f64; 6], pixels: f64) -> [f64; 6] {
    [t[0], t[1], t[2] + pixels * (t[0] + t[1]), t[3], t[4], t[5] + pixels * (t[3] + t[4])]
}

fn same_transform(left: &[f64; 6], right: &[f64; 6]) -> bool {
    let pixel = left[0].hypot(left[3]).min(left[1].hypot(left[4]));
    let within = |i: usize, tolerance: f64| (left[i] - right[i]).abs() <= tolerance * pixel || left[i] == right[i];
    [0, 1, 3, 4].iter().all(|&i| within(i, 1e-6)) && [2, 5].iter().all(|&i| within(i, 1e-2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: [f64; 6] = [10.0, 0.0, 264_890.0, 0.0, -10.0, 6_660_170.0];

    #[test]
    fn same_grid_tolerates_rounding_only() {
        let utm = |transform| Georeference::from_epsg(32_633, transform);
        let moved = |by: f64| utm([10.0, 0.0, 264_890.0 + by, 0.0, -10.0, 6_660_170.0]);
        assert_eq!(utm(T).same_grid(&moved(0.01)), Ok(()));
        assert!(matches!(utm(T).same_grid(&moved(10.0)), Err(GridMismatch::Transform { .. })));
        let coarser = utm([20.0, 0.0, 264_890.0, 0.0, -20.0, 6_660_170.0]);
        assert!(matches!(utm(T).same_grid(&coarser), Err(GridMismatch::Transform { .. })));
        let elsewhere = Georeference::from_epsg(32_632, T);
        assert!(matches!(utm(T).same_grid(&elsewhere), Err(GridMismatch::Crs { .. })));
        assert!(matches!(utm(T).same_grid(&Georeference::default()), Err(GridMismatch::Crs { .. })));
        assert_eq!(Georeference::default().same_grid(&Georeference::default()), Ok(()));
    }

    #[test]
    fn footprint_is_the_outer_edge() {
        let footprint = Georeference::from_epsg(32_633, T).footprint(848, 851).expect("it has a transform");
        assert_eq!(footprint.bounds(), [264_890.0, 6_651_660.0, 273_370.0, 6_660_170.0]);
        assert!(Georeference::default().footprint(1, 1).is_none());
    }

    #[test]
    fn points_are_shifted_to_corners_and_back() {
        let keys = GeoKeys::from_epsg(32_633, false);
        let georef =
            Georeference { geo_keys: Some(keys), pixel_is: PixelIs::Point, ..Georeference::from_epsg(32_633, T) };
        assert_eq!(georef.transform_to_write(), Some([10.0, 0.0, 264_895.0, 0.0, -10.0, 6_660_165.0]));
    }

    #[test]
    fn json_gives_it_back() {
        let georef = Georeference::from_epsg(32_633, T);
        let json = serde_json::to_string(&georef).expect("plain data");
        assert_eq!(serde_json::from_str::<Georeference>(&json).expect("what we wrote"), georef);
    }
}
