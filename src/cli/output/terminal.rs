//! A run on the terminal: a bar for every running task, or plain lines where standard error is no terminal.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::cli::args::Verbosity;
use crate::engine::{Event, Failure, Observer, Progress, RunSummary, TaskName, TaskStatus, label};

/// Without a terminal, a running task is mentioned at most this often.
const PLAIN_PAUSE: Duration = Duration::from_secs(10);

/// Watches a run and tells the person in front of it.
pub(in crate::cli) struct Terminal {
    bars: MultiProgress,
    running: Mutex<HashMap<String, Running>>,
    /// Job arrays that have been told of.
    sent: Mutex<HashSet<String>>,
    /// Bars are drawn.
    live: bool,
    quiet: bool,
    verbose: bool,
    explain: bool,
}

struct Running {
    bar: ProgressBar,
    started: Instant,
    mentioned: Instant,
}

impl Terminal {
    pub(in crate::cli) fn new(verbosity: &Verbosity, explain: bool) -> Self {
        Self {
            bars: MultiProgress::new(),
            running: Mutex::default(),
            sent: Mutex::default(),
            live: std::io::stderr().is_terminal() && !verbosity.quiet,
            quiet: verbosity.quiet,
            verbose: verbosity.verbose > 0,
            explain,
        }
    }

    /// Warns, without breaking the bars.
    pub(in crate::cli) fn warn(&self, text: &str) {
        self.teller()(text);
    }

    /// [`Terminal::warn`] for whoever has no terminal.
    pub(in crate::cli) fn teller(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let (bars, live) = (self.bars.clone(), self.live);
        // Printing can only fail when the terminal is gone.
        move |text| if live { _ = bars.println(format!("warning: {text}")) } else { tracing::warn!("{text}") }
    }

    /// Takes the bars away.
    pub(in crate::cli) fn close(&self) {
        if let Ok(mut running) = self.running.lock() {
            running.drain().for_each(|(_, running)| running.bar.finish_and_clear());
        }
        // Clearing can only fail when the terminal is gone.
        let _ = self.bars.clear();
    }

    /// Says what failed, with advice and the end of the log.
    pub(in crate::cli) fn failures(&self, summary: &RunSummary) {
        for failure in &summary.failures {
            eprintln!("error: {}: {}", label(&failure.stage, &failure.task), failure.message);
            if let Some(help) = &failure.help {
                eprintln!("help: {help}");
            }
            let before = said_before(failure);
            if let Some(log) = failure.log.as_ref().filter(|_| !before.is_empty()) {
                eprintln!("the end of {}:", log.display());
                before.iter().for_each(|line| eprintln!("    {line}"));
            }
        }
    }

    fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.live {
            // Printing can only fail when the terminal is gone.
            let _ = self.bars.println(text);
        } else {
            eprintln!("{text}");
        }
    }

    /// Tells of every array once, of every task with `-v`.
    fn sent(&self, name: &TaskName<'_>, job: &str) {
        let array = job.split('_').next().unwrap_or(job);
        let is_new = self.sent.lock().is_ok_and(|mut sent| sent.insert(array.to_owned()));
        if self.verbose {
            self.line(&format!("{}: queued as job {job}", task_name(name)));
        } else if is_new {
            self.line(&format!("{}: queued as job {array}", name.stage));
        }
    }

    fn started(&self, name: &str) {
        let bar = if self.live { self.bars.add(ProgressBar::new_spinner()) } else { ProgressBar::hidden() };
        bar.set_style(spinner());
        bar.set_prefix(name.to_owned());
        if self.live {
            // It has a thread of its own.
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let now = Instant::now();
        let running = Running { bar, started: now, mentioned: now };
        if let Ok(mut all) = self.running.lock() {
            all.insert(name.to_owned(), running);
        }
    }

    fn news(&self, name: &str, news: &Progress) {
        let Ok(mut all) = self.running.lock() else { return };
        let Some(running) = all.get_mut(name) else { return };
        match news {
            Progress::Message(text) => {
                if self.verbose {
                    self.line(&format!("{name}: {text}"));
                }
            }
            Progress::Notice(text) => self.line(&format!("{name}: {text}")),
            Progress::Step { unit, done, total, note } => {
                if running.bar.length() != Some(*total) {
                    running.bar.set_length(*total);
                    running.bar.set_style(bar(unit));
                }
                running.bar.set_position(*done);
                running.bar.set_message(note.clone());
                if !self.live && running.mentioned.elapsed() >= PLAIN_PAUSE {
                    running.mentioned = Instant::now();
                    self.line(&plain(name, unit, *done, *total, note, running.started.elapsed()));
                }
            }
        }
    }

    fn finished(&self, name: &str, status: TaskStatus, seconds: f64) {
        let was_running = self.running.lock().ok().and_then(|mut all| all.remove(name));
        if let Some(running) = was_running {
            running.bar.finish_and_clear();
        }
        match status {
            TaskStatus::Ran => self.line(&format!("{name}: ran in {seconds:.1} s")),
            TaskStatus::CutShort => self.line(&format!("{name}: cut short by the budget after {seconds:.1} s")),
            TaskStatus::Failed => self.line(&format!("{name}: FAILED after {seconds:.1} s")),
            TaskStatus::Cancelled => self.line(&format!("{name}: stopped after {seconds:.1} s")),
            TaskStatus::Fetched if self.verbose => self.line(&format!("{name}: fetched")),
            TaskStatus::Cached if self.verbose => self.line(&format!("{name}: cached")),
            TaskStatus::Skipped if self.verbose => self.line(&format!("{name}: skipped")),
            TaskStatus::Cached | TaskStatus::Fetched | TaskStatus::Skipped => {}
        }
    }
}

