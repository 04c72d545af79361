//! Commands that hang, fail now and then, are interrupted, or do what they must not.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod project;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use project::{Project, Running, read, shell};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A number of seconds to sleep that no other process has among its arguments.
fn unique() -> String {
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("1000.{}{count:04}", std::process::id())
}

/// Processes that have this text among their arguments.
fn alive(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    let lines = processes.filter_map(|file| Some(String::from_utf8_lossy(&fs::read(file).ok()?).into_owned()));
    // The program under test has no such arguments, nor has this one.
    lines.filter(|line| line.contains(text)).collect()
}

/// Within the second that is promised, and then some for a machine with other things to do.
#[track_caller]
fn all_gone(text: &str) {
    let begun = Instant::now();
    while !alive(text).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?} are still there", alive(text));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a `sleep` with this argument has begun. A shell that waits for it does not miss a signal any more.
#[track_caller]
fn wait_for_sleep(running: &mut Running, seconds: &str) {
    let line = format!("sleep\0{seconds}\0");
    running.wait_until("the command slept", |_| alive(&line).contains(&line));
}

/// A run of a stage that starts two sleepers and then sleeps itself.
fn sleepers(project: &Project, seconds: &str, first: &str) -> Running {
    project.write_pipeline(&format!(
        "name: landcover
stages:
  sleep:
    uses: shell
    outputs: {{ o: o }}
    with:
      run: |
        {first}
        sleep {seconds} &
        (sleep {seconds}) &
        sleep {seconds}1
"
    ));
    let mut running = project.start(&[]);
    wait_for_sleep(&mut running, &format!("{seconds}1"));
    assert!(alive(seconds).len() >= 3, "{:?}", alive(seconds));
    running
}

/// The summary of the only run.
fn summary(project: &Project) -> Value {
    let mut runs = fs::read_dir(project.path("cache/.s2pipe/runs")).unwrap();
    let run = runs.next().unwrap().unwrap().path();
    assert!(runs.next().is_none());
    serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap()
}

#[test]
fn commands_die_with_a_run_that_is_killed() {
    let (project, seconds) = (Project::fresh(), unique());
    let running = sleepers(&project, &seconds, "trap '' TERM INT HUP");
    assert_eq!(running.signal(Signal::KILL), None);
    all_gone(&seconds);
}

#[test]
fn the_first_signal_lets_commands_tidy_up() {
    for signal in [Signal::INT, Signal::TERM] {
        let (project, seconds) = (Project::fresh(), unique());
        let tidied = project.path("tidied");
        let running = sleepers(&project, &seconds, &format!("trap 'touch \"{}\"; exit 1' TERM", tidied.display()));
        assert_eq!(running.signal(signal), Some(130));
        assert!(tidied.exists(), "the command had no time to tidy up");
        all_gone(&seconds);
        let summary = summary(&project);
        assert_eq!((&summary["ok"], &summary["interrupted"]), (&false.into(), &true.into()));
        assert!(summary["failures"].as_array().unwrap().is_empty());
        assert!(fs::read_dir(project.path("cache/.s2pipe/tmp")).unwrap().next().is_none(), "scratch is left");
    }
}

/// The shell ends at the signal, the program that it waits for does so a little later.
#[test]
fn programs_that_a_command_waits_for_can_tidy_up_too() {
    let (project, seconds) = (Project::fresh(), unique());
    let tidied = project.path("tidied");
    let tidy = format!("sh -c \"trap 'sleep 0.5; touch {}; exit' TERM; sleep {seconds}2\" &", tidied.display());
    let mut running = sleepers(&project, &seconds, &tidy);
    wait_for_sleep(&mut running, &format!("{seconds}2"));
    assert_eq!(running.signal(Signal::TERM), Some(130));
    assert!(tidied.exists(), "the program had no time to tidy up");
    all_gone(&seconds);
}

/// Somebody kills the watchdog. The next command starts another one, which knows of the commands before it.
#[test]
fn the_watchdog_is_started_again() {
    let (first, second) = (unique(), unique());
    let project = shell(&format!(
        "
  first: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: 'touch ROOT/up1; sleep {first}' }} }}
  gate: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: 'until test -e ROOT/go; do sleep 0.02; done; touch o' }} }}
  second: {{ uses: shell, needs: gate, outputs: {{ o: o }}, with: {{ run: 'touch ROOT/up2; sleep {second}' }} }}
