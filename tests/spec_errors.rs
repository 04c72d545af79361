//! Every error of the pipeline language, as people see it: one file under `tests/spec/bad/` for each.

use std::path::Path;

use s2pipe::spec::{Diagnostics, Override, Pipeline, load};

#[path = "spec/kinds.rs"]
mod kinds;
use kinds::KINDS;

/// Reads `tests/spec/pipelines/NAME.yaml`; its comment lines `#! --set a.b=c` are the command line.
fn check(file: &Path) -> Result<Pipeline, Diagnostics> {
    let text = std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let settings = text.lines().filter_map(|line| line.strip_prefix("#! --set "));
    let overrides = settings.map(Override::parse).collect::<Result<Vec<_>, _>>()?;
    load(file, &overrides, KINDS)
}

#[test]
fn try_it() {
    let file = std::env::var("F").unwrap_or("tests/spec/pipelines/landcover.yaml".into());
    match check(Path::new(&file)) {
        Ok(p) => println!("{p:#?}"),
        Err(d) => println!("{}\n{}", d.render(false), d.render(true)),
    }
}
