//! Colleagues with caches of their own who share one, and the servers that it lies on.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of this")]
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod server;
mod web;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use server::{Moto, Server, installed};
pub(crate) use web::{Silent, Web};

use super::project::{Project, Ran, command, finish, shell};

/// Two stages: a file, a folder and a log; then a file made of the first.
pub(crate) const STAGES: &str = "
  make:
    uses: shell
    inputs: { words: words.txt }
    outputs: { text: text.txt, folder: folder }
    with: { run: 'sort \"$words\" > text.txt; mkdir -p folder; seq 30000 > folder/numbers.txt; cp \"$words\" folder/words.txt; echo made' }
  shout:
    uses: shell
    inputs: { text: make.text }
    outputs: { loud: loud.txt }
    with: { run: 'tr a-z A-Z < \"$text\" > loud.txt' }
";
/// The tasks of [`STAGES`].
pub(crate) const TASKS: [&str; 2] = ["make", "shout"];

/// A stage with one file of so many bytes that nothing makes smaller.
pub(crate) fn noise(bytes: u64) -> String {
    format!("  noise: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: 'head -c {bytes} /dev/urandom > o' }} }}\n")
}

/// One who works with the others: a project, its cache, and what the environment says.
pub(crate) struct Colleague {
    pub(crate) project: Project,
    variables: Vec<(String, String)>,
}

impl Colleague {
    pub(crate) fn new(stages: &str, remote: &str, variables: &[(&str, &str)]) -> Self {
        let named = [("S2PIPE_REMOTE", remote)];
        let variables = named.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { project: shell(stages), variables: variables.collect() }
    }

    pub(crate) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command(self.project.root(), args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn s2pipe(&self, args: &[&str]) -> Ran {
        finish(self.command(args))
    }

    /// `run -v` with these arguments, to a good end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.s2pipe(&[&["run", "-v"], args].concat()).ok()
    }

    /// Runs, pushes what was made, and returns the tasks that ran.
    #[track_caller]
    pub(crate) fn share(&self) -> BTreeSet<String> {
        self.run(&["--push", "always"]).tasks()
    }

    /// The bytes of an artefact in the readable view.
    pub(crate) fn read(&self, artefact: &str) -> Vec<u8> {
        fs::read(self.project.path(&format!("cache/landcover/{artefact}"))).unwrap()
    }
}

/// The tasks whose results came from the shared cache.
pub(crate) fn fetched(ran: &Ran) -> BTreeSet<String> {
    ran.stderr.lines().filter_map(|line| line.strip_suffix(": fetched").map(str::to_owned)).collect()
}

pub(crate) fn all() -> BTreeSet<String> {
    TASKS.map(str::to_owned).into()
}

/// Lines that warn.
pub(crate) fn warnings(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.contains("WARN")).collect()
}

/// Every file below a folder, relative to it and sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    fn list(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() { list(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    list(folder, &mut found);
    let mut found: Vec<PathBuf> = found.into_iter().map(|p| p.strip_prefix(folder).unwrap().to_owned()).collect();
    found.sort();
    found
}

/// The objects of a kind in a remote that is a folder on disk.
pub(crate) fn objects(remote: &Path, kind: &str) -> Vec<PathBuf> {
    files_below(&remote.join(kind)).into_iter().map(|path| remote.join(kind).join(path)).collect()
}
