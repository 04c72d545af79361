//! A command and all that it starts: one process group, which ends as a whole.

use std::io::{self, Write};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, pidfd_open};

use super::watchdog::Guarded;
use crate::engine::Cancel;

/// How long a command may tidy up after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// How often an ended command is looked for: soon at first, so that short commands stay short.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What stands before every command, on its first line so that the lines in messages keep their numbers. It waits until
/// the watchdog knows of it, and gives up when this process dies before that.
const GATE: &str = "read -r _||exit 125;exec </dev/null;";

/// A running command.
pub(super) struct Group {
    child: Child,
    id: Pid,
    guarded: Option<Guarded>,
}

impl Group {
    /// Runs a command with `sh -e`; `sh` has everything but the command and its standard input.
    pub(super) fn start(sh: &mut Command, command: &str) -> io::Result<Self> {
        sh.args(["-e", "-c", &format!("{GATE}{command}")]).stdin(Stdio::piped()).process_group(0);
        let mut child = sh.spawn()?;
        let gate = child.stdin.take();
        let guarded = Guarded::new(child.id());
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let group = Self { child, id, guarded: Some(guarded?) };
        if let Some(mut gate) = gate {
            // A command that cannot be parsed has ended already, which is found out by waiting for it.
            let _ = gate.write_all(b"\n");
        }
        Ok(group)
    }

    /// Waits for the end of the command; `None` when it was stopped. Nothing of the group is left afterwards.
    pub(super) fn wait(mut self, cancel: &Cancel) -> io::Result<Option<ExitStatus>> {
        let end = End::of(self.id);
        let mut pause = FIRST_PAUSE;
        while !self.has_ended()? {
            if cancel.is_cancelled() {
                self.stop()?;
                return Ok(None);
            }
            end.wait_at_most(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        // What it left running would go on writing to its outputs.
        self.end().map(Some)
    }

    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.id), options)?.is_some())
    }

    fn stop(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        let asked = Instant::now();
        // The shell often ends at once while what it started is still tidying up.
        while asked.elapsed() < GRACE && (!self.has_ended()? || has_members(self.id)) {
            std::thread::sleep(LONGEST_PAUSE);
        }
        self.end().map(drop)
    }

    /// Kills what is left. Only then is the command waited for: until that nothing else can have the group's number.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.guarded = None;
        self.child.wait()
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone already is what we want: errors mean nothing here.
        let _ = kill_process_group(self.id, signal);
    }
}

/// Whether a process of this group is alive. One that has ended and was not waited for is not. Where the system does not
/// say, none is.
fn has_members(group: Pid) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok()).any(|stat| {
        // `123 (name, which may hold anything) S 1 <group> …`
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let state = fields.next().unwrap_or("X");
        let of_group = fields.nth(1).and_then(|id| id.parse().ok()) == Some(group.as_raw_nonzero().get());
        of_group && !matches!(state, "Z" | "X")
    })
}

/// Tells of the end of a process at once, where the system can.
struct End {
    #[cfg(target_os = "linux")]
    process: Option<OwnedFd>,
}

impl End {
    #[cfg(target_os = "linux")]
    fn of(id: Pid) -> Self {
        // Kernels before 5.3 cannot: there the end is looked for every now and then.
        Self { process: pidfd_open(id, PidfdFlags::empty()).ok() }
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_id: Pid) -> Self {
        Self {}
    }

    /// Returns when the process has ended or the time is over, whichever comes first; maybe sooner.
    fn wait_at_most(&self, time: Duration) {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            let mut ends = [PollFd::new(process, PollFlags::IN)];
            let longest = Timespec { tv_sec: 0, tv_nsec: LONGEST_PAUSE.as_nanos() as _ };
            // Interrupted by a signal: the caller looks again anyway.
            if poll(&mut ends, Some(&longest)).is_ok() {
                return;
            }
        }
        std::thread::sleep(time);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // `Ok` with a status: it has been waited for, and its number may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(command: &str) -> Group {
        Group::start(&mut Command::new("/bin/sh"), command).unwrap()
    }

    #[test]
    fn a_command_ends_with_its_code() {
        let status = start("exit 3").wait(&Cancel::default()).unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
        let status = start("read x && exit 4; exit 5").wait(&Cancel::default()).unwrap().unwrap();
        assert_eq!(status.code(), Some(5), "the gate is not the command's standard input");
    }

    #[test]
    fn a_command_is_stopped_when_its_time_is_over() {
        let soon = Cancel::default().until(Instant::now() + Duration::from_millis(20));
        let group = start("sleep 1000 & sleep 1000");
        let id = group.id;
        assert!(has_members(id));
        assert!(group.wait(&soon).unwrap().is_none());
        assert!(!has_members(id));
    }

    #[test]
    fn a_group_that_nobody_waits_for_is_killed() {
        let group = start("trap '' TERM; sleep 1000; sleep 1000");
        let id = group.id;
        drop(group);
        assert!(
            !has_members(id) || {
                std::thread::sleep(Duration::from_secs(2));
                !has_members(id)
            }
        );
    }

    #[test]
    fn a_child_that_dies_before_its_gate_opens_never_begins() {
        let marker = tempfile::tempdir().unwrap();
        let mut sh = Command::new("/bin/sh");
        sh.args(["-e", "-c", &format!("{GATE}touch begun")]).current_dir(marker.path()).stdin(Stdio::piped());
        let mut child = sh.spawn().unwrap();
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(125), "the pipe ended: whoever was to open the gate is dead");
        assert!(!marker.path().join("begun").exists());
    }
}
