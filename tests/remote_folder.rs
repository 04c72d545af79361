//! A cache that is shared through a folder or a web server: what colleagues get from each other, and what happens when
//! something there is not as it should be.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![cfg(feature = "remote")]

mod project;
mod remote_kit;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use remote_kit::{Colleague, STAGES, Silent, TASKS, Web, all, fetched, files_below, noise, objects, warnings};

fn share() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn colleague(remote: &Path) -> Colleague {
    Colleague::new(STAGES, remote.to_str().unwrap(), &[])
}

#[test]
fn what_one_has_made_the_other_does_not_make_again() {
    let remote = share();
    let (one, other) = (colleague(remote.path()), colleague(remote.path()));
    let ran = one.run(&["--push", "always"]).says(&["pushed 2 result(s)"]);
    assert_eq!(ran.tasks(), all());
    assert_eq!(fs::read_to_string(remote.path().join("s2pipe-remote")).unwrap(), "s2pipe remote 1\n");
    // text.txt, numbers.txt, words.txt (sorted and not), loud.txt, the log of `make`.
    assert_eq!(["actions", "trees", "files"].map(|kind| objects(remote.path(), kind).len()), [2, 1, 5]);

    let ran = other.run(&[]);
    assert!(ran.tasks().is_empty() && warnings(&ran).is_empty(), "{}", ran.stderr);
    assert_eq!(fetched(&ran), all());
    assert!(ran.stdout.contains("1 fetched"), "{}", ran.stdout);
    for artefact in ["make/text.txt", "make/folder/numbers.txt", "make/folder/words.txt", "shout/loud.txt"] {
        assert!(one.read(artefact) == other.read(artefact), "{artefact}");
    }
    let again = other.run(&[]);
    assert!(again.tasks().is_empty() && fetched(&again).is_empty());
    other.s2pipe(&["cache", "verify"]).ok();
    // A log is part of a result.
    assert!(other.s2pipe(&["cache", "show", "make"]).ok().stdout.contains("made"));
}

#[test]
fn paths_of_one_machine_are_not_told_to_the_others() {
    let remote = share();
    let one = colleague(remote.path());
    one.share();
    let place = one.project.root().to_str().unwrap();
    for action in objects(remote.path(), "actions") {
        let text = fs::read_to_string(&action).unwrap();
        assert!(!text.contains(place), "{text}");
    }
    let other = colleague(remote.path());
    other.run(&[]);
    assert!(other.s2pipe(&["cache", "show", "make"]).ok().stdout.contains("words: words.txt"));
}

#[test]
fn nothing_is_pushed_that_was_not_asked_for() {
    let remote = share();
    let one = colleague(remote.path());
    one.run(&["--push", "never"]);
    assert!(files_below(remote.path()).is_empty());
    let two = colleague(remote.path());
    two.run(&[]).says(&["2 new result(s)", "not pushed", "--push always"]);
    assert!(files_below(remote.path()).is_empty());
    let three = colleague(remote.path());
    three.run(&["--no-remote"]);
    three.s2pipe(&["run", "--no-remote", "--push", "always"]).exit(2);
    assert!(files_below(remote.path()).is_empty());
}

/// What was planted in an object, and how.
fn spoil(object: &Path, how: &str) {
    let bytes = fs::read(object).unwrap();
    let spoilt = match how {
        "flipped" => bytes.iter().enumerate().map(|(i, b)| if i == bytes.len() / 2 { b ^ 4 } else { *b }).collect(),
        "cut off" => bytes[..bytes.len() / 2].to_vec(),
        "empty" => Vec::new(),
        "of another" => zstd::encode_all(&b"something else"[..], 1).unwrap(),
        _ => panic!("{how}"),
    };
    fs::remove_file(object).unwrap();
    fs::write(object, spoilt).unwrap();
}