"
    ));
    let path = project.path("pipelines/landcover.yaml");
    let text = fs::read_to_string(&path).unwrap().replace("ROOT", project.root().to_str().unwrap());
    fs::write(&path, text).unwrap();
    let mut running = project.start(&["-j", "3"]);
    running.wait_until("the first command was up", |root| root.join("up1").exists());
    let watchdogs = running.children().into_iter().filter(|(_, line)| line.contains("kill -s KILL"));
    let watchdogs: Vec<Pid> = watchdogs.map(|(id, _)| id).collect();
    assert_eq!(watchdogs.len(), 1, "one watchdog for all commands");
    kill_process(watchdogs[0], Signal::KILL).unwrap();
    fs::write(project.path("go"), "").unwrap();
    running.wait_until("the second command was up", |root| root.join("up2").exists());
    running.signal(Signal::KILL);
    all_gone(&first);
    all_gone(&second);
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let (project, seconds) = (Project::fresh(), unique());
    let asked = project.path("asked");
    let mut running =
        sleepers(&project, &seconds, &format!("trap 'touch \"{}\"; sleep {seconds}' TERM", asked.display()));
    running.send(Signal::INT);
    running.wait_until("the command was asked to stop", |_| asked.exists());
    running.send(Signal::INT);
    let begun = Instant::now();
    assert_eq!(running.wait(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(3), "it waited for the command");
    all_gone(&seconds);
}

