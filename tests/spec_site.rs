//! Where a pipeline runs: what `executor`, `slurm` and `remote` mean, in a pipeline and in a personal file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::time::Duration;

use s2pipe::spec::{
    Allocation, Diagnostics, ExecutorName, Override, Pipeline, Push, RemoteSettings, Site, SlurmSettings,
    load_site_file, parse,
};

#[path = "spec/kinds.rs"]
mod kinds;
use kinds::KINDS;

const STAGES: &str = "stages:
  ingest: { uses: ingest, with: { val: { scenes: raw/a.tif, truth: raw/a.tif } } }
  patches: { uses: patches, inputs: { tiles: ingest } }
  train: { uses: train, inputs: { patches: patches } }
";

/// Every key, and stages below.
const EVERYTHING: &str = include_str!("spec/pipelines/landcover-site.yaml");

fn set(site: &str, changes: &[&str]) -> Result<Pipeline, Diagnostics> {
    let changes: Vec<Override> = changes.iter().map(|c| Override::parse(c).unwrap()).collect();
    let stages = if site.contains("\nstages:") { "" } else { STAGES };
    parse(&format!("{site}{stages}"), Path::new("tests/spec/pipelines/landcover.yaml"), &changes, KINDS)
}

fn pipeline(site: &str) -> Pipeline {
    set(site, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn site(text: &str) -> Site {
    pipeline(text).site
}

fn personal(text: &str) -> Result<Site, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    load_site_file(&file, KINDS)
}

fn texts(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|&text| text.to_owned()).collect())
}

fn minutes(minutes: u64) -> Option<Duration> {
    Some(Duration::from_secs(minutes * 60))
}

#[test]
fn every_key_is_read() {
    let all = Allocation {
        partition: Some("normal".into()),
        account: Some("nn1234k".into()),
        time: minutes(60),
        cpus: Some(4),
        memory: Some(16_000_000_000),
        gpus: Some(0),
        nodes: Some(1),
        options: texts(&["--qos=devel", "--exclusive"]),
        setup: texts(&["module load CUDA/12.4"]),
        pack: Some(50),
    };
    let train =
        Allocation { partition: Some("accel".into()), gpus: Some(1), time: minutes(360), ..Allocation::default() };
    let ingest = Allocation { time: minutes(10), pack: Some(100), ..Allocation::default() };
    let expected = Site {
        executor: Some(ExecutorName::Slurm),
        slurm: SlurmSettings {
            all,
            kinds: [("train".to_owned(), train)].into(),
            stages: [("ingest".to_owned(), ingest)].into(),
            array: Some(1000),
            submit_rate: Some(2.0),
        },
        remote: RemoteSettings { url: Some("s3://bucket/prefix".into()), push: Some(Push::Always) },
    };
    assert_eq!(site(EVERYTHING), expected);
    let personal = personal(EVERYTHING.strip_suffix(STAGES).unwrap()).unwrap();
    assert_eq!(personal, expected, "a personal file has the same keys");
}

#[test]
fn what_is_not_said_is_not_there() {
    for nothing in ["", "slurm:\nremote:\n", "slurm: { kinds: , stages: { train: } }\nremote: {}\n"] {
        let found = site(nothing);
        assert_eq!((found.executor, &found.remote), (None, &RemoteSettings::default()));
        assert_eq!(found.slurm.allocation("train", "train"), Allocation::default());
    }
    for empty in ["", "# nothing yet\n", "{}\n", "slurm:\n"] {
        assert_eq!(personal(empty).unwrap(), Site::default());
    }
}

#[test]
fn a_stage_is_stronger_than_its_kind_and_a_kind_than_all() {
    let slurm = site(
        "slurm:
  partition: normal
  time: 1h
  setup: [a, b]
  kinds: { train: { partition: accel, time: 6h, setup: [c] }, shell: { time: 2h } }
  stages: { train: { time: 9h, setup: [] } }
",
    )
    .slurm;
    let of = |stage, kind| slurm.allocation(stage, kind);
    let train = of("train", "train");
    assert_eq!((train.partition.as_deref(), train.time, train.setup), (Some("accel"), minutes(540), texts(&[])));
    let other = of("train-wide", "train");
    assert_eq!((other.partition.as_deref(), other.time, other.setup), (Some("accel"), minutes(360), texts(&["c"])));
    let patches = of("patches", "patches");
    assert_eq!((patches.partition.as_deref(), patches.time), (Some("normal"), minutes(60)));
    assert_eq!(patches.setup, texts(&["a", "b"]));
}

