//! GeoTIFF keys (OGC 19-008r4, section 7.1): the CRS of a raster, kept verbatim and understood as far as an EPSG code.

use serde::{Deserialize, Serialize};

/// GTModelTypeGeoKey.
const MODEL_TYPE: u16 = 1024;
/// GTRasterTypeGeoKey.
const RASTER_TYPE: u16 = 1025;
/// GeodeticCRSGeoKey.
const GEODETIC_CRS: u16 = 2048;
/// ProjectedCRSGeoKey.
const PROJECTED_CRS: u16 = 3072;
/// ProjectionGeoKey.
const PROJECTION: u16 = 3074;
/// ProjLinearUnitsGeoKey.
const LINEAR_UNITS: u16 = 3076;
/// Keys that only hold text for people: two spellings of a CRS do not make two CRSs.
const CITATIONS: [u16; 4] = [1026, 2049, 2067, 3073];

const MODEL_PROJECTED: u16 = 1;
const MODEL_GEOGRAPHIC: u16 = 2;
const METRE: u16 = 9001;
const USER_DEFINED: u16 = 32_767;
const DOUBLES_TAG: u16 = 34_736;
const ASCII_TAG: u16 = 34_737;

/// The three GeoTIFF key tags as they stood in the file.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct GeoKeys {
    /// GeoKeyDirectoryTag: a header of four numbers, then four numbers for each key.
    pub directory: Vec<u16>,
    /// GeoDoubleParamsTag.
    pub doubles: Vec<f64>,
    /// GeoAsciiParamsTag.
    pub ascii: String,
}

/// The value of one key.
#[derive(Debug)]
enum Value<'a> {
    Short(u16),
    Doubles(&'a [f64]),
    Text(&'a str),
}

impl Value<'_> {
    /// Equal but for the last digits of floating-point numbers, which not every text format brings back.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Short(a), Self::Short(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Doubles(a), Self::Doubles(b)) => {
                let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * a.abs();
                a.len() == b.len() && a.iter().zip(*b).all(close)
            }
            _ => false,
        }
    }
}

impl GeoKeys {
    /// The keys for an EPSG code.
    ///
    /// Codes 4000..=4999 are taken for geographic CRSs, as the GeoTIFF specification assigns them, all others for
    /// projected ones.
    pub fn from_epsg(epsg: u16, area: bool) -> Self {
        let geographic = (4000..5000).contains(&epsg);
        let raster_type = if area { 1 } else { 2 };
        let mut keys = if geographic {
            vec![(MODEL_TYPE, MODEL_GEOGRAPHIC), (RASTER_TYPE, raster_type), (GEODETIC_CRS, epsg)]
        } else {
            vec![(MODEL_TYPE, MODEL_PROJECTED), (RASTER_TYPE, raster_type), (PROJECTED_CRS, epsg)]
        };
        if is_utm(epsg) {
            keys.push((LINEAR_UNITS, METRE));
        }
        Self::of_shorts(&keys)
    }

    /// Keys that say no more than whether a pixel is an area or a point.
    pub fn raster_type_only(area: bool) -> Self {
        Self::of_shorts(&[(RASTER_TYPE, if area { 1 } else { 2 })])
    }

    fn of_shorts(keys: &[(u16, u16)]) -> Self {
        let mut directory = vec![1, 1, 0, keys.len() as u16];
        directory.extend(keys.iter().flat_map(|&(key, value)| [key, 0, 1, value]));
        Self { directory, ..Self::default() }
    }

    /// The EPSG code of the CRS, where there is one.
    ///
    /// Besides the code itself these are understood: a user-defined CRS on WGS 84 with a UTM projection code, and what
    /// ESRI software writes into the citation (`ESRI PE String = PROJCS["WGS_1984_UTM_Zone_33N",…`).
    pub fn epsg(&self) -> Option<u32> {
        let registered = |key| self.short(key).filter(|&code| code != 0 && code != USER_DEFINED).map(u32::from);
        if self.short(MODEL_TYPE) == Some(MODEL_GEOGRAPHIC) {
            return registered(GEODETIC_CRS);
        }
        if let Some(code) = registered(PROJECTED_CRS) {
            return Some(code);
        }
        let projected = self.short(PROJECTED_CRS).is_some() || self.short(PROJECTION).is_some();
        self.utm_on_wgs84().or_else(|| self.esri_epsg()).or_else(|| {
            // No projection anywhere: what is left is the geodetic CRS by itself.
            let geodetic = !projected && self.short(MODEL_TYPE) != Some(MODEL_PROJECTED);
            registered(GEODETIC_CRS).filter(|_| geodetic)
        })
    }

