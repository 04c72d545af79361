//! The script of a job array, and the options of `sbatch`.

use std::fmt::Write as _;
use std::path::Path;

use super::batch::comment;
use super::pack::{Load, Share, tasks_per_job};
use crate::spec::{Allocation, Limits, SlurmSettings};

/// A job is told so many seconds before its time is over that it must stop: enough for a checkpoint.
const WARNED_BEFORE: u64 = 60;

/// What a script is made of.
pub(super) struct Script<'a> {
    pub(super) id: &'a str,
    pub(super) pipeline: &'a str,
    pub(super) stage: &'a str,
    pub(super) elements: usize,
    pub(super) asked: &'a Allocation,
    pub(super) share: Share,
    pub(super) memory: Option<u64>,
    /// Folder of the batch.
    pub(super) dir: &'a Path,
    pub(super) cache: &'a Path,
    pub(super) program: &'a Path,
}

impl Script<'_> {
    /// The text of `job.sh`.
    pub(super) fn text(&self) -> String {
        // Where there is something to set up, it is with `module` or `conda`, which only login shells know of everywhere.
        let sets_up = self.asked.setup.as_ref().is_some_and(|lines| !lines.is_empty());
        let mut text = String::from(if sets_up { "#!/bin/bash -l\n" } else { "#!/bin/sh\n" });
        for option in self.options() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "#SBATCH {option}");
        }
        if sets_up {
            // Without the module that it needs a task must not begin.
            text.push_str("set -e\n");
        }
        for line in self.asked.setup.iter().flatten() {
            let _ = writeln!(text, "{line}");
        }
        let nodes = self.asked.nodes.unwrap_or(1);
        // One process each GPU, or each node. Since Slurm 22.05 `srun` is to be told once more how many processors it has.
        let launch = match nodes {
            1 => String::new(),
            _ => format!("srun --kill-on-bad-exit=1 --cpus-per-task={} ", self.share.cpus),
        };
        let dir = self.dir.display().to_string();
        let of_element =
            |folder: &str, end: &str| format!("{}/\"$SLURM_ARRAY_TASK_ID\"{end}", quoted(&format!("{dir}/{folder}")));
        let _ = writeln!(
            text,
            "exec {launch}{} task run {} --cache {} --report {}",
            quoted(&self.program.display().to_string()),
            of_element("packs", ".json"),
            quoted(&self.cache.display().to_string()),
            of_element("reports", ".jsonl"),
        );
        text
    }

    fn options(&self) -> Vec<String> {
        let (asked, share) = (self.asked, self.share);
        let nodes = asked.nodes.unwrap_or(1);
        let mut options = vec![
            format!("--job-name={}.{}", self.pipeline, self.stage),
            format!("--comment={}", comment(self.id)),
            format!("--array=0-{}", self.elements.saturating_sub(1)),
            // `%` begins a placeholder there.
            option("output", &format!("{}/logs/%a.out", self.dir.display().to_string().replace('%', "%%"))),
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
            format!("--cpus-per-task={}", share.cpus),
        ];
        let mut ask =
            |name: &str, value: Option<String>| options.extend(value.map(|value| format!("--{name}={value}")));
        ask("partition", asked.partition.clone());
        ask("account", asked.account.clone());
        ask("time", asked.time.map(|time| clock(time.as_secs())));
        ask("signal", asked.time.map(|time| format!("B:TERM@{}", WARNED_BEFORE.min(time.as_secs() / 4))));
        ask("mem", asked.memory.or(self.memory).map(|bytes| format!("{}K", bytes.div_ceil(1024))));
        ask("gpus-per-node", (share.gpus > 0).then(|| share.gpus.to_string()));
        if nodes > 1 {
            ask("nodes", Some(nodes.to_string()));
            ask("ntasks-per-node", Some(share.gpus.max(1).to_string()));
        }
        options.extend(asked.options.iter().flatten().cloned());
        options
    }
}

