//! Tiny GeoTIFFs made by rasterio (tests/golden/raster_make.py) are read as rasterio reads them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use s2pipe::raster::{self, PixelIs, Reader};
use serde_json::Value;

fn golden() -> (&'static Path, Value) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let told = fs::read_to_string(folder.join("raster_golden.json")).unwrap();
    (folder, serde_json::from_str(&told).unwrap())
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array().map(|list| list.iter().map(|v| v.as_f64().unwrap()).collect())
}

#[test]
fn what_rasterio_wrote_is_read_as_rasterio_reads_it() {
    let (folder, told) = golden();
    let mut files = 0;
    for (name, told) in told.as_object().unwrap() {
        let reader = Reader::open(folder.join(format!("raster_{name}.tif"))).unwrap();
        let info = reader.info();
        assert_eq!(raster::checksum_of(&reader).unwrap(), told["sha256"], "{name}");
        let shape = [info.bands, info.height, info.width].map(|n| n as f64);
        assert_eq!(Some(shape.to_vec()), numbers(&told["shape"]), "{name}");
        assert_eq!(info.sample_type.name(), told["dtype"], "{name}");
        assert_eq!(info.georef.epsg.map(u64::from), told["epsg"].as_u64(), "{name}");
        assert_eq!(info.georef.transform.map(|t| t.to_vec()), numbers(&told["transform"]), "{name}");
        let point = info.georef.pixel_is == PixelIs::Point;
        assert_eq!(if point { "Point" } else { "Area" }, told["area_or_point"], "{name}");
        let nodata: Option<f64> = told["nodata"].as_str().unwrap().parse().ok();
        assert_eq!(info.nodata.map(f64::to_bits), nodata.map(f64::to_bits), "{name}");
        for (band, name) in info.band_names.iter().enumerate() {
            assert_eq!(name.as_deref(), told["descriptions"][band].as_str());
        }
        if let Some(colours) = told["colormap"].as_object() {
            let palette = info.palette.as_ref().unwrap();
            for (code, colour) in colours {
                let raster::Rgb(r, g, b) = palette[code.parse::<usize>().unwrap()];
                assert_eq!(Some(vec![f64::from(r), f64::from(g), f64::from(b)]), numbers(colour));
            }
        }
        files += 1;
    }
    assert!(files >= 15, "only {files} files were compared");
}
