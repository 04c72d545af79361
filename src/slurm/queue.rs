//! What `squeue` lists.

use std::ops::RangeInclusive;

use super::batch::of_comment;

/// A line of the queue: one element of a job array, or several that wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listed {
    /// Number of the array.
    pub(super) job: String,
    /// Its elements.
    pub(super) elements: Vec<RangeInclusive<usize>>,
    /// `PENDING`, `RUNNING`, …
    pub(super) state: String,
    /// What `--comment` said.
    pub(super) comment: String,
    /// Why it waits.
    pub(super) reason: String,
    /// Where it runs.
    pub(super) node: String,
}

impl Listed {
    /// Whether it is of this job, which is that of this batch. A controller that lost its memory may give the number to
    /// another one; a cluster may drop comments.
    pub(super) fn is_of(&self, job: Option<&str>, batch: &str) -> bool {
        Some(self.job.as_str()) == job && of_comment(&self.comment).is_none_or(|id| id == batch)
    }

    pub(super) fn has(&self, element: usize) -> bool {
        self.elements.iter().any(|range| range.contains(&element))
    }

    pub(super) fn is_pending(&self) -> bool {
        self.state == "PENDING"
    }
}

/// Reads `%F|%K|%T|%k|%r|%N`. Lines that are none are skipped: jobs that are no arrays are not ours.
pub(super) fn parse_queue(text: &str) -> Vec<Listed> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Listed> {
    let mut fields = line.split('|').map(str::trim);
    let mut next = || fields.next().map(str::to_owned);
    let (job, elements) = (next()?, elements(&next()?)?);
    Some(Listed { job, elements, state: next()?, comment: next()?, reason: next()?, node: next()? })
}

/// `5`, `0-3,7`, `2-4%2` (at most two at a time), `[0-9:3]` (every third).
fn elements(text: &str) -> Option<Vec<RangeInclusive<usize>>> {
    let text = text.trim_start_matches('[').trim_end_matches(']').split('%').next()?;
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (span, step) = part.split_once(':').map_or((part, 1), |(span, step)| (span, step.parse().unwrap_or(1)));
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if step == 1 {
            ranges.push(first..=last);
        } else {
            ranges.extend((first..=last).step_by(step).map(|element| element..=element));
        }
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_wait_and_one_that_runs() {
        let text =
            "1|2-4%2|PENDING|s2pipe:abc|JobArrayTaskLimit|\n1|0|RUNNING|s2pipe:abc|None|c1-2\n7|N/A|RUNNING||None|c3\n";
        let listed = parse_queue(text);
        assert_eq!(listed.len(), 2, "a job that is no array is not ours");
        assert!(listed[0].is_of(Some("1"), "abc") && !listed[0].is_of(Some("1"), "d") && !listed[0].is_of(None, "abc"));
        assert!(listed[0].is_pending() && listed[0].has(2) && listed[0].has(4) && !listed[0].has(0));
        assert_eq!((listed[1].comment.as_str(), listed[1].node.as_str()), ("s2pipe:abc", "c1-2"));
        assert!(listed[1].has(0) && !listed[1].has(1));
    }

    #[test]
    fn lists_and_steps_of_elements() {
        assert_eq!(elements("0-2,7,9-10%5"), Some(vec![0..=2, 7..=7, 9..=10]));
        assert_eq!(elements("[0-7:3]"), Some(vec![0..=0, 3..=3, 6..=6]));
        assert_eq!(elements("N/A"), None);
    }
}
