//! Slurm's own commands. Each is asked for text in a form of our choice and waited for a limited time.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::SlurmError;
use super::queue::{Listed, parse_queue};

/// A busy controller may take its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Jobs named in one call.
const AT_ONCE: usize = 100;
/// Names of variables that hold credentials begin so; jobs have no use for them.
const SECRETS: [&str; 4] = ["AWS_", "AZURE_", "GOOGLE_", "GCP_"];
/// Variables by which people give Slurm's commands other defaults: an answer to us must not depend on them.
const DEFAULTS: [&str; 5] = ["SBATCH_", "SQUEUE_", "SCANCEL_", "SINFO_", "SACCT_"];

/// Calls Slurm's commands.
#[derive(Debug, Default)]
pub(super) struct Client;

impl Client {
    /// Submits a script; the job's number.
    pub(super) fn submit(&self, script: &Path, options: &[String]) -> Result<String, SlurmError> {
        let mut command = Command::new("sbatch");
        command.arg("--parsable").args(options).arg(script);
        // Variables of a job around this process, and of `sbatch`, would change what the script asks for.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let ours = name.starts_with("SLURM_") && name != "SLURM_CONF" && name != "SLURM_CLUSTERS";
            if ours || SECRETS.iter().any(|secret| name.starts_with(secret)) {
                command.env_remove(name);
            }
        }
        let answer = output("sbatch", &mut command)?;
        job_number(&answer).ok_or_else(|| {
            let answer = answer.chars().take(80).collect();
            SlurmError::Unexpected { command: "sbatch", answer, expected: "the number of a job" }
        })
    }

    /// All jobs of ours that are queued or running.
    pub(super) fn queue(&self) -> Result<Vec<Listed>, SlurmError> {
        let user = rustix::process::getuid().as_raw().to_string();
        let mut command = Command::new("squeue");
        // Long lists of array elements are cut off otherwise.
        command.env("SLURM_BITSTR_LEN", "0");
        command.args(["--noheader", "--user", &user, "--format", "%F|%K|%T|%k|%r|%N"]);
        Ok(parse_queue(&output("squeue", &mut command)?))
    }

    /// Whether anything of ours, by s2pipe or not, is queued or running.
    pub(super) fn has_jobs(&self) -> Result<bool, SlurmError> {
        let user = rustix::process::getuid().as_raw().to_string();
        let mut command = Command::new("squeue");
        Ok(!output("squeue", command.args(["--noheader", "--user", &user, "--format", "%i"]))?.trim().is_empty())
    }

    /// What the controller knows of one element, as `name=value` words. `None`: nothing any more.
    pub(super) fn element(&self, job: &str, element: usize) -> Result<Option<String>, SlurmError> {
        let name = format!("{job}_{element}");
        match output("scontrol", Command::new("scontrol").args(["--oneliner", "show", "job", &name])) {
            Err(error) if error.is_away() => Err(error),
            answer => Ok(answer.ok()),
        }
    }

    /// What accounting knows of one element: `state|exit code|nodes`. `None`: nothing, or there is no accounting.
    pub(super) fn accounted(&self, job: &str, element: usize) -> Option<String> {
        let name = format!("{job}_{element}");
        let options = ["--noheader", "--parsable2", "--allocations", "--format", "State,ExitCode,NodeList", "--jobs"];
        let text = output("sacct", Command::new("sacct").args(options).arg(&name)).ok()?;
        text.lines().next().filter(|line| line.contains('|')).map(str::to_owned)
    }

    /// Elements that one job array may have.
    pub(super) fn largest_array(&self) -> Option<usize> {
        let text = output("scontrol", Command::new("scontrol").args(["show", "config"])).ok()?;
        let line = text.lines().find(|line| line.trim_start().starts_with("MaxArraySize"))?;
        line.split('=').nth(1)?.trim().parse().ok()
    }

    /// Processors of the largest node of a partition (of any where none is named).
    pub(super) fn largest_node(&self, partition: Option<&str>) -> Option<u32> {
        let mut command = Command::new("sinfo");
        command.args(["--noheader", "--format", "%c"]);
        if let Some(partition) = partition {
            command.args(["--partition", partition]);
        }
        let text = output("sinfo", &mut command).ok()?;
        text.lines().filter_map(|line| line.trim().trim_end_matches('+').parse().ok()).max()
    }

    /// Cancels elements of jobs (`1234_[0,5]`), whatever they are at. Those that are over are no error.
    pub(super) fn cancel(&self, jobs: &[String]) -> Result<(), SlurmError> {
        self.scancel(jobs, &[])
    }

    /// Cancels those that have not begun.
    pub(super) fn cancel_pending(&self, jobs: &[String]) -> Result<(), SlurmError> {
        self.scancel(jobs, &["--state=PENDING"])
    }

    fn scancel(&self, jobs: &[String], options: &[&str]) -> Result<(), SlurmError> {
        for jobs in jobs.chunks(AT_ONCE) {
            match output("scancel", Command::new("scancel").arg("--quiet").args(options).args(jobs)) {
                Err(SlurmError::Failed { said, .. }) if said.contains("Invalid job id") => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// `1234`, or `1234;cluster`; some clusters say other things before it.
fn job_number(answer: &str) -> Option<String> {
    let number = |line: &str| {
        let number = line.trim().split(';').next().unwrap_or_default();
        (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then(|| number.to_owned())
    };
    answer.lines().rev().find_map(number)
}

/// What a command prints on standard output when it ends well.
fn output(name: &'static str, command: &mut Command) -> Result<String, SlurmError> {
    for (variable, _) in std::env::vars_os() {
        if DEFAULTS.iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
            command.env_remove(variable);
        }
    }
    // In a group of its own: Ctrl-C asks this program to stop, and does not cut off an answer.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|source| SlurmError::NoCommand { command: name, source })?;
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What cannot be read is not there.
            let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let err = read(child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() > PATIENCE => {
                // It may have ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return Err(SlurmError::Silent { command: name, seconds: PATIENCE.as_secs() });
            }
            Ok(None) => thread::sleep(pause),
            Err(source) => return Err(SlurmError::NoCommand { command: name, source }),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if status.success() {
        return Ok(out);
    }
    let said = err.lines().map(|line| line.trim_start_matches(&format!("{name}: ")).trim_start_matches("error: "));
    let said = said.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    Err(SlurmError::Failed { command: name, said: if said.is_empty() { status.to_string() } else { said } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_job_stands_alone_on_a_line() {
        assert_eq!(job_number("1234\n").as_deref(), Some("1234"));
        assert_eq!(job_number("1234;saga\n").as_deref(), Some("1234"));
        assert_eq!(job_number("Welcome to 3 clusters\n--> 17 nodes are free\n1234\n").as_deref(), Some("1234"));
        assert_eq!(job_number("3 nodes\n"), None);
    }
}
