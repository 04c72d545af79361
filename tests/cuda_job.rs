//! The whole job on a GPU, and what is said when there is none, or one that cannot be used. On a real GPU the first test runs;
//! the others need the emulated one of `tests/cuda/emulator`, which can be told to be broken.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;

use project::{Project, Ran, command, finish};
use serde_json::Value;

/// The folder of the emulated GPU's libraries; without it says so and gives nothing.
fn emulated() -> Option<String> {
    let info = finish(command(std::path::Path::new("."), &["info"]));
    if info.ok().stdout.contains("Emulated GPU") {
        return std::env::var("S2PIPE_CUDA_LIBRARIES").ok();
    }
    eprintln!("not tested, since the GPU is not the emulated one: name its folder in S2PIPE_CUDA_LIBRARIES");
    None
}

fn run_with(project: &Project, variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = command(project.root(), &[&["run", "-v"], args].concat());
    command.envs(variables.iter().copied());
    finish(command)
}

fn mean_jaccard(project: &Project) -> f64 {
    let metrics = fs::read(project.path("cache/landcover/evaluate/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_slice(&metrics).unwrap();
    metrics["all"]["mean"].as_f64().unwrap()
}

#[test]
fn the_job_scores_on_a_gpu_as_on_the_cpu() {
    let here = Project::fresh();
    let info = here.s2pipe(&["info"]).ok().stdout;
    if !info.contains("cuda:0") {
        eprintln!("not tested, since there is no GPU: {info}");
        return;
    }
    here.run(&["--device", "cpu"]).ok();
    for precision in ["f32", "bf16"] {
        let there = Project::fresh();
        let sets = [format!("train.precision={precision}"), format!("predict.precision={precision}")];
        let ran = there.run(&["--device", "cuda", "--set", &sets[0], "--set", &sets[1]]).ok();
        assert!(ran.stderr.contains(&format!(") in {precision}")), "{}", ran.stderr);
        let (found, expected) = (mean_jaccard(&there), mean_jaccard(&here));
        eprintln!("{precision}: mean Jaccard {found:.4}, on the CPU {expected:.4}");
        assert!((found - expected).abs() < if precision == "f32" { 0.01 } else { 0.05 }, "{found} {expected}");
    }
}

#[test]
fn auto_takes_the_gpu_and_the_cpu_where_there_is_none() {
    let Some(_) = emulated() else { return };
    let project = Project::fresh();
    let ran = run_with(&project, &[], &["--until", "train", "--set", "train.epochs=1"]).ok();
    assert!(ran.stderr.contains("computing on cuda:0 (Emulated GPU) in bf16"), "{}", ran.stderr);
    let without = [("S2PIPE_EMULATE_DEVICES", "0")];
    let ran = run_with(&project, &without, &["--until", "train", "--set", "train.epochs=2"]).ok();
    assert!(ran.stderr.contains("computing on the CPU in f32"), "{}", ran.stderr);
    let old = [("S2PIPE_EMULATE_DRIVER", "12040")];
    let ran = run_with(&project, &old, &["--until", "train", "--set", "train.epochs=3"]).ok();
    assert!(ran.stderr.contains("computing on the CPU, since the NVIDIA driver knows CUDA 12.4"), "{}", ran.stderr);
}

#[test]
fn a_gpu_that_cannot_be_used_is_refused_with_what_to_do() {
    let Some(_) = emulated() else { return };
    let project = Project::fresh();
    let refused = |variables: &[(&str, &str)], device: &str, expected: &str| {
        let ran = run_with(&project, variables, &["--device", device, "--until", "train"]).exit(1);
        let text = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
        assert!(text.contains(expected), "{expected:?} in {text}");
    };
    refused(&[("S2PIPE_CUDA_LIBRARIES", "/nowhere")], "cuda", "no NVIDIA driver was found");
    refused(&[("S2PIPE_EMULATE_DEVICES", "0")], "cuda", "sees no GPU");
    refused(&[], "cuda:3", "there is no GPU 3: this machine has 1");
    refused(&[("S2PIPE_EMULATE_DRIVER", "12080")], "cuda", "the NVIDIA driver knows CUDA 12.8");
    refused(&[("S2PIPE_EMULATE_CAPABILITY", "7.5")], "cuda", "has compute capability 7.5");
    let little = [("S2PIPE_EMULATE_MEMORY", "1500000")];
    refused(&little, "cuda", "the GPU is out of memory");
    refused(&little, "cuda", "batch: auto");
}

#[test]
fn a_gpu_that_is_lost_leaves_the_checkpoint_to_go_on_from() {
    let Some(_) = emulated() else { return };
    let project = Project::fresh();
    let wanted = ["--device", "cuda", "--until", "train", "--set", "train.precision=f32"];
    run_with(&project, &[], &wanted).ok();
    let whole = project.artefacts();
    let project = Project::fresh();
    let lost = run_with(&project, &[("S2PIPE_EMULATE_LOST_AFTER", "2000")], &wanted).exit(1);
    assert!(lost.stderr.contains("the GPU failed in"), "{}", lost.stderr);
    let ran = run_with(&project, &[], &wanted).ok();
    assert!(ran.stderr.contains("training goes on after"), "{}", ran.stderr);
    assert_eq!(project.artefacts(), whole, "the same bytes as without the loss");
}

#[test]
fn little_memory_is_made_do_with() {
    let Some(_) = emulated() else { return };
    let project = Project::fresh();
    let limited = |memory: &str, seed: &str| {
        let wanted = ["--device", "cuda", "--gpu-memory", memory, "--set", "train.batch=auto", "--set", seed];
        run_with(&project, &[], &[&wanted[..], &["--set", "train.epochs=1", "--until", "train"]].concat())
    };
    let ran = limited("1800kB", "seed=1").ok();
    assert!(ran.stderr.contains("a batch is now computed in 2 parts"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("4 parts"), "{}", ran.stderr);
    let ran = limited("1300kB", "seed=2").ok();
    assert!(ran.stderr.contains("every batch is sent to it"), "{}", ran.stderr);
    assert!(ran.stderr.contains("a batch is now computed in 4 parts"), "{}", ran.stderr);
    let refused = limited("500kB", "seed=3").exit(1);
    assert!(refused.stderr.contains("of 500 kB are free"), "{}", refused.stderr);
}

#[test]
fn a_map_is_the_same_with_fewer_windows_at_a_time() {
    let Some(_) = emulated() else { return };
    let short = ["--device", "cuda", "--set", "train.epochs=1", "--set", "predict.overlap=12"];
    let map = |memory: &[&str]| {
        let project = Project::fresh();
        run_with(&project, &[], &[&short[..], &["--until", "train"]].concat()).ok();
        let ran = run_with(&project, &[], &[&short[..], &["--until", "predict"], memory].concat()).ok();
        (ran.stderr, fs::read(project.path("cache/landcover/predict/val_scene_0.tif")).unwrap())
    };
    let (_, expected) = map(&[]);
    let (said, found) = map(&["--gpu-memory", "700kB"]);
    assert!(said.contains("windows are now computed 1 at a time"), "{said}");
    assert_eq!(found, expected);
}

/// The events of a training of `steps` steps without a hold-out score but after the last. Of small patches, so that even a
/// busy machine is done before half a minute is over and a checkpoint copies everything.
fn traced(steps: usize) -> Vec<String> {
    let project = Project::fresh();
    let trace = project.path("trace.txt");
    let sets = [format!("train.steps_per_epoch={steps}"), "train.epochs=1".to_owned(), "train.batch=2".to_owned()];
    let small = ["--set", "patches.size=16", "--set", "patches.stride=16"];
    let args = ["--device", "cuda", "--until", "train", "--set", &sets[0], "--set", &sets[1], "--set", &sets[2]];
    run_with(&project, &[("S2PIPE_EMULATE_TRACE", trace.to_str().unwrap())], &[&args[..], &small].concat()).ok();
    fs::read_to_string(trace).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_step_waits_for_nothing_and_copies_only_its_draws() {
    let Some(_) = emulated() else { return };
    let (short, long) = (traced(16), traced(32));
    let count = |events: &[String], what: &str| events.iter().filter(|e| e.contains(what)).count();
    // Sixteen steps more: one more look at the loss, and one small copy a step, of which patches it takes.
    let more = |what: &str| count(&long, what) - count(&short, what);
    assert_eq!(more("memcpy dtoh"), 1, "looks");
    assert!(more("sync") <= 1, "waits: {}", more("sync"));
    assert_eq!(more("memcpy htod"), 16, "copies to the device");
    assert_eq!(count(&long, "alloc host"), 0, "pinned memory is for patches that do not fit");
}
