//! What became of an element that is no longer in the queue and has not told.

use super::batch::of_comment;
use super::client::Client;
use super::error::SlurmError;

/// States of jobs to which more is to happen.
const ALIVE: [&str; 8] =
    ["PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED", "RESIZING", "STAGE_OUT"];

/// How an element ended, as far as it can be found out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Fate {
    /// `CANCELLED`, `TIMEOUT`, `FAILED`, …; empty where nobody knows.
    pub(super) state: String,
    /// Exit code and signal.
    exit: Option<(i32, i32)>,
    node: String,
    /// Why it did not run; empty where nobody knows.
    reason: String,
}

/// Asks the controller, and accounting where the controller has forgotten. `batch`: the id of the job's batch.
///
/// # Errors
/// When the controller does not answer: it may know later.
pub(super) fn fate(client: &Client, batch: &str, job: &str, element: usize) -> Result<Fate, SlurmError> {
    let asked = client.element(job, element)?.filter(|text| may_be_of(text, batch)).map(|text| of_controller(&text));
    Ok(asked.or_else(|| client.accounted(job, element).map(|line| of_accounting(&line))).unwrap_or_default())
}

/// A controller that lost its memory may give the number of a job to another one.
fn may_be_of(text: &str, batch: &str) -> bool {
    of_comment(&word(text, "Comment")).is_none_or(|id| id == batch)
}

/// `JobState=FAILED ExitCode=0:9 NodeList=c1-2 …`
fn of_controller(text: &str) -> Fate {
    Fate {
        state: word(text, "JobState"),
        exit: exit(&word(text, "ExitCode")),
        node: word(text, "NodeList"),
        reason: word(text, "Reason"),
    }
}

fn word(text: &str, name: &str) -> String {
    let found = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.filter(|value| *value != "(null)").unwrap_or_default().to_owned()
}

/// `CANCELLED by 1000|0:15|c1-2`
fn of_accounting(line: &str) -> Fate {
    let mut fields = line.split('|');
    let state = fields.next().unwrap_or_default().split_whitespace().next().unwrap_or_default();
    let code = fields.next().unwrap_or_default();
    let node = fields.next().filter(|node| *node != "None assigned").unwrap_or_default();
    Fate { state: state.to_owned(), exit: exit(code), node: node.to_owned(), reason: String::new() }
}

fn exit(text: &str) -> Option<(i32, i32)> {
    let (code, signal) = text.split_once(':')?;
    Some((code.parse().ok()?, signal.parse().ok()?))
}

impl Fate {
    /// Whether it was not to begin, since a job that it waited for did not end well. Accounting does not tell why.
    pub(super) fn is_in_vain(&self) -> bool {
        self.state == "CANCELLED" && matches!(self.reason.as_str(), "DependencyNeverSatisfied" | "")
    }

    /// Whether nobody knows anything of it.
    pub(super) fn is_unknown(&self) -> bool {
        self.state.is_empty()
    }

    /// Whether it waits or runs still.
    pub(super) fn is_none_yet(&self) -> bool {
        ALIVE.contains(&self.state.as_str())
    }

