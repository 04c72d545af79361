//! A training that is shared out among several GPUs: on real ones where there are two, else on emulated ones
//! (`tests/cuda/emulator`), of which there may be any number.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;
use std::path::Path;

use project::{Project, Ran, command, finish};
use safetensors::SafeTensors;

/// Makes four emulated GPUs of one.
const DEVICES: (&str, &str) = ("S2PIPE_EMULATE_DEVICES", "4");
const LIBRARIES: &str = "S2PIPE_CUDA_LIBRARIES";

/// Says so where there is only one GPU, or none.
fn several_gpus() -> bool {
    let mut info = command(Path::new("."), &["info"]);
    info.env(DEVICES.0, DEVICES.1);
    let several = finish(info).ok().stdout.contains("cuda:1");
    if !several {
        eprintln!("not tested, since there are no two GPUs: name the emulated ones in S2PIPE_CUDA_LIBRARIES");
    }
    several
}

fn project(gpus: usize) -> Project {
    let project = Project::fresh();
    project.edit("optimizer: { kind: adamw, lr: 1e-2 }", "optimizer: { kind: sgd, lr: 1e-2 }");
    // 7 patches a step: shares of 4 and 3, or of 3, 2 and 2.
    project.edit("batch: 8", "batch: 7");
    project.edit("epochs: 6", "epochs: 2");
    if gpus > 0 {
        let inputs = "    inputs: { patches: patches }\n";
        project.edit(inputs, &format!("{inputs}    resources: {{ gpus: {gpus} }}\n"));
    }
    project
}

fn train(project: &Project, precision: &str, libraries: Option<&Path>) -> Ran {
    let set = format!("train.precision={precision}");
    let args = ["run", "-v", "--device", "cuda", "--gpus", "4", "--until", "train", "--set", &set];
    let mut command = command(project.root(), &args);
    command.env(DEVICES.0, DEVICES.1);
    if let Some(libraries) = libraries {
        command.env(LIBRARIES, libraries);
    }
    finish(command).ok()
}

fn weights(project: &Project) -> Vec<f32> {
    let bytes = fs::read(project.path("cache/landcover/train/model/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<_> = tensors.names().into_iter().map(ToOwned::to_owned).collect();
    names.sort();
    let values = names.iter().flat_map(|name| tensors.tensor(name).unwrap().data().to_vec());
    values.collect::<Vec<u8>>().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Root of the mean square of the differences, relative to that of the weights.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    (squares(&mut a.iter().zip(b).map(|(a, b)| a - b)) / squares(&mut a.iter().copied())).sqrt()
}

/// A folder with all emulated libraries but NCCL's.
fn without_nccl(folder: &Path) -> bool {
    let Some(libraries) = std::env::var_os(LIBRARIES) else { return false };
    for entry in fs::read_dir(libraries).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("libnccl") {
            std::os::unix::fs::symlink(fs::canonicalize(entry.path()).unwrap(), folder.join(entry.file_name()))
                .unwrap();
        }
    }
    true
}

#[test]
fn two_and_three_gpus_train_what_one_does() {
    if !several_gpus() {
        return;
    }
    // bf16 has three digits: what was added up in another order differs in the last of them.
    for (precision, tolerance, counts) in [("f32", 1e-5, [2, 3].as_slice()), ("bf16", 5e-3, &[3])] {
        let alone = project(0);
        train(&alone, precision, None);
        for &gpus in counts {
            let together = project(gpus);
            let way = if cfg!(feature = "nccl") { "by NCCL" } else { "through the hosts' memory" };
            train(&together, precision, None).says(&[&format!("{gpus} ranks compute together"), way]);
            let found = distance(&weights(&alone), &weights(&together));
            eprintln!("{precision}, {gpus} GPUs: weights differ by {found:.1e}");
            assert!(found > 0.0 && found < tolerance, "{precision}, {gpus} GPUs: {found:e}");
            if gpus == 3 {
                let again = project(gpus);
                train(&again, precision, None);
                assert!(again.artefacts() == together.artefacts(), "{precision}: other bytes the second time");
            }
        }
    }
}

#[test]
fn without_nccl_numbers_go_through_the_hosts() {
    let folder = tempfile::tempdir().unwrap();
    if !several_gpus() || !without_nccl(folder.path()) {
        return;
    }
    let (with, without) = (project(2), project(2));
    train(&with, "f32", None);
    let ran = train(&without, "f32", Some(folder.path())).says(&["through the hosts' memory"]);
    assert_eq!(
        ran.stderr.contains("NCCL is not used, since rank 0 has none"),
        cfg!(feature = "nccl"),
        "{}",
        ran.stderr
    );
    let found = distance(&weights(&with), &weights(&without));
    assert!(found < 1e-5, "{found:e}");
}