#[test]
fn a_command_that_takes_too_long_is_stopped_with_all_that_it_started() {
    let seconds = unique();
    let project = shell(&format!(
        "
  slow:
    uses: shell
    timeout: 2s
    outputs: {{ o: o }}
    with: {{ run: 'trap \"echo tidied; exit\" TERM; echo begun; touch o; sleep {seconds} & sleep {seconds}' }}
"
    ));
    let ran = project.run(&[]).exit(1).says(&["slow: stopped at its timeout of 2 s", "`timeout:`", "    begun\n"]);
    assert!(ran.stderr.contains("    tidied\n") || ran.stderr.contains("Terminated"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the end of ") && !project.path("cache/landcover/slow").exists());
    all_gone(&seconds);
    // From the command line, for one run.
    project.edit(&format!("sleep {seconds} & sleep {seconds}"), "sleep 4");
    project.run(&[]).exit(1);
    project.run(&["--set", "slow.timeout=1h"]).ok();
    project.run(&[]).ok();
    assert_eq!(summary_of_status(&project), 0, "the timeout is not in the key");
}

fn summary_of_status(project: &Project) -> i32 {
    project.s2pipe(&["status"]).code.unwrap()
}

#[test]
fn a_command_that_fails_now_and_then_is_tried_again() {
    let project = shell(
        "
  fetch:
    uses: shell
    retries: 2
    outputs: { o: o }
    with: { run: 'ls -A; echo x >> COUNT; echo attempt $(wc -l < COUNT); touch o rest; test $(wc -l < COUNT) -ge 3' }
",
    );
    let path = project.path("pipelines/landcover.yaml");
    let text = fs::read_to_string(&path).unwrap().replace("COUNT", project.path("count").to_str().unwrap());
    fs::write(&path, text).unwrap();
    let ran = project.run(&[]).ok();
    let news = |n: u32| format!("fetch: attempt {n} of 3 failed: the command ended with exit code 1\n");
    assert!(ran.stderr.contains(&news(1)) && ran.stderr.contains(&news(2)), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(project.path("count")).unwrap().lines().count(), 3);
    project.run(&["--force", "--set", "fetch.retries=0"]).ok();
    fs::remove_file(project.path("count")).unwrap();
    let ran = project.run(&["--force", "--set", "fetch.retries=1"]).exit(1);
    let ran = ran.says(&["fetch: the command ended with exit code 1 (attempt 2 of 2)", "    attempt 1\n"]);
    let tail = "    attempt 1\n    attempt 1 of 2 failed: the command ended with exit code 1\n    attempt 2\n";
    assert!(ran.stderr.contains(tail), "every attempt begins in an empty folder:\n{}", ran.stderr);
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let seconds = unique();
    let run = format!("sleep {seconds} & (sleep {seconds}; echo late > o) & echo > o");
    let project = shell(&format!("  a: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{run}' }} }}\n"));
    let begun = Instant::now();
    project.run(&[]).ok();
    assert!(begun.elapsed() < Duration::from_secs(60));
    all_gone(&seconds);
}

#[test]
fn a_command_sees_nothing_of_how_it_is_started() {
    let project = shell(
        "
  a:
    uses: shell
    outputs: { o: o }
    with:
      run: |
        # The first line is a comment, standard input is empty.
        cat > o
        no-such-program
",
    );
    let ran = project.run(&[]).exit(1);
    assert!(ran.stderr.contains(": 3: ") || ran.stderr.contains("line 3:"), "{}", ran.stderr);
    project.edit("        no-such-program\n", "        test ! -s o\n        ls /proc/self/fd > o\n");
    project.run(&[]).ok();
    // It has the files that everything started from here has, and no pipe of ours.
    let ls = Command::new("ls").arg("/proc/self/fd").output().unwrap();
    assert_eq!(read(&project, "a/o"), String::from_utf8(ls.stdout).unwrap());
    project.edit("        cat > o\n", "        ) # cannot be parsed\n");
    project.run(&[]).exit(1).says(&["a: the command ended with exit code 2"]);
}

#[test]
fn a_command_that_writes_to_its_input_is_named_and_nothing_is_kept() {
    let project = shell(
        "
  copy:
    uses: shell
    inputs: { words: words.txt }
    outputs: { text: text.txt }
    with: { run: 'cp \"$words\" text.txt' }
  vandal:
    uses: shell
    inputs: { text: copy, words: words.txt }
    outputs: { o: o }
    with: { run: 'touch o; echo rain >> \"$words\"' }
",
    );
    let words = project.path("words.txt");
    let named = format!("vandal: stage \"vandal\" wrote to its input {}", words.display());
    project.run(&[]).exit(1).says(&[&named, "let it work on a copy"]);
    assert!(!project.path("cache/landcover/vandal").exists());
    // What another stage made: a file that only root can write to.
    project.edit("\"$words\"' }\n", "\"$text\"' }\n");
    let project = {
        let text = fs::read_to_string(project.path("pipelines/landcover.yaml")).unwrap();
        let project = shell("");
        project.write_pipeline(&text.replace("cp \"$text\"", "cp \"$words\""));
        project
    };
    let ran = project.run(&[]).exit(1);
    let written = ran.stderr.contains("vandal: stage \"vandal\" wrote to its input <text of copy>");
    let refused = ran.stderr.contains("ermission denied");
    assert!(written || refused, "{}", ran.stderr);
    assert!(!project.path("cache/landcover/vandal").exists());
    // The damage, if there was any, is mended.
    project.edit("echo rain >> \"$text\"", "cat \"$text\" > o");
    project.run(&[]).ok();
    assert_eq!(read(&project, "vandal/o"), "soil\nwater\nair\n");
}

#[test]
fn inputs_lie_in_a_folder_that_cannot_be_written_to() {
    let project = shell(
        "
  look:
    uses: shell
    inputs: { words: words.txt, many: '*.txt' }
    outputs: { modes: modes.txt }
    with: { run: 'stat -c %a \"$(dirname \"$words\")\" \"$many\" > modes.txt' }
",
    );
    fs::write(project.path("more.txt"), "").unwrap();
    project.run(&[]).ok();
    assert_eq!(read(&project, "look/modes.txt"), "555\n555\n");
    let tmp = project.path("cache/.s2pipe/tmp");
    assert!(fs::read_dir(tmp).unwrap().next().is_none(), "it is removed all the same");
}

#[test]
fn files_that_are_not_declared_are_not_there() {
    let run = "cat words.txt > o";
    let project = shell(&format!("  a: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{run}' }} }}\n"));
    project.run(&[]).exit(1).says(&["words.txt: No such file"]);
}

#[test]
fn keep_going_runs_what_does_not_depend_on_the_failure() {
    let stage = |name: &str, inputs: &str, run: &str| {
        format!("  {name}: {{ uses: shell, inputs: {{ {inputs} }}, outputs: {{ o: o }}, with: {{ run: '{run}' }} }}\n")
    };
    let project = shell(
        &[
            stage("bad", "words: words.txt", "echo this is bad; exit 3"),
            stage("after", "bad: bad", "cp \"$bad\" o"),
            stage("worse", "words: words.txt", "echo this is worse >&2; kill -9 $$"),
            stage("good", "words: words.txt", "sort \"$words\" > o"),
            stage("better", "good: good", "cp \"$good\" o"),
        ]
        .concat(),
    );
    let ran = project.run(&["--keep-going", "-j", "1"]).exit(1);
    let ran = ran.says(&["bad: the command ended with exit code 3", "worse: the command was killed by signal 9"]);
    for (name, line) in [("bad", "this is bad"), ("worse", "this is worse")] {
        let end = ran.stderr.lines().find(|l| l.starts_with("the end of ") && l.ends_with(&format!("{name}.log:")));
        let log = end.unwrap().strip_prefix("the end of ").unwrap().strip_suffix(':').unwrap();
        assert!(fs::read_to_string(Path::new(log)).unwrap().starts_with(&format!("{line}\n")), "{log}");
        assert!(ran.stderr.contains(&format!("    {line}\n")), "{}", ran.stderr);
    }
    assert!(ran.stderr.contains("after: skipped"));
    assert_eq!(read(&project, "better/o"), "air\nsoil\nwater\n");
    let skipped = project.run(&["--keep-going"]).exit(1);
    assert!(skipped.tasks().is_empty(), "what ended well is not run again");
    // Without it, the first failure is the last task.
    project.run(&["-j", "1", "--force"]).exit(1);
    assert!(!project.run(&["-j", "1", "--force"]).exit(1).stderr.contains("good: ran"));
}