    /// Whether a pixel's value stands for its area (the default) rather than for the point at its centre.
    pub fn pixel_is_area(&self) -> bool {
        self.short(RASTER_TYPE) != Some(2)
    }

    /// Whether there is a CRS, with an EPSG code or without.
    pub fn has_crs(&self) -> bool {
        [MODEL_TYPE, GEODETIC_CRS, PROJECTED_CRS, PROJECTION].iter().any(|&key| self.short(key).is_some())
    }

    /// Whether map coordinates are metres: a projected CRS that names no other unit.
    pub fn in_metres(&self) -> bool {
        self.short(MODEL_TYPE) == Some(MODEL_PROJECTED) && self.short(LINEAR_UNITS).is_none_or(|unit| unit == METRE)
    }

    /// Whether both describe the same CRS: the same EPSG code, or the same keys but for texts and the raster type.
    pub fn same_crs(&self, other: &Self) -> bool {
        match (self.epsg(), other.epsg()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => {
                let defining = |keys: &Self| {
                    let mut ids: Vec<u16> =
                        keys.ids().filter(|id| *id != RASTER_TYPE && !CITATIONS.contains(id)).collect();
                    ids.sort_unstable();
                    ids
                };
                let ids = defining(self);
                ids == defining(other)
                    && ids.iter().all(|&id| match (self.get(id), other.get(id)) {
                        (Some(a), Some(b)) => a.same(&b),
                        (a, b) => a.is_none() && b.is_none(),
                    })
            }
            _ => false,
        }
    }