/// `1-02:03:04`, as `sbatch --time` has it.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let day = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{day}{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// An option of `#SBATCH`, where blanks end a word, `#` begins a comment, and quotes have to match.
fn option(name: &str, value: &str) -> String {
    if value.chars().any(|c| c.is_whitespace() || "'\"#\\".contains(c)) {
        format!("--{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        format!("--{name}={value}")
    }
}

/// A stage that would be submitted, for `--dry-run`.
pub struct Preview<'a> {
    /// Pipeline name.
    pub pipeline: &'a str,
    /// Stage name.
    pub stage: &'a str,
    /// Stage kind.
    pub kind: &'a str,
    /// Time and machine that the stage asks for.
    pub limits: &'a Limits,
    /// Number of its tasks that would be submitted.
    pub tasks: usize,
    /// Whether they make good use of all cores that they get.
    pub all_cores: bool,
    /// Seconds that they took last time, of those of which that is known.
    pub seconds: Vec<f64>,
}

/// The script that would be submitted for a stage, and how many of its tasks one job would have. No cluster is asked:
/// where it has smaller nodes or takes shorter arrays, the real script differs in that.
pub fn preview(stage: &Preview<'_>, settings: &SlurmSettings, cache: &Path, program: &Path) -> (String, usize) {
    let asked = settings.allocation(stage.stage, stage.kind);
    let share = Share::new(&asked, stage.limits, stage.all_cores, None);
    let load = Load { tasks: stage.tasks, all_cores: stage.all_cores, seconds: stage.seconds.clone() };
    let per_job = tasks_per_job(&load, &asked, share);
    let dir = cache.join(".s2pipe/batches/BATCH");
    let script = Script {
        id: "BATCH",
        pipeline: stage.pipeline,
        stage: stage.stage,
        elements: stage.tasks.div_ceil(per_job.max(1)),
        asked: &asked,
        share,
        memory: stage.limits.resources.memory,
        dir: &dir,
        cache,
        program,
    };
    (script.text(), per_job)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn script(asked: &Allocation, gpus: u32) -> String {
        let share = Share { cpus: 8, gpus, side_by_side: 1, threads: 8 };
        let script = Script {
            id: "20261130-1",
            pipeline: "landcover",
            stage: "train",
            elements: 3,
            asked,
            share,
            memory: Some(8_000_000_000),
            dir: Path::new("/proj/it's 5%/b"),
            cache: Path::new("/proj/cache"),
            program: Path::new("/home/me/s2pipe"),
        };
        script.text()
    }

    #[test]
    fn what_is_asked_for_stands_in_the_script() {
        let asked = Allocation {
            partition: Some("accel".into()),
            account: Some("nn1".into()),
            time: Some(Duration::from_secs(90_061)),
            nodes: Some(2),
            options: Some(vec!["--qos=devel".into()]),
            setup: Some(vec!["module load CUDA".into()]),
            ..Allocation::default()
        };
        let text = script(&asked, 4);
        for line in [
            "#SBATCH --job-name=landcover.train",
            "#SBATCH --comment=s2pipe:20261130-1",
            "#SBATCH --array=0-2",
            "#SBATCH --output=\"/proj/it's 5%%/b/logs/%a.out\"",
            "#SBATCH --partition=accel",
            "#SBATCH --time=1-01:01:01",
            "#SBATCH --signal=B:TERM@60",
            "#SBATCH --mem=7812500K",
            "#SBATCH --gpus-per-node=4",
            "#SBATCH --nodes=2",
            "#SBATCH --ntasks-per-node=4",
            "#SBATCH --qos=devel",
            "module load CUDA",
            "exec srun --kill-on-bad-exit=1 --cpus-per-task=8 /home/me/s2pipe task run '/proj/it'\\''s 5%/b/packs'/\"$SLURM_ARRAY_TASK_ID\".json \
             --cache /proj/cache --report '/proj/it'\\''s 5%/b/reports'/\"$SLURM_ARRAY_TASK_ID\".jsonl",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
        }
        assert!(text.starts_with("#!/bin/bash -l\n") && text.contains("\nset -e\nmodule load CUDA\n"), "{text}");
        let plain = script(&Allocation::default(), 0);
        assert!(
            plain.starts_with("#!/bin/sh\n")
                && !plain.contains("--time")
                && !plain.contains("gpus")
                && plain.contains("\nexec /home/me/s2pipe task run")
        );
    }
}
