//! `s2pipe info`: what a raster file holds; without a file, what this build can do here.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::InfoArgs;
use crate::cli::failure::Failure;
use crate::cli::output::{Align, Table, print, print_json};
use crate::net::describe_gpus;
use crate::raster::{BandSummary, RasterInfo, Reader, Summarizer, checksum_of};

/// Rows summarised at a time.
const STRIP_ROWS: usize = 512;

/// Describes a raster, or this build and this machine where none is named.
pub(in crate::cli) fn info(args: &InfoArgs) -> Result<(), Failure> {
    match &args.file {
        Some(file) => raster(file, args),
        None => build(args.json),
    }
}

/// Prints version, processors and what there is of CUDA.
fn build(json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let cuda = describe_gpus();
    if json {
        return print_json(&json!({ "version": version, "processors": processors, "cuda": cuda }));
    }
    print(&format!("s2pipe {version}\nprocessors: {processors}\nCUDA: {}\n", cuda.join("\n      ")))
}

/// Prints type, size, bands, CRS, transform, nodata and statistics of a raster.
fn raster(file: &Path, args: &InfoArgs) -> Result<(), Failure> {
    let reader = Reader::open(file).map_err(Failure::failed)?;
    let statistics = summarise(&reader)?;
    let checksum = match args.checksum {
        true => Some(checksum_of(&reader).map_err(Failure::failed)?),
        false => None,
    };
    if args.json {
        print_json(&as_json(reader.info(), &statistics, checksum.as_deref()))
    } else {
        print(&as_text(reader.info(), &statistics, checksum.as_deref()))
    }
}

fn summarise(reader: &Reader) -> Result<Vec<BandSummary>, Failure> {
    let info = reader.info();
    let mut summarizer = Summarizer::new(info.bands, info.nodata);
    for window in reader.row_blocks(STRIP_ROWS) {
        summarizer.add(&reader.read_window(window).map_err(Failure::failed)?);
    }
    Ok(summarizer.finish())
}

fn as_json(info: &RasterInfo, statistics: &[BandSummary], checksum: Option<&str>) -> Value {
    let mut value = json!(info);
    value["statistics"] = json!(statistics);
    if let Some(checksum) = checksum {
        value["sha256"] = json!(checksum);
    }
    value
}

fn as_text(info: &RasterInfo, statistics: &[BandSummary], checksum: Option<&str>) -> String {
    let mut facts = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut fact = |name: &str, value: String| facts.row([name.to_owned(), value]);
    fact("file", info.path.display().to_string());
    fact("size", format!("{} x {} px, {} band(s)", info.width, info.height, info.bands));
    fact("type", info.sample_type.to_string());
    fact("CRS", info.georef.crs_name().unwrap_or_else(|| "none".into()));
    match info.georef.transform {
        Some(t) => fact("transform", t.map(|v| v.to_string()).join(", ")),
        None => fact("transform", "none".into()),
    }
    fact("nodata", info.nodata.map_or_else(|| "none".into(), |n| n.to_string()));
    fact(
        "layout",
        format!(
            "{}, {}, {}",
            info.layout,
            info.compression,
            if info.planar { "band by band" } else { "bands side by side" }
        ),
    );
    if info.overviews > 0 {
        fact("overviews", info.overviews.to_string());
    }
    if let Some(palette) = &info.palette {
        fact("colour table", format!("{} entries", palette.len()));
    }
    if let Some(checksum) = checksum {
        fact("sha256", checksum.to_owned());
    }
    let mut text = facts.render("");
    let number = |value: Option<f64>| {
        value.map_or_else(|| "-".into(), |v| format!("{v:.6}").trim_end_matches('0').trim_end_matches('.').to_owned())
    };
    let mut table = Table::new([
        ("band", Align::Left),
        ("valid px", Align::Right),
        ("min", Align::Right),
        ("max", Align::Right),
        ("mean", Align::Right),
        ("std", Align::Right),
    ]);
    for (index, band) in statistics.iter().enumerate() {
        let name = info.band_names.get(index).cloned().flatten();
        table.row([
            name.map_or_else(|| (index + 1).to_string(), |n| format!("{} {n}", index + 1)),
            band.valid.to_string(),
            number(band.min),
            number(band.max),
            number(band.mean),
            number(band.std),
        ]);
    }
    text += "\n";
    text += &table.render("");
    text
}