    /// The first text about the CRS, for people.
    pub fn citation(&self) -> Option<&str> {
        CITATIONS.iter().find_map(|&key| match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    fn entries(&self) -> impl Iterator<Item = &[u16; 4]> {
        let count = self.directory.get(3).copied().unwrap_or(0);
        self.directory.get(4..).unwrap_or(&[]).as_chunks::<4>().0.iter().take(usize::from(count))
    }

    fn ids(&self) -> impl Iterator<Item = u16> {
        self.entries().map(|entry| entry[0])
    }

    fn get(&self, key: u16) -> Option<Value<'_>> {
        let &[_, tag, count, value] = self.entries().find(|entry| entry[0] == key)?;
        let range = usize::from(value)..usize::from(value) + usize::from(count);
        match tag {
            0 => Some(Value::Short(value)),
            DOUBLES_TAG => self.doubles.get(range).map(Value::Doubles),
            ASCII_TAG => self.ascii.get(range).map(|text| Value::Text(text.trim_end_matches('|'))),
            _ => None,
        }
    }

    fn short(&self, key: u16) -> Option<u16> {
        match self.get(key)? {
            Value::Short(value) => Some(value),
            _ => None,
        }
    }

    /// Projection codes 16001..=16060 are UTM north, 16101..=16160 UTM south.
    fn utm_on_wgs84(&self) -> Option<u32> {
        let projection = u32::from(self.short(PROJECTION)?);
        let code = match projection {
            16_001..=16_060 => 32_600 + projection - 16_000,
            16_101..=16_160 => 32_700 + projection - 16_100,
            _ => return None,
        };
        (self.short(GEODETIC_CRS) == Some(4326)).then_some(code)
    }

    fn esri_epsg(&self) -> Option<u32> {
        let (_, definition) = self.ascii.split_once("ESRI PE String = ")?;
        let definition = definition.split('|').next()?;
        // The outermost authority is the last one.
        if let Some((_, code)) =
            definition.rsplit_once("]],AUTHORITY[\"EPSG\",").or(definition.rsplit_once(",AUTHORITY[\"EPSG\","))
        {
            let digits: String = code.trim_start_matches('"').chars().take_while(char::is_ascii_digit).collect();
            if let Ok(code) = digits.parse() {
                return Some(code);
            }
        }
        let name = definition.split('"').nth(1)?;
        if name == "WGS_1984_Web_Mercator_Auxiliary_Sphere" {
            return Some(3857);
        }
        let zone = |prefix: &str, suffix: char| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse::<u32>().ok();
        let in_zones = |zone: u32, zones: std::ops::RangeInclusive<u32>| zones.contains(&zone).then_some(zone);
        (zone("WGS_1984_UTM_Zone_", 'N').and_then(|z| in_zones(z, 1..=60)).map(|z| 32_600 + z))
            .or_else(|| zone("WGS_1984_UTM_Zone_", 'S').and_then(|z| in_zones(z, 1..=60)).map(|z| 32_700 + z))
            .or_else(|| zone("ETRS_1989_UTM_Zone_", 'N').and_then(|z| in_zones(z, 28..=38)).map(|z| 25_800 + z))
    }
}

/// UTM zones on WGS 84 and ETRS89.
fn is_utm(epsg: u16) -> bool {
    matches!(epsg, 32_601..=32_660 | 32_701..=32_760 | 25_828..=25_838)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsg_codes_come_back() {
        for epsg in [32_633, 25_833, 3035, 3857, 4326, 4258] {
            assert_eq!(GeoKeys::from_epsg(epsg, true).epsg(), Some(u32::from(epsg)));
        }
        assert!(!GeoKeys::from_epsg(32_633, false).pixel_is_area());
        assert_eq!(GeoKeys::raster_type_only(true).epsg(), None);
        assert!(!GeoKeys::raster_type_only(true).has_crs());
    }

    #[test]
    fn esri_definitions_are_understood() {
        let esri = |wkt: &str| {
            let ascii = format!("{wkt}|");
            let directory = vec![1, 1, 0, 2, MODEL_TYPE, 0, 1, 1, PROJECTED_CRS, 0, 1, USER_DEFINED];
            GeoKeys { directory, ascii: format!("ESRI PE String = {ascii}"), ..GeoKeys::default() }.epsg()
        };
        assert_eq!(esri("PROJCS[\"WGS_1984_UTM_Zone_33N\",GEOGCS[\"GCS_WGS_1984\"]]"), Some(32_633));
        assert_eq!(esri("PROJCS[\"ETRS_1989_UTM_Zone_32N\",GEOGCS[\"x\"]]"), Some(25_832));
        assert_eq!(
            esri("PROJCS[\"x\",GEOGCS[\"y\",AUTHORITY[\"EPSG\",4326]],AUTHORITY[\"EPSG\",\"2056\"]]"),
            Some(2056)
        );
        assert_eq!(esri("PROJCS[\"WGS_1984_UTM_Zone_99N\"]"), None);
        assert_eq!(esri("PROJCS[\"My_Own\"]"), None);
    }

    #[test]
    fn user_defined_crss_are_compared_by_what_defines_them() {
        let with = |citation: &str, inverse_flattening: f64, raster_type| GeoKeys {
            directory: vec![
                1,
                1,
                0,
                4,
                MODEL_TYPE,
                0,
                1,
                1,
                RASTER_TYPE,
                0,
                1,
                raster_type,
                1026,
                ASCII_TAG,
                4,
                0,
                2059,
                DOUBLES_TAG,
                1,
                0,
            ],
            doubles: vec![inverse_flattening],
            ascii: citation.to_owned(),
        };
        assert!(with("ab1|", 298.257_223_563, 1).same_crs(&with("xyz|", 298.257_223_563_000_1, 2)));
        assert!(!with("ab1|", 298.257_223_563, 1).same_crs(&with("ab1|", 299.152_812_8, 1)));
        assert!(!with("ab1|", 298.257_223_563, 1).same_crs(&GeoKeys::from_epsg(32_633, true)));
    }

    #[test]
    fn a_broken_directory_is_no_crs() {
        let keys = GeoKeys { directory: vec![1, 1, 0, 9, MODEL_TYPE, ASCII_TAG, 50, 60], ..GeoKeys::default() };
        assert_eq!((keys.epsg(), keys.citation()), (None, None));
        assert_eq!(GeoKeys { directory: vec![1, 1], ..GeoKeys::default() }.epsg(), None);
    }
}