    /// What to tell: a sentence and advice. `stopped`: the tasks were asked to stop and did so.
    pub(super) fn words(&self, job: &str, stopped: bool) -> (String, Option<String>) {
        let place = if self.node.is_empty() { format!("job {job}") } else { format!("job {job} on {}", self.node) };
        let goes_on = "the next run goes on from its last checkpoint";
        match (self.state.as_str(), self.exit) {
            ("TIMEOUT", _) => (
                format!("{place} reached its time limit"),
                Some(format!("{goes_on}; ask for more with `time:` under `slurm:`")),
            ),
            // It ended by itself, having been warned that its time is nearly over.
            ("FAILED" | "COMPLETED", Some((code, 0))) if stopped && code != 0 => (
                format!("{place} was asked to stop shortly before its time limit"),
                Some(format!("{goes_on}; ask for more with `time:` under `slurm:`")),
            ),
            ("CANCELLED", _) => (format!("{place} was cancelled"), Some("run again to submit it again".to_owned())),
            ("OUT_OF_MEMORY", _) => (
                format!("{place} ran out of memory"),
                Some("ask for more with `memory:` under `slurm:`, or pack fewer tasks into a job with `pack:`".into()),
            ),
            ("NODE_FAIL" | "BOOT_FAIL", _) => {
                (format!("{place} was lost with its node"), Some(format!("run again: {goes_on}")))
            }
            ("PREEMPTED", _) => {
                (format!("{place} was pre-empted and not queued again"), Some(format!("run again: {goes_on}")))
            }
            (_, Some((0, signal))) if signal > 0 => (
                format!("{place} was killed by signal {signal}{}", name(signal)),
                Some(format!("run again: {goes_on}")),
            ),
            // A shell tells of a child's signal in its exit code.
            (_, Some((code, 0))) if code > 128 => (
                format!("{place} was killed by signal {}{}", code - 128, name(code - 128)),
                Some(format!("run again: {goes_on}")),
            ),
            (_, Some((code, 0))) if code > 0 => (
                format!("{place} ended with exit code {code} before the task was done"),
                Some(
                    "see in its log whether the node finds this program and what it needs; \
                     modules are loaded with `setup:` under `slurm:`"
                        .into(),
                ),
            ),
            ("", _) => (
                format!("{place} is no longer in the queue, and Slurm does not tell what became of it"),
                Some("look at its log, and run again".to_owned()),
            ),
            (state, _) => {
                (format!("{place} ended ({state}) without having told of this task"), Some("run again".to_owned()))
            }
        }
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        6 => " (abort)",
        9 => " (kill)",
        11 => " (segmentation fault)",
        15 => " (terminate)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_exit_codes_and_signals_become_sentences() {
        let controller = |text: &str, stopped| of_controller(text).words("7_1", stopped).0;
        assert_eq!(
            controller("JobState=FAILED Reason=X ExitCode=0:9 NodeList=c1", false),
            "job 7_1 on c1 was killed by signal 9 (kill)"
        );
        assert_eq!(controller("JobState=CANCELLED ExitCode=0:15 NodeList=c1", false), "job 7_1 on c1 was cancelled");
        assert_eq!(controller("JobState=CANCELLED ExitCode=0:0 NodeList=(null)", false), "job 7_1 was cancelled");
        assert_eq!(
            controller("JobState=FAILED ExitCode=130:0 NodeList=c1", true),
            "job 7_1 on c1 was asked to stop shortly before its time limit"
        );
        assert_eq!(
            controller("JobState=FAILED ExitCode=137:0 NodeList=c1", false),
            "job 7_1 on c1 was killed by signal 9 (kill)"
        );
        assert_eq!(
            controller("JobState=FAILED ExitCode=127:0 NodeList=c1", false),
            "job 7_1 on c1 ended with exit code 127 before the task was done"
        );
        assert_eq!(of_accounting("CANCELLED by 1000|0:15|c3").words("7_1", false).0, "job 7_1 on c3 was cancelled");
        assert_eq!(of_accounting("TIMEOUT|0:0|c3").words("7_1", true).0, "job 7_1 on c3 reached its time limit");
        assert!(Fate::default().words("7_1", false).0.contains("does not tell"));
        let in_vain = |text: &str| of_controller(text).is_in_vain();
        assert!(in_vain("JobState=CANCELLED Reason=DependencyNeverSatisfied Dependency=(null)"));
        assert!(!in_vain("JobState=CANCELLED Reason=Dependency Dependency=afterok:6_*(failed)"), "by somebody");
        let job = "JobId=7 Comment=s2pipe:a JobState=PENDING";
        assert!(may_be_of(job, "a") && !may_be_of(job, "b") && may_be_of("JobId=7 JobState=PENDING", "b"));
        assert!(of_controller(job).is_none_yet() && !Fate::default().is_none_yet());
    }
}
