//! `s2pipe cache`: what is there.

use crate::cli::args::CacheDir;
use crate::cli::failure::Failure;

pub(in crate::cli) fn cache_ls(_: Option<&str>, _: &CacheDir, _: bool) -> Result<(), Failure> {
    Ok(())
}
pub(in crate::cli) fn cache_show(_: &str, _: &CacheDir, _: bool) -> Result<(), Failure> {
    Ok(())
}
pub(in crate::cli) fn cache_path(_: &str, _: &CacheDir) -> Result<(), Failure> {
    Ok(())
}