#[test]
fn wrong_bytes_are_seen_told_of_made_again_and_put_right() {
    for (kind, how) in [
        ("files", "flipped"),
        ("files", "cut off"),
        ("files", "empty"),
        ("files", "of another"),
        ("trees", "flipped"),
        ("trees", "cut off"),
        ("trees", "empty"),
        ("actions", "flipped"),
        ("actions", "cut off"),
        ("actions", "empty"),
    ] {
        let remote = share();
        colleague(remote.path()).share();
        let spoilt = objects(remote.path(), kind);
        spoilt.iter().for_each(|object| spoil(object, how));

        let victim = colleague(remote.path());
        let ran = victim.run(&["--push", "always"]);
        let tasks = if kind == "trees" { BTreeSet::from(["make".to_owned()]) } else { all() };
        assert_eq!(ran.tasks(), tasks, "{kind} {how}: {}", ran.stderr);
        let warned = warnings(&ran);
        assert_eq!(warned.len(), tasks.len(), "{kind} {how}: one warning a result: {}", ran.stderr);
        for warning in warned {
            let named = |object: &std::path::PathBuf| {
                warning.contains(object.strip_prefix(remote.path()).unwrap().to_str().unwrap())
            };
            assert!(spoilt.iter().any(named), "{kind} {how}: names no object: {warning}");
        }
        assert_eq!(victim.read("shout/loud.txt"), b"AIR\nSOIL\nWATER\n");
        victim.s2pipe(&["cache", "verify"]).ok();

        let next = colleague(remote.path()).run(&[]);
        assert_eq!(fetched(&next), all(), "{kind} {how} was not put right: {}", next.stderr);
        assert!(warnings(&next).is_empty());
    }
}

#[test]
fn an_object_that_is_gone_is_put_there_again() {
    let remote = share();
    let one = colleague(remote.path());
    one.share();
    fs::remove_file(&objects(remote.path(), "trees")[0]).unwrap();
    // Its owner does not notice by itself, and need not: the one who misses it does.
    one.s2pipe(&["cache", "push"]).ok().says(&["all 2 result(s) are in"]);
    let ran = colleague(remote.path()).run(&["--push", "always"]).says(&["trees/", "not there"]);
    assert_eq!(ran.tasks(), ["make".to_owned()].into());
    assert_eq!(fetched(&colleague(remote.path()).run(&[])), all());
    // Or is told to put everything there again.
    fs::remove_file(&objects(remote.path(), "trees")[0]).unwrap();
    one.s2pipe(&["cache", "push", "--again"]).ok().says(&["pushed 2 result(s)"]);
    assert_eq!(fetched(&colleague(remote.path()).run(&[])), all());
}

#[test]
fn a_large_file_goes_there_and_back_in_parts() {
    let remote = share();
    let stages = noise(30_000_000);
    let (one, other) = [(); 2].map(|()| Colleague::new(&stages, remote.path().to_str().unwrap(), &[])).into();
    one.share();
    let stored: u64 = objects(remote.path(), "files").iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(stored > 30_000_000, "{stored} bytes are not more than three parts of 8 MiB");
    assert_eq!(fetched(&other.run(&[])).len(), 1);
    assert!(one.read("noise/o") == other.read("noise/o"));
}

#[test]
fn two_push_the_same_at_the_same_time() {
    let remote = share();
    let stages = format!("{STAGES}{}", noise(20_000_000));
    let both = [(); 2].map(|()| Colleague::new(&stages, remote.path().to_str().unwrap(), &[]));
    let started = both.each_ref().map(|one| {
        let mut command = one.command(&["run", "-v", "--push", "always"]);
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap()
    });
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let third = Colleague::new(&stages, remote.path().to_str().unwrap(), &[]);
    let ran = third.run(&[]);
    assert_eq!((fetched(&ran).len(), ran.tasks().len()), (3, 0), "{}", ran.stderr);
    let made = third.read("noise/o");
    assert!(both.iter().any(|one| one.read("noise/o") == made), "noise is that of one of the two");
}

#[test]
fn commands_fetch_push_and_tell() {
    let remote = share();
    let one = colleague(remote.path());
    one.s2pipe(&["cache", "remote"]).ok();
    one.run(&["--push", "never"]);
    one.s2pipe(&["cache", "push", "shout"]).ok().says(&["pushed 1 result(s)"]);
    one.s2pipe(&["cache", "push"]).ok().says(&["pushed 1 result(s) (1 were there)"]);
    one.s2pipe(&["cache", "push", "nothing"]).exit(1).says(&["nothing"]);
    let told = one.s2pipe(&["cache", "remote", "--json"]).ok().json();
    assert_eq!((&told["format"], &told["results"], &told["reachable"]), (&1.into(), &2.into(), &true.into()));

    let other = colleague(remote.path());
    other.s2pipe(&["cache", "fetch"]).ok().says(&["fetched 2 result(s)", "nothing left to run"]);
    assert_eq!(other.s2pipe(&["status"]).code, Some(0));
    // By name comes back what has been thrown away.
    other.run(&["--no-remote"]);
    for kept in files_below(&other.project.path("cache/.s2pipe/store/files")) {
        fs::remove_file(other.project.path("cache/.s2pipe/store/files").join(kept)).unwrap();
    }
    other.s2pipe(&["cache", "fetch", "make"]).ok().says(&["fetched 1 result(s)"]);
    assert_eq!(other.run(&["--no-remote"]).tasks(), ["shout".to_owned()].into());
    // What nobody has made is no mistake.
    other.project.edit("echo made", "echo made anew");
    other.s2pipe(&["cache", "fetch"]).ok().says(&["fetched 0 result(s)", "2 task(s) are left to run"]);
}

