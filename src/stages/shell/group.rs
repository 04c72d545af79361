//! A command and all that it starts: one process group, which ends as a whole.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

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
        let mut pause = FIRST_PAUSE;
        while !self.has_ended()? {
            if cancel.is_cancelled() {
                self.stop()?;
                return Ok(None);
            }
            std::thread::sleep(pause);
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
        while asked.elapsed() < GRACE && !self.has_ended()? {
            std::thread::sleep(Duration::from_millis(20));
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

impl Drop for Group {
    fn drop(&mut self) {
        // `Ok` with a status: it has been waited for, and its number may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.end();
        }
    }
}
