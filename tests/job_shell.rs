//! Commands as stages: what they see, what they must leave, and what can be done with it.

mod project;

use std::collections::BTreeSet;
use std::fs;

use project::{PIPELINE, Project, Ran, command, finish, read, shell};
use s2pipe::raster::Reader;

const SORT: &str = "
  sort:
    uses: shell
    inputs: { words: words.txt }
    outputs: { sorted: sorted.txt, count: report/count.txt }
    with: { run: 'sort \"$words\" > sorted.txt; wc -l < \"$words\" > report/count.txt' }
";

#[test]
fn a_command_with_an_input_and_outputs() {
    let project = shell(&format!(
        "{SORT}
  shout:
    uses: shell
    inputs: {{ text: sort.sorted, count: sort.count }}
    outputs: {{ loud: loud.txt }}
    with: {{ run: 'tr a-z A-Z < \"$text\" > loud.txt; cat \"$count\" >> loud.txt' }}
"
    ));
    project.run(&[]).ok();
    assert_eq!(read(&project, "sort/sorted.txt"), "air\nsoil\nwater\n");
    let loud = read(&project, "shout/loud.txt");
    assert_eq!(loud.split_whitespace().collect::<Vec<_>>(), ["AIR", "SOIL", "WATER", "3"]);
    assert!(project.run(&[]).ok().tasks().is_empty());
    // Other words in the same number and order: the second stage is not run for equal bytes.
    fs::write(project.path("words.txt"), "water\nsoil\nair\n").unwrap();
    assert_eq!(project.run(&[]).ok().tasks(), BTreeSet::from(["sort".to_owned()]));
    fs::write(project.path("words.txt"), "fire\n").unwrap();
    assert_eq!(project.run(&[]).ok().tasks().len(), 2);
    assert!(read(&project, "shout/loud.txt").starts_with("FIRE"));
}

#[test]
fn an_output_that_was_not_left() {
    let project = shell(SORT);
    project.edit("> sorted.txt", "> sorted.text");
    let ran = project.run(&[]).exit(1);
    ran.says(&["sort: ", "without leaving its output \"sorted\" (expected at sorted.txt)", "`outputs:`"]);
    assert!(!project.path("cache/landcover/sort").exists(), "half a result is no result");
    project.edit("> sorted.text", "> sorted.txt");
    project.run(&[]).ok();
}

#[test]
fn a_command_that_fails() {
    let project = shell(SORT);
    project
        .edit("sort \"$words\"", "for i in $(seq 50); do echo line $i; done; echo no sorting today >&2; exit 7; sort");
    let ran = project.run(&[]).exit(1).says(&["sort: the command ended with exit code 7", "    no sorting today"]);
    assert!(ran.stderr.contains("    line 50\n") && !ran.stderr.contains("    line 1\n"), "{}", ran.stderr);
    let log = ran.stderr.lines().find_map(|line| line.strip_prefix("the end of ")?.strip_suffix(':')).unwrap();
    assert!(fs::read_to_string(log).unwrap().starts_with("line 1\nline 2\n"), "the whole output is in {log}");

    let fails = |run: &str, phrases: &[&str]| {
        let project = shell(&format!("  a: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{run}' }} }}\n"));
        let ran: Ran = project.run(&[]).exit(1).says(phrases);
        assert!(!project.path("cache/landcover/a").exists(), "{}", ran.stderr);
    };
    fails("touch o; false; true", &["exit code 1", "printed nothing"]);
    fails("touch o; no-such-program --flag", &["was not found", "no-such-program"]);
    fails("touch o; kill -9 $$", &["was killed by signal 9"]);
}

#[test]
fn the_environment_is_what_was_declared() {
    let project = shell(
        "
  look:
    uses: shell
    inputs: { words: words.txt }
    outputs: { env: env.txt, here: here.txt }
    with: { run: 'ls -A > here.txt; env | sort > env.txt' }
",
    );
    let mut run = command(project.root(), &["run"]);
    run.env("SECRET_OF_THE_CALLER", "1").env("LC_ALL", "C").env("PYTHONPATH", "/nowhere");
    finish(run).ok();
    let names: BTreeSet<String> =
        read(&project, "look/env.txt").lines().filter_map(|l| Some(l.split_once('=')?.0.to_owned())).collect();
    // The shell itself sets the last three.
    let allowed =
        ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "S2PIPE_CPUS", "words", "PWD", "SHLVL", "OLDPWD", "_"];
    let strange: Vec<&String> = names.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?} came through");
    assert!(names.contains("PATH") && names.contains("words") && names.contains("TMPDIR"));
    assert_eq!(read(&project, "look/here.txt"), "here.txt\n", "the folder is empty at first");
}

