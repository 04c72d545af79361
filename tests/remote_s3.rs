//! A cache that is shared through a real S3-compatible server, which is killed when it suits least.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![cfg(feature = "remote")]

mod project;
mod remote_kit;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use project::Ran;
use remote_kit::{Colleague, Moto, STAGES, Server, all, fetched, files_below, installed, noise, objects, warnings};

const URL: &str = "s3://shared/team/cache";

fn colleague(server: &Server, stages: &str) -> Colleague {
    Colleague::new(stages, URL, &server.variables())
}

fn team(server: &Server) -> std::path::PathBuf {
    server.bucket().join("team/cache")
}

/// Waits for something to come about.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what} never came about");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    files_below(folder).iter().filter_map(|path| fs::metadata(folder.join(path)).ok()).map(|meta| meta.len()).sum()
}

fn start(one: &Colleague, args: &[&str]) -> Child {
    one.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn what_one_has_made_the_other_does_not_make_again() {
    let Some(program) = installed() else { return };
    let server = Server::start(&program);
    let stages = format!("{STAGES}{}", noise(30_000_000));
    let (one, other) = (colleague(&server, &stages), colleague(&server, &stages));
    let ran = one.run(&["--push", "always"]).says(&["pushed 3 result(s)"]);
    assert!(warnings(&ran).is_empty(), "{}", ran.stderr);
    let ran = other.run(&[]);
    assert_eq!((fetched(&ran).len(), ran.tasks().len()), (3, 0), "{}", ran.stderr);
    for artefact in ["make/folder/numbers.txt", "shout/loud.txt", "noise/o"] {
        assert!(one.read(artefact) == other.read(artefact), "{artefact}");
    }
    let told = other.s2pipe(&["cache", "remote", "--json"]).ok().json();
    assert_eq!(told["results"], 3);
}

#[test]
fn wrong_bytes_in_the_bucket_are_made_again_and_put_right() {
    let Some(program) = installed() else { return };
    let server = Server::start(&program);
    colleague(&server, STAGES).share();
    for object in ["files", "trees", "actions"].map(|kind| objects(&team(&server), kind)).concat() {
        let mut bytes = fs::read(&object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&object, bytes).unwrap();
    }
    let ran = colleague(&server, STAGES).run(&["--push", "always"]);
    assert_eq!((ran.tasks(), warnings(&ran).len()), (all(), 2), "{}", ran.stderr);
    assert_eq!(fetched(&colleague(&server, STAGES).run(&[])), all());
}

#[test]
fn a_server_that_dies_while_taking_shows_nothing_half() {
    let Some(program) = installed() else { return };
    let mut server = Server::start(&program);
    let stages = noise(120_000_000);
    let one = colleague(&server, &stages);
    let child = start(&one, &["run", "-v", "--push", "always"]);
    wait_until("the first part", || bytes_below(server.root()) > 10_000_000);
    server.kill();
    let ran = end(child).ok().says(&["1 result(s) were not pushed"]);
    assert_eq!(warnings(&ran).len(), 1, "{}", ran.stderr);
    assert!(objects(&team(&server), "files").is_empty(), "half a file is visible");
    assert!(objects(&team(&server), "actions").is_empty());

    server.start_again();
    one.s2pipe(&["cache", "push"]).ok().says(&["pushed 1 result(s)"]);
    let other = colleague(&server, &stages);
    assert_eq!(fetched(&other.run(&[])).len(), 1);
    assert!(one.read("noise/o") == other.read("noise/o"));
}

#[test]
fn a_server_that_dies_while_giving_costs_a_warning() {
    let Some(program) = installed() else { return };
    let mut server = Server::start(&program);
    let stages = format!("{STAGES}{}", noise(200_000_000));
    colleague(&server, &stages).share();
    let other = colleague(&server, &stages);
    let scratch = other.project.path("cache/.s2pipe/tmp");
    let child = start(&other, &["run", "-v"]);
    wait_until("the first bytes", || bytes_below(&scratch) > 1_000_000);
    server.kill();
    let ran = end(child).ok();
    assert!(ran.tasks().contains("noise"), "{}", ran.stderr);
    assert_eq!(warnings(&ran).len(), 1, "{}", ran.stderr);
    assert_eq!(other.read("noise/o").len(), 200_000_000);
    other.s2pipe(&["cache", "verify"]).ok();
    assert!(files_below(&scratch).is_empty(), "nothing is left of what came");
}

#[test]
fn credentials_are_told_to_nobody() {
    let Some(program) = installed() else { return };
    let server = Server::start(&program);
    let secret = server.variables()[4].1.to_owned();
    let one = colleague(&server, STAGES);
    let mut command = one.command(&["run", "-vv", "--push", "always"]);
    let mut said = vec![
        project::finish({
            command.env("S2PIPE_LOG", "trace");
            command
        })
        .ok(),
    ];
    // The same with a wrong one, so that the server has something to complain of.
    let wrong = "s2pipe-wrong-secret-0123456789";
    let other = colleague(&server, STAGES);
    let mut command = other.command(&["run", "-vv", "--push", "always"]);
    command.env("S2PIPE_LOG", "trace").env("AWS_SECRET_ACCESS_KEY", wrong);
    said.push(project::finish(command).ok());
    assert_eq!(warnings(&said[1]).len(), 1, "{}", said[1].stderr);
    said.push(other.s2pipe(&["cache", "remote"]));
    for secret in [secret.as_str(), wrong] {
        for ran in &said {
            assert!(!ran.stderr.contains(secret) && !ran.stdout.contains(secret), "{}", ran.stderr);
        }
        for folder in [one.project.path("cache"), other.project.path("cache"), server.bucket()] {
            for file in files_below(&folder) {
                let bytes = fs::read(folder.join(&file)).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(secret) && !file.to_string_lossy().contains(secret), "{}", file.display());
            }
        }
    }
    // What signs a request is not written down either.
    assert!(said.iter().all(|ran| !ran.stderr.contains("Signature=")));
}

/// A second server, by others, that makes no buckets of its own accord.
#[test]
fn another_server_and_a_bucket_that_does_not_exist() {
    let Some(moto) = Moto::start() else { return };
    let stages = format!("{STAGES}{}", noise(30_000_000));
    let new = || Colleague::new(&stages, "s3://team/cache", &moto.variables());
    let one = new();
    let ran = one.run(&["--push", "always"]).says(&["NoSuchBucket"]);
    assert_eq!((ran.tasks().len(), warnings(&ran).len()), (3, 1), "{}", ran.stderr);
    moto.make_bucket("team");
    one.s2pipe(&["cache", "push"]).ok().says(&["pushed 3 result(s)"]);
    let other = new();
    assert_eq!(fetched(&other.run(&[])).len(), 3);
    assert!(one.read("noise/o") == other.read("noise/o"));
}