#[test]
fn a_remote_of_another_format_is_left_alone() {
    for text in ["s2pipe remote 2\n", "<html>hello</html>"] {
        let remote = share();
        fs::write(remote.path().join("s2pipe-remote"), text).unwrap();
        let one = colleague(remote.path());
        let ran = one.run(&["--push", "always"]);
        assert_eq!((ran.tasks(), warnings(&ran).len()), (all(), 1), "{}", ran.stderr);
        assert_eq!(files_below(remote.path()).len(), 1, "nothing was pushed");
        for command in ["remote", "push", "fetch"] {
            one.s2pipe(&["cache", command]).exit(1).says(&["s2pipe-remote"].map(|_| "remote"));
        }
    }
}

#[test]
fn without_the_remote_the_run_goes_on_with_one_warning() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = Silent::listen();
    for url in [format!("http://127.0.0.1:{closed}/cache"), silent.url(), "/nowhere/at/all".to_owned()] {
        let begun = Instant::now();
        let one = Colleague::new(STAGES, &url, &[]);
        let ran = one.run(&["--push", "always"]);
        assert_eq!(ran.tasks(), all());
        assert_eq!(warnings(&ran).len(), 1, "{}", ran.stderr);
        assert!(begun.elapsed() < Duration::from_secs(25), "{url} took {:?}", begun.elapsed());
        one.s2pipe(&["cache", "remote"]).exit(1);
        let told = one.s2pipe(&["cache", "remote", "--json"]).exit(1);
        assert!(told.stdout.is_empty() || told.json()["reachable"] == false);
    }
}

#[test]
fn a_web_server_gives_and_takes_nothing() {
    let remote = share();
    let stages = format!("{STAGES}{}", noise(20_000_000));
    Colleague::new(&stages, remote.path().to_str().unwrap(), &[]).share();
    let web = Web::serve(remote.path());
    let other = Colleague::new(&stages, &web.url(), &[]);
    assert_eq!(fetched(&other.run(&["--push", "always"])).len(), 3);
    // What it makes itself it cannot push: one warning, and what is there still comes.
    other.project.edit("tr a-z A-Z", "tr a-y A-Y");
    other.project.edit("sort \"$words\"", "sort -r \"$words\"");
    let ran = other.run(&["--push", "always"]).says(&["nothing more is pushed", "403 Forbidden"]);
    assert_eq!((ran.tasks(), warnings(&ran).len()), (all(), 1), "{}", ran.stderr);
    other.s2pipe(&["cache", "push"]).exit(1);
}

#[test]
fn secrets_have_no_place_in_an_address() {
    for url in ["https://me:hunter2@example.org/x", "s3://hunter2@bucket/x", "https://example.org/x?sig=hunter2"] {
        let one = colleague(Path::new("/unused"));
        for args in
            [&["run", "--remote", url][..], &["cache", "push", "--remote", url], &["cache", "remote", "--remote", url]]
        {
            let ran = one.s2pipe(args).exit(2).says(&["environment"]);
            assert!(!format!("{}{}", ran.stderr, ran.stdout).contains("hunter2"), "{}", ran.stderr);
        }
    }
    let one = Colleague::new(STAGES, "", &[]);
    one.s2pipe(&["cache", "push"]).exit(2).says(&["no shared cache is named", "S2PIPE_REMOTE"]);
    one.s2pipe(&["run", "--remote", "ftp://example.org"]).exit(2).says(&["ftp", "s3://"]);
}

#[test]
fn a_pipeline_names_its_remote() {
    let remote = share();
    let named = |push: &str| {
        let one = Colleague::new(STAGES, "", &[]);
        let url = remote.path().to_str().unwrap();
        one.project.edit("stages:\n", &format!("remote: {{ url: \"file://{url}\", push: {push} }}\nstages:\n"));
        one
    };
    assert_eq!(named("always").run(&[]).tasks(), TASKS.map(str::to_owned).into());
    assert_eq!(fetched(&named("never").run(&[])), all());
    named("never").s2pipe(&["cache", "remote"]).ok();
}