#[test]
fn several_things_on_one_input_are_a_folder() {
    let project = shell(&format!(
        "{SORT}
  list:
    uses: shell
    inputs: {{ scenes: dset-s2-grunnkart/*/val_*_?.tif, texts: [sort.sorted, sort.count, words.txt] }}
    outputs: {{ list: list.txt, out: out }}
    with: {{ run: 'ls \"$scenes\" \"$texts\" > list.txt; mkdir out; cp \"$texts\"/*.txt out/' }}
"
    ));
    project.run(&[]).ok();
    let list = read(&project, "list/list.txt");
    for name in ["val_scene_0.tif", "val_truth_1.tif", "sorted.txt", "count.txt", "words.txt"] {
        assert!(list.contains(name), "{name} is not in\n{list}");
    }
    assert_eq!(read(&project, "list/out/sorted.txt"), "air\nsoil\nwater\n", "an output may be a folder");
}

#[test]
fn what_a_command_leaves_can_be_mapped() {
    let project = Project::finished();
    project.write_pipeline(&format!(
        "{PIPELINE}
  fetch:
    uses: shell
    inputs: {{ source: dset-s2-grunnkart/val_scene/val_scene_0.tif }}
    outputs: {{ scene: fetched/place.tif }}
    with: {{ run: 'cp \"$source\" fetched/place.tif' }}
  map:
    uses: predict
    inputs: {{ model: train, tiles: fetch }}
    with: {{ window: 64, overlap: 16 }}
"
    ));
    assert_eq!(project.run(&[]).ok().tasks(), BTreeSet::from(["fetch".to_owned(), "map/place".to_owned()]));
    let map = project.path("cache/landcover/map/place.tif");
    assert_eq!(Reader::open(&map).unwrap().info().width, 104);
    let artefacts = project.artefacts();
    assert_eq!(artefacts["map/place.tif"], artefacts["predict/val_scene_0.tif"], "as a file or as a tile: one map");
}

#[test]
fn variables_are_declared_and_only_what_is_declared_counts() {
    let project = shell(
        "
  look:
    uses: shell
    outputs: { o: o }
    with:
      run: 'echo $A $B ${TOKEN-unset} ${OTHER-unset} > o'
      env: { A: one two, B: 1e-3 }
      pass: [TOKEN]
",
    );
    let run = |token: Option<&str>| {
        let mut run = command(project.root(), &["run", "-v"]);
        run.env("OTHER", "other").env_remove("TOKEN").envs(token.map(|value| ("TOKEN", value)));
        finish(run).ok().tasks().len()
    };
    assert_eq!(run(Some("secret")), 1);
    assert_eq!(read(&project, "look/o"), "one two 1e-3 secret unset\n");
    assert_eq!(run(Some("another")), 0, "values that are passed on are not in the key");
    assert_eq!(run(None), 0);
    let record = project.s2pipe(&["cache", "show", "look", "--json"]).ok().stdout;
    assert!(record.contains("TOKEN") && !record.contains("secret"), "{record}");
    project.edit("B: 1e-3", "B: 2e-3");
    assert_eq!(run(None), 1);
    assert_eq!(read(&project, "look/o"), "one two 2e-3 unset unset\n");
    project.edit("pass: [TOKEN]", "pass: [OTHER, TOKEN]");
    assert_eq!(run(None), 1);
    assert_eq!(read(&project, "look/o"), "one two 2e-3 unset other\n");
    project.edit("pass: [OTHER, TOKEN]", "pass: [TOKEN, OTHER, TOKEN]");
    assert_eq!(run(None), 0, "the order of names says nothing");
}

#[test]
fn no_variable_is_given_twice() {
    let fails = |with: &str, phrases: &[&str]| {
        let with = format!("{{ run: ls, {with} }}");
        let project = shell(&format!("  a: {{ uses: shell, inputs: {{ words: words.txt }}, with: {with} }}\n"));
        project.s2pipe(&["check"]).exit(2).says(phrases);
    };
    fails("env: { words: 1 }", &["a: with.env: `words` is an input already"]);
    fails("env: { TMPDIR: /tmp }", &["`TMPDIR` is set for every command by s2pipe itself"]);
    fails("pass: [words]", &["a: with.pass: `words` is an input already"]);
    fails("env: { A: 1 }, pass: [A]", &["`A` has a value under `env` already"]);
    fails("pass: [A-B]", &["a.pass.0: `A-B` cannot name a variable"]);
    fails("env: { A: [1] }", &["a.env.A: expected a text or a number, found a list"]);
}

#[test]
fn a_command_is_told_what_it_holds() {
    let project = shell(
        "
  look:
    uses: shell
    outputs: { o: o }
    resources: { cpus: 2, gpus: 2, memory: 1MB }
    with: { run: 'echo $S2PIPE_CPUS ${CUDA_VISIBLE_DEVICES-none} > o' }
",
    );
    let run = |args: &[&str]| {
        let mut run = command(project.root(), &[&["run", "-v", "--force"], args].concat());
        run.env_remove("CUDA_VISIBLE_DEVICES");
        finish(run)
    };
    run(&["-j", "3", "--gpus", "2"]).ok();
    assert_eq!(read(&project, "look/o"), "2 0,1\n");
    run(&["-j", "1", "--set", "look.resources.gpus=0"]).ok();
    assert_eq!(read(&project, "look/o"), "1 none\n");
    run(&["--gpus", "1"]).exit(2).says(&["stage \"look\" asks for 2 GPUs, and there is 1", "`--gpus`"]);
    let memory = ["--set", "look.resources.gpus=0", "--set", "look.resources.memory=2GiB", "--memory", "1.5GB"];
    run(&memory).exit(2).says(&["stage \"look\" asks for 2.1 GB of memory, and there are 1.5 GB", "`--memory`"]);
    run(&["--memory", "much"]).exit(2).says(&["--memory", "`512MB`"]);
}
