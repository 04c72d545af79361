//! Commands die with the run, also when it is killed by a signal that cannot be handled.
//!
//! One small shell a process waits at the end of a pipe that only this process holds open. It is told of every process
//! group that begins and ends. When the pipe ends, this process is no more, and it kills the groups that are left.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reads `+GROUP` and `-GROUP`. It must outlive what is sent to this process's group or terminal.
const SCRIPT: &str = r#"trap '' HUP INT TERM
groups=' '
while read -r line; do
  group=${line#?}
  case $line in
    +*) groups="$groups$group " ;;
    -*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done"#;

/// What the watchdog is told, and has to be told again if it was killed itself.
struct Watchdog {
    pipe: Option<ChildStdin>,
    groups: BTreeSet<u32>,
}

static WATCHDOG: Mutex<Watchdog> = Mutex::new(Watchdog { pipe: None, groups: BTreeSet::new() });

fn watchdog() -> MutexGuard<'static, Watchdog> {
    WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process group that the watchdog kills when this process dies; no longer when this is dropped.
pub(super) struct Guarded {
    group: u32,
}

impl Guarded {
    /// Tells the watchdog, starting it first where there is none.
    pub(super) fn new(group: u32) -> io::Result<Self> {
        let mut dog = watchdog();
        dog.groups.insert(group);
        let told = dog.tell(&format!("+{group}\n"));
        // There was none, or somebody killed it: the next one is told of all groups.
        let told = told.or_else(|_| dog.start());
        told.map(|()| Self { group })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let mut dog = watchdog();
        dog.groups.remove(&self.group);
        // Where there is none any more, none will kill the group.
        let _ = dog.tell(&format!("-{}\n", self.group));
    }
}

impl Watchdog {
    fn tell(&mut self, line: &str) -> io::Result<()> {
        let pipe = self.pipe.as_mut().ok_or(io::ErrorKind::NotFound)?;
        pipe.write_all(line.as_bytes())
    }

    fn start(&mut self) -> io::Result<()> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        self.pipe = child.stdin.take();
        let groups: String = self.groups.iter().map(|group| format!("+{group}\n")).collect();
        self.tell(&groups)
    }
}
