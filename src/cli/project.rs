//! What most commands start from: a checked pipeline, its graph, its cache.

use std::path::PathBuf;

use super::args::{CacheDir, PipelineArgs};
use super::failure::Failure;
use crate::engine::{Cache, Graph, Registry};
#[cfg(feature = "remote")]
use crate::spec::RemoteSettings;
use crate::spec::{Override, Pipeline, Site, find_pipeline, load, personal_site};
use crate::stages::{advice, registry};

/// A checked pipeline, the kinds that it uses, and where it runs.
pub(super) struct Project {
    pub(super) pipeline: Pipeline,
    pub(super) registry: Registry,
    /// What the pipeline says, over the settings of the person who runs it.
    pub(super) site: Site,
}

impl Project {
    /// Finds, reads and checks the pipeline.
    pub(super) fn load(args: &PipelineArgs) -> Result<Self, Failure> {
        let overrides = args.set.iter().map(|s| Override::parse(s)).collect::<Result<Vec<_>, _>>()?;
        let file = match &args.pipeline {
            Some(file) => file.clone(),
            None => find_pipeline(&current_dir()?).map_err(Failure::usage)?,
        };
        let registry = registry();
        let pipeline = load(&file, &overrides, &registry.specs())?;
        let site = pipeline.site.clone().over(personal_site(&registry.specs())?);
        Ok(Self { pipeline, registry, site })
    }

    /// Warns of what is allowed in the pipeline and yet probably not meant.
    pub(super) fn warn(&self) {
        advice(&self.pipeline).iter().for_each(|sentence| tracing::warn!("{sentence}"));
    }

    /// Splits the pipeline into tasks.
    pub(super) fn graph(&self) -> Result<Graph, Failure> {
        Graph::expand(&self.pipeline, &self.registry).map_err(|e| {
            let help = e.help();
            Failure::usage(e).help(help)
        })
    }

    /// Opens the cache: `--cache`, else `cache` in the project root.
    pub(super) fn cache(&self, dir: &CacheDir) -> Result<Cache, Failure> {
        open_cache(dir.dir.clone().unwrap_or_else(|| self.pipeline.root.join("cache")))
    }
}

/// The cache of commands that take no pipeline: `--cache`, else that of the default pipeline, else `cache` here.
pub(super) fn standalone_cache(dir: &CacheDir) -> Result<Cache, Failure> {
    match &dir.dir {
        Some(dir) => open_cache(dir.clone()),
        None => {
            let here = current_dir()?;
            match find_pipeline(&here).ok().and_then(|file| load(&file, &[], &registry().specs()).ok()) {
                Some(pipeline) => open_cache(pipeline.root.join("cache")),
                None => open_cache(here.join("cache")),
            }
        }
    }
}

/// The shared cache that commands without a pipeline use: that of the default pipeline, else the person's own.
#[cfg(feature = "remote")]
pub(super) fn standalone_settings() -> Result<RemoteSettings, Failure> {
    let kinds = registry();
    let pipeline = find_pipeline(&current_dir()?).ok().and_then(|file| load(&file, &[], &kinds.specs()).ok());
    let personal = personal_site(&kinds.specs())?;
    Ok(pipeline.map_or_else(Site::default, |pipeline| pipeline.site).over(personal).remote)
}

/// Opens a cache, making it if need be.
pub(super) fn open_cache(dir: PathBuf) -> Result<Cache, Failure> {
    Cache::open(&dir).map_err(|e| {
        let help = e.help();
        Failure::failed(e).help(help)
    })
}

fn current_dir() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|e| Failure::failed(format!("the current directory cannot be read: {e}")))
}
