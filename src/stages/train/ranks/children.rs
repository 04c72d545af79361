//! Ranks of this machine: further processes of this very program.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::StageError;
use crate::net::RankError;

/// Last lines of a rank that an error shows.
const LINES: usize = 5;
/// From one look at a process to the next.
const LOOK: Duration = Duration::from_millis(10);

/// Ranks 1, 2, … as processes. Those that still run are killed when this is dropped; they end by themselves when this
/// process does, however it ends.
pub(super) struct Children(Vec<Rank>);

/// A rank's number, and the ordinal of its GPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) rank: usize,
    pub(super) ordinal: usize,
}

struct Rank {
    number: usize,
    child: Child,
    /// Held open: the rank ends when it is closed.
    _order: ChildStdin,
    words: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Children {
    /// Starts a process for each place and gives it the order; what it says goes to `log`.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub(super) fn start(places: &[Place], order: &str, log: &Path) -> Result<Self, StageError> {
        let start = |place: &Place| {
            Rank::start(*place, order, log.to_path_buf()).map_err(|error| {
                StageError::failed(format!("rank {} of the training could not be started: {error}", place.rank))
            })
        };
        // What was started before one that could not be is killed as the list is dropped.
        Ok(Self(places.iter().map(start).collect::<Result<_, _>>()?))
    }

    /// Fails once a rank has ended, with or without an error.
    ///
    /// # Errors
    /// [`RankError::Lost`].
    pub(super) fn all_run(&mut self) -> Result<(), RankError> {
        match self.0.iter_mut().find_map(|rank| rank.look().then_some(rank.number)) {
            None => Ok(()),
            Some(peer) => Err(RankError::Lost { peer, reason: "its process has ended".to_owned() }),
        }
    }

    /// Waits for all to end, for `patience` at most.
    pub(super) fn wait(&mut self, patience: Duration) {
        let started = Instant::now();
        while !self.0.iter_mut().all(Rank::look) && started.elapsed() < patience {
            std::thread::sleep(LOOK);
        }
    }

    /// How a rank ended, for which it has `patience`, and what it said last; `None` where it still runs or ended well.
    pub(super) fn fate(&mut self, number: usize, patience: Duration) -> Option<String> {
        let rank = self.0.iter_mut().find(|rank| rank.number == number)?;
        let started = Instant::now();
        while !rank.look() && started.elapsed() < patience {
            std::thread::sleep(LOOK);
        }
        let ended = rank.ended.filter(|ended| !ended.success())?;
        if let Some(reader) = rank.reader.take() {
            // It ends with the pipe that the process held.
            let _ = reader.join();
        }
        let words = rank.words.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = if said.is_empty() { String::new() } else { format!("; it said last:\n{}", said.join("\n")) };
        Some(format!("its process {} ended with {ended}{said}", rank.child.id()))
    }
}

impl Rank {
    fn start(place: Place, order: &str, log: PathBuf) -> std::io::Result<Self> {
        let Place { rank: number, ordinal } = place;
        let mut command = Command::new(this_program()?);
        command.arg0("s2pipe").args(["task", "rank", &number.to_string(), "--gpu", &ordinal.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(mut input), Some(said)) = (child.stdin.take(), child.stderr.take()) else {
            return Err(std::io::Error::other("it has no pipes"));
        };
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let keep = Arc::clone(&words);
        let reader = std::thread::spawn(move || listen(number, BufReader::new(said), &log, &keep));
        // One that ends at once does not read it; how it ended says more than the broken pipe.
        let _ = writeln!(input, "{order}");
        Ok(Self { number, child, _order: input, words, reader: Some(reader), ended: None })
    }

    /// Whether it has ended.
    fn look(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        if !self.look() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Writes a rank's lines to the log and keeps the last.
fn listen(number: usize, said: impl BufRead, log: &Path, keep: &Mutex<VecDeque<String>>) {
    // A log that cannot be written must not end the training.
    let mut log = OpenOptions::new().create(true).append(true).open(log).ok();
    for line in said.lines().map_while(Result::ok) {
        if let Some(log) = &mut log {
            let _ = writeln!(log, "rank {number}: {line}");
        }
        let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// The program that this process runs, also where its file has been replaced since.
fn this_program() -> std::io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}