#[test]
fn a_pipeline_is_stronger_than_a_personal_file_key_by_key() {
    let mine = personal(
        "executor: slurm
slurm:
  account: nn1234k
  time: 1h
  options: [--qos=devel, --exclusive]
  setup: [module load A]
  array: 500
  kinds: { train: { partition: accel, time: 6h, gpus: 2 } }
  stages: { elsewhere: { time: 1m } }
remote: { url: 's3://mine', push: never }
",
    )
    .unwrap();
    let text = "slurm:
  time: 2h
  options: [--qos=normal]
  kinds: { train: { gpus: 1 } }
  stages: { train: { cpus: 8 } }
remote: { url: 's3://ours' }
";
    let both = site(text).over(mine.clone());
    assert_eq!(both.executor, Some(ExecutorName::Slurm));
    assert_eq!(both.remote, RemoteSettings { url: Some("s3://ours".into()), push: Some(Push::Never) });
    assert_eq!((both.slurm.array, both.slurm.submit_rate), (Some(500), None));
    let patches = both.slurm.allocation("patches", "patches");
    assert_eq!((patches.account.as_deref(), patches.time), (Some("nn1234k"), minutes(120)));
    assert_eq!((patches.options, patches.setup), (texts(&["--qos=normal"]), texts(&["module load A"])));
    let train = both.slurm.allocation("train", "train");
    assert_eq!((train.partition.as_deref(), train.time), (Some("accel"), minutes(360)), "a kind is stronger than all");
    assert_eq!((train.gpus, train.cpus), (Some(1), Some(8)));
    assert_eq!(both.slurm.allocation("elsewhere", "shell").time, minutes(1));
    assert_eq!(Site::default().over(mine.clone()), mine);
    assert_eq!(mine.clone().over(Site::default()), mine);
}

#[test]
fn settings_are_set_like_any_key_at_the_margin() {
    let changes = [
        "executor=local",
        "slurm.partition=devel",
        "slurm.options=[]",
        "slurm.kinds.train.time=30m",
        "slurm.stages.patches={ pack: 1 }",
        "remote.push=ask",
    ];
    let changed = set(EVERYTHING, &changes).unwrap_or_else(|problems| panic!("{problems}")).site;
    assert_eq!(changed.executor, Some(ExecutorName::Local));
    assert_eq!(changed.slurm.all.partition.as_deref(), Some("devel"));
    assert_eq!(changed.slurm.all.options, texts(&[]));
    assert_eq!(changed.slurm.kinds["train"].time, minutes(30));
    assert_eq!(changed.slurm.kinds["train"].gpus, Some(1));
    assert_eq!(changed.slurm.stages["patches"].pack, Some(1));
    assert_eq!(changed.remote.push, Some(Push::Ask));
    let made = set("", &["slurm.partition=devel", "remote.url='file:///shared'"]).unwrap().site;
    assert_eq!(made.slurm.all.partition.as_deref(), Some("devel"));
    assert_eq!(made.remote.url.as_deref(), Some("file:///shared"));
}

#[test]
fn addresses_of_every_kind_of_store_are_taken_as_written() {
    for url in [
        "s3://bucket",
        "s3://bucket/a/b/",
        "gs://bucket/a",
        "az://container/a",
        "abfs://container@account.dfs.core.windows.net/a",
        "abfss://container@account.dfs.core.windows.net",
        "http://127.0.0.1:9000/a",
        "https://host.no/a@b",
        "file:///shared/cache",
    ] {
        assert_eq!(site(&format!("remote: {{ url: '{url}' }}\n")).remote.url.as_deref(), Some(url));
    }
}

#[test]
fn options_of_sbatch_that_are_nobody_s_are_given_as_written() {
    let options = [
        "--qos=devel",
        "--exclusive",
        "--gres=gpu:a100:1",
        "--mem-per-cpu=4G",
        "--gpus-per-task=1",
        "--constraint=[a|b]",
        "--mail-type=END",
        "--time-min=10",
        "--nodelist=c1-[1-4]",
        "--begin=2030-01-01 12:00",
    ];
    let text = format!("slurm: {{ options: {} }}\n", serde_json::to_string(&options).unwrap());
    assert_eq!(site(&text).slurm.all.options, texts(&options));
}

#[test]
fn a_password_is_not_printed_again() {
    for text in ["remote: { url: 'https://ane:hemmelig@host.no' }\n", "remote: 'https://ane:hemmelig@host.no'\n"] {
        let problems = set(text, &["seed=https://ane:hemmelig@host.no"]).unwrap_err();
        let shown = format!("{problems}{}{}", problems.render(true), problems.to_json());
        assert!(shown.contains("ane:********@host.no") && !shown.contains("hemmelig"), "{shown}");
    }
    let user = set("remote: { url: 's3://key:a/b@bucket' }\n", &[]).unwrap_err().to_string();
    assert!(user.contains("credentials come from the environment") && !user.contains("a/b"), "{user}");
}

#[test]
fn the_record_of_a_pipeline_does_not_say_where_it_runs() {
    assert_eq!(pipeline(EVERYTHING).to_json(), pipeline("").to_json());
}

#[test]
fn every_error_of_a_personal_file_reads_as_in_its_snapshot() {
    for name in ["broken", "list", "unknown-keys", "wrong-values", "missing"] {
        let file = format!("tests/spec/settings/{name}.yaml");
        let text = load_site_file(Path::new(&file), KINDS).unwrap_err().render(false);
        assert!(text.starts_with(&file), "{text}");
        insta::with_settings!({
            snapshot_path => "spec/snapshots",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!(format!("settings-{name}"), text) });
    }
}
