//! A batch on its way, as the following process remembers it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use super::batch::BatchFile;
use super::report::{How, Line, ReportReader, unit};
use crate::engine::{News, Progress, TaskError, Ticket};

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) file: BatchFile,
    pub(super) dir: PathBuf,
    /// Its number, once Slurm has taken it.
    pub(super) job: Option<String>,
    pub(super) elements: Vec<Element>,
    /// Handed over by this very process, which then clears it away.
    pub(super) ours: bool,
    /// A task failed, so its logs stay.
    pub(super) failed: bool,
}

/// Where an element is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Phase {
    /// Nothing has been heard yet.
    Sent,
    /// It waits in the queue.
    Pending,
    /// It runs there.
    Running(String),
    /// The queue has not had it since then.
    Gone(Instant),
}

/// An element on its way.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) phase: Phase,
    /// Tasks that have not ended.
    pub(super) open: Vec<Ticket>,
    /// Of these, the ones that have begun.
    pub(super) begun: HashSet<Ticket>,
    /// It was asked to stop and said so.
    pub(super) stopped: bool,
    /// Of the open tasks, those that nobody waits for any more.
    pub(super) unwanted: HashSet<Ticket>,
    /// It was taken back before it began.
    pub(super) withdrawn: bool,
    /// The machine that it said it runs on.
    node: String,
    reader: ReportReader,
}

impl Tracked {
    pub(super) fn new(file: BatchFile, dir: PathBuf, ours: bool) -> Self {
        let element = |tasks: &Vec<super::batch::TaskRef>| Element {
            phase: Phase::Sent,
            open: tasks.iter().map(|task| task.ticket).collect(),
            begun: HashSet::new(),
            stopped: false,
            unwanted: HashSet::new(),
            withdrawn: false,
            node: String::new(),
            reader: ReportReader::default(),
        };
        let elements = file.elements.iter().map(element).collect();
        Self { file, dir, job: None, elements, ours, failed: false }
    }

    /// Tasks that have not ended.
    pub(super) fn open_tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.elements.iter().flat_map(|element| element.open.iter().copied())
    }

    /// The elements with such tasks among these.
    pub(super) fn elements_with(&self, tickets: &HashSet<Ticket>) -> Vec<usize> {
        let wanted = |number: &usize| self.elements[*number].open.iter().any(|open| tickets.contains(open));
        (0..self.elements.len()).filter(wanted).collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.elements.iter().all(|element| element.open.is_empty())
    }

    /// How people on the cluster call an element.
    pub(super) fn name(&self, element: usize) -> String {
        format!("{}_{element}", self.job.as_deref().unwrap_or("?"))
    }

    /// The same for several of them: `7_[0,3]`. `None`: there is no job, or there are no elements.
    pub(super) fn names(&self, elements: &[usize]) -> Option<String> {
        let job = self.job.as_deref().filter(|_| !elements.is_empty())?;
        let numbers: Vec<String> = elements.iter().map(usize::to_string).collect();
        Some(format!("{job}_[{}]", numbers.join(",")))
    }

    /// Takes in what an element has told since the last time.
    pub(super) fn read(&mut self, number: usize) -> Vec<(Ticket, News)> {
        let path = super::batch::report(&self.dir, number);
        let lines = self.elements[number].reader.read(&path);
        let name = self.name(number);
        let mut news = Vec::new();
        for line in lines {
            self.failed |= matches!(&line, Line::Failed { how, .. } if *how != How::Stopped);
            news.extend(self.elements[number].take(line, &name));
        }
        news
    }
}

impl Element {
    fn take(&mut self, line: Line, job: &str) -> Option<(Ticket, News)> {
        match line {
            Line::Element { node, .. } => {
                // Also after a requeue: what was stopped then begins again.
                (self.node, self.stopped) = (node, false);
                self.begun.clear();
                None
            }
            Line::Started { ticket, key } => {
                self.begun.insert(ticket);
                Some((ticket, News::Started { key, place: format!("{job} on {}", self.node) }))
            }
            Line::Step { ticket, unit: name, done, total, note } => {
                Some((ticket, News::Progress(Progress::Step { unit: unit(&name), done, total, note })))
            }
            Line::Says { ticket, text, notice } => {
                let says = if notice { Progress::Notice(text) } else { Progress::Message(text) };
                Some((ticket, News::Progress(says)))
            }
            Line::Done { ticket, key, ran } => self.ended(ticket).then_some((ticket, News::Done { key, ran })),
            // What becomes of it depends on why: a requeue, a limit, a person.
            Line::Failed { how: How::Stopped, .. } => {
                self.stopped = true;
                None
            }
            Line::Failed { ticket, how, message, help, log } => {
                let message = format!("{message} (job {job} on {})", self.node);
                let error = match how {
                    How::InputGone { slot } => TaskError::InputGone { slot },
                    How::Failed | How::Stopped => TaskError::Failed { message, help },
                };
                self.ended(ticket).then_some((ticket, News::Failed { error, log }))
            }
        }
    }

    /// `false`: it had ended before.
    fn ended(&mut self, ticket: Ticket) -> bool {
        let before = self.open.len();
        self.open.retain(|open| *open != ticket);
        self.open.len() < before
    }
}
