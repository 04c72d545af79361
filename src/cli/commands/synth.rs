//! `s2pipe synth`: synthetic scenes in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::args::SynthArgs;
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::engine::StageError;
use crate::stages::synth::{orders, write_pair, write_pair_for};

/// Fills a folder with scenes and truth.
pub(in crate::cli) fn synth(args: &SynthArgs) -> Result<(), Failure> {
    for folder in ["tra_scene", "tra_truth", "val_scene", "val_truth"] {
        let folder = args.out.join(folder);
        fs::create_dir_all(&folder).map_err(|e| Failure::failed(format!("{}: {e}", folder.display())))?;
    }
    match &args.from_truth {
        Some(masks) => for_masks(masks, args),
        None => invented(args),
    }
}

fn invented(args: &SynthArgs) -> Result<(), Failure> {
    for order in orders(args.size, args.train.into(), args.val.into(), args.seed) {
        let scene = args.out.join(order.scene_path());
        write_pair(&order, &scene, &args.out.join(order.truth_path())).map_err(failed)?;
        print(&format!("{} ({}x{} px)\n", scene.display(), order.config.width, order.config.height))?;
    }
    Ok(())
}

fn for_masks(masks: &Path, args: &SynthArgs) -> Result<(), Failure> {
    let mut index = 0;
    for split in ["tra", "val"] {
        for mask in rasters(&masks.join(format!("{split}_truth")))? {
            let name = mask.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
            let scene = args.out.join(format!("{split}_scene")).join(name.replacen("truth", "scene", 1));
            let truth = args.out.join(format!("{split}_truth")).join(&name);
            write_pair_for(&mask, args.seed + index, &scene, &truth).map_err(failed)?;
            print(&format!("{}\n", scene.display()))?;
            index += 1;
        }
    }
    Ok(())
}

fn rasters(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |e: std::io::Error| {
        Failure::failed(format!("{}: {e}", folder.display()))
            .help("--from-truth takes a folder with tra_truth/*.tif and val_truth/*.tif".to_owned())
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tif") || e.eq_ignore_ascii_case("tiff")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn failed(error: StageError) -> Failure {
    match error {
        StageError::Failed { message, help } => Failure::failed(message).help(help),
        StageError::Cancelled => Failure::failed("stopped on request"),
    }
}