#[cfg(feature = "remote")]
impl Terminal {
    /// One for a command that is no run.
    pub(in crate::cli) fn plain() -> Self {
        Self::new(&Verbosity { verbose: 0, quiet: false }, false)
    }

    /// Says a sentence, unless the person wants to hear only of failures.
    pub(in crate::cli) fn say(&self, text: &str) {
        self.line(text);
    }

    /// Tells how many results have been pushed.
    pub(in crate::cli) fn pushing(&self, done: usize, total: usize) {
        self.moving("pushing", done, total);
    }

    /// Tells how many results have been fetched.
    pub(in crate::cli) fn fetching(&self, done: usize, total: usize) {
        self.moving("fetching", done, total);
    }

    fn moving(&self, what: &str, done: usize, total: usize) {
        if done < total && self.running.lock().is_ok_and(|all| !all.contains_key(what)) {
            self.started(what);
        }
        let (done, total) = (done as u64, total as u64);
        self.news(what, &Progress::Step { unit: "results", done, total, note: String::new() });
    }
}

impl Observer for Terminal {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::TaskQueued { name, reasons } if self.explain && !reasons.is_empty() => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                self.line(&format!("{}: runs because {}", task_name(name), reasons.join("; ")));
            }
            Event::TaskWaiting { name } => {
                self.line(&format!("{}: another run is at it, waiting for its result", task_name(name)));
            }
            Event::TaskSent { name, job } => self.sent(name, job),
            Event::TaskStarted { name, place, .. } => {
                if self.verbose && !place.is_empty() {
                    self.line(&format!("{}: runs in job {place}", task_name(name)));
                }
                self.started(&task_name(name));
            }
            Event::TaskProgress { name, news } => self.news(&task_name(name), news),
            Event::TaskFinished { name, status, seconds, .. } => self.finished(&task_name(name), *status, *seconds),
            Event::RunStarted { .. } | Event::TaskQueued { .. } | Event::RunFinished { .. } => {}
        }
    }
}

/// The end of a failed task's log without the error itself, which ends it.
fn said_before(failure: &Failure) -> &[String] {
    let error = format!("error: {}", failure.message);
    let lines: Vec<&str> = error.lines().collect();
    let tail = failure.tail.as_slice();
    match tail.len().checked_sub(lines.len()) {
        Some(rest) if tail[rest..].iter().eq(&lines) => &tail[..rest],
        _ => tail,
    }
}

fn task_name(name: &TaskName<'_>) -> String {
    label(name.stage, name.task)
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a broken one would show in every test that draws a bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn spinner() -> ProgressStyle {
    style("{prefix} {spinner} {elapsed}")
}

fn bar(unit: &str) -> ProgressStyle {
    style(&format!("{{prefix}} {{bar:24}} {{pos}}/{{len}} {unit}, {{rate}}, {{eta}} left  {{msg}}")).with_key(
        "rate",
        |state: &ProgressState, out: &mut dyn Write| {
            // Writing to a line in memory cannot fail.
            let _ = write!(out, "{:.1}/s", state.per_sec());
        },
    )
}

/// `train: 120/800 steps, 3.1/s, 220 s left, loss 0.41`
fn plain(name: &str, unit: &str, done: u64, total: u64, note: &str, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
    let note = if note.is_empty() { String::new() } else { format!(", {note}") };
    format!("{name}: {done}/{total} {unit}, {rate:.1}/s, {left:.0} s left{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_tell_rate_and_remaining_time() {
        let line = plain("train", "steps", 120, 800, "loss 0.41", Duration::from_secs(40));
        assert_eq!(line, "train: 120/800 steps, 3.0/s, 227 s left, loss 0.41");
    }

    #[test]
    fn templates_are_valid() {
        assert!(ProgressStyle::with_template("{prefix} {spinner} {elapsed}").is_ok());
        assert!(ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} x, {rate}, {eta} left  {msg}").is_ok());
    }
}
