//! Ranks that something else has started: `srun`, which starts a program once a task of a job step.

use std::time::Duration;

/// Time for the others to come, or for rank 0: it may have to wait for the task's lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// This process among those that `srun` has started for one training.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are.
    pub ranks: usize,
    /// Its number among those of its machine, from 0.
    pub(super) local: usize,
    /// The machine's name, as Slurm knows it.
    pub(super) node: Option<String>,
}

impl Span {
    /// What Slurm says in the environment; `None` outside of a step of several tasks.
    ///
    /// `SLURM_STEP_NUM_TASKS` and not `SLURM_NTASKS`: a batch script has the latter too, where nothing was started twice.
    ///
    /// # Errors
    /// A sentence about a variable that is missing or no number.
    pub fn from_slurm(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let number = |name: &str| -> Result<Option<usize>, String> {
            let Some(text) = variable(name) else { return Ok(None) };
            text.trim().parse().map(Some).map_err(|_| format!("{name} must be a number, found {text:?}"))
        };
        let Some(ranks) = number("SLURM_STEP_NUM_TASKS")?.filter(|ranks| *ranks > 1) else { return Ok(None) };
        let missing =
            || "SLURM_STEP_NUM_TASKS says that there are several tasks, but SLURM_PROCID is not there".to_owned();
        let rank = number("SLURM_PROCID")?.ok_or_else(missing)?;
        if rank >= ranks {
            return Err(format!("SLURM_PROCID must be below SLURM_STEP_NUM_TASKS ({ranks}), found {rank}"));
        }
        let local = number("SLURM_LOCALID")?.unwrap_or(0);
        Ok(Some(Self { rank, ranks, local, node: variable("SLURMD_NODENAME").filter(|name| !name.is_empty()) }))
    }

    /// Names under which other machines may know this one.
    pub(super) fn hosts(&self) -> Vec<String> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut hosts: Vec<String> = self.node.iter().cloned().collect();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
        hosts
    }

    /// Where to look for rank 0, whose machine has these names.
    pub(super) fn ways_to(&self, hosts: &[String]) -> Vec<String> {
        let here = self.hosts().iter().any(|name| hosts.contains(name));
        let local = here.then(|| "127.0.0.1".to_owned());
        local.into_iter().chain(hosts.iter().cloned()).collect()
    }

    /// The ordinal of its GPU where the driver shows `visible`: its own of several, or the one that Slurm gave it.
    pub(super) fn ordinal(&self, visible: usize) -> usize {
        if visible > self.local { self.local } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Span>, String> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Span::from_slurm(&find)
    }

    #[test]
    fn a_step_of_several_tasks_is_seen_and_nothing_else() {
        let step =
            [("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_PROCID", "5"), ("SLURM_LOCALID", "1"), ("SLURMD_NODENAME", "n2")];
        let span = read(&step).unwrap().unwrap();
        assert_eq!(span, Span { rank: 5, ranks: 8, local: 1, node: Some("n2".into()) });
        assert_eq!((span.ordinal(4), span.ordinal(1)), (1, 0));
        assert_eq!(span.hosts()[0], "n2");
        assert_eq!(span.ways_to(&["n1".into()]), ["n1"]);
        assert_eq!(span.ways_to(&["n2".into()]), ["127.0.0.1", "n2"]);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), Ok(None), "a batch script");
        assert_eq!(read(&[("SLURM_STEP_NUM_TASKS", "1"), ("SLURM_PROCID", "0")]), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let problem = |variables: &[(&str, &str)]| read(variables).unwrap_err();
        assert!(problem(&[("SLURM_STEP_NUM_TASKS", "2")]).contains("SLURM_PROCID is not there"));
        assert!(problem(&[("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", "2")]).contains("must be below"));
        assert!(problem(&[("SLURM_STEP_NUM_TASKS", "two")]).contains("must be a number"));
    }
}
