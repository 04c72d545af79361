//! Options of `sbatch` that `options:` cannot have: those with a key of their own, and those that would take a job out of
//! the program's hands.

/// Options that a key of `slurm:` sets: name, key.
const WITH_A_KEY: [(&str, &str); 9] = [
    ("partition", "partition"),
    ("account", "account"),
    ("time", "time"),
    ("cpus-per-task", "cpus"),
    ("mem", "memory"),
    ("gpus", "gpus"),
    ("gpus-per-node", "gpus"),
    ("nodes", "nodes"),
    ("array", "array"),
];

/// Options that the program sets itself, or that would hide a job from it: name, what to do.
const OURS: [(&str, &str); 23] = [
    ("output", "what a task prints goes to its own log"),
    ("error", "what a task prints goes to its own log"),
    ("open-mode", "what a task prints goes to its own log"),
    ("input", "tasks read nothing from standard input"),
    ("dependency", "the order of tasks follows from what they read; `needs:` of a stage adds to it"),
    ("job-name", "s2pipe names its jobs itself"),
    ("comment", "s2pipe writes its own, by which it finds its jobs again"),
    ("parsable", "s2pipe reads the number of a job from what `sbatch` prints"),
    ("quiet", "s2pipe reads the number of a job from what `sbatch` prints"),
    ("verbose", "s2pipe reads the number of a job from what `sbatch` prints"),
    ("wrap", "s2pipe writes the script of a job; lines of your own stand in `setup:`"),
    ("export", "s2pipe decides which variables a job sees; `setup:` may have lines such as `export NAME=value`"),
    ("export-file", "s2pipe decides which variables a job sees; `setup:` may have lines such as `export NAME=value`"),
    ("requeue", "s2pipe decides when a task is tried again; use `retries:` of a stage"),
    ("no-requeue", "s2pipe decides when a task is tried again; use `retries:` of a stage"),
    ("chdir", "every task has a folder of its own"),
    ("clusters", "s2pipe follows its jobs on the cluster where it runs: start it on the other one"),
    ("signal", "s2pipe has itself told before the `time` of a job is over"),
    ("kill-on-invalid-dep", "s2pipe decides what becomes of a job whose inputs failed"),
    ("wait", "s2pipe waits for its jobs itself"),
    ("test-only", "nothing would run; use `s2pipe run --dry-run`"),
    ("ntasks", "s2pipe decides how many processes a job has; use `cpus`, `pack` or `nodes`"),
    ("ntasks-per-node", "s2pipe decides how many processes a job has; use `cpus`, `pack` or `nodes`"),
];

/// One-letter options of `sbatch` that people know, and what they stand for.
const SHORT: [(char, &str); 19] = [
    ('A', "account"),
    ('C', "constraint"),
    ('D', "chdir"),
    ('G', "gpus"),
    ('J', "job-name"),
    ('L', "licenses"),
    ('M', "clusters"),
    ('N', "nodes"),
    ('a', "array"),
    ('c', "cpus-per-task"),
    ('d', "dependency"),
    ('e', "error"),
    ('n', "ntasks"),
    ('o', "output"),
    ('p', "partition"),
    ('q', "qos"),
    ('t', "time"),
    ('w', "nodelist"),
    ('x', "exclude"),
];

/// The name of an option such as `--qos=devel`, without dashes and value; `None` where it is not one.
pub(in crate::spec) fn option_name(option: &str) -> Option<&str> {
    let name = option.strip_prefix("--")?.split(['=', ' ']).next().unwrap_or_default();
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    good.then_some(name)
}

/// `--qos=devel` for `-q devel`, `-qdevel` and `-q`, where the letter is known.
pub(in crate::spec) fn long_form(option: &str) -> Option<String> {
    let mut rest = option.strip_prefix('-')?.chars();
    let letter = rest.next()?;
    let (_, name) = SHORT.iter().find(|(short, _)| *short == letter)?;
    let value = rest.as_str().trim();
    Some(if value.is_empty() { format!("--{name}") } else { format!("--{name}={value}") })
}

/// What to do instead of giving `sbatch` the option with this name; `None` where it may be given.
///
/// `sbatch` understands the beginning of a name too, so the beginning of a taken name is taken.
pub(in crate::spec) fn instead_of(name: &str) -> Option<String> {
    if let Some((_, key)) = WITH_A_KEY.iter().find(|(option, _)| option.starts_with(name)) {
        return Some(format!("use the key `{key}`"));
    }
    OURS.iter().find(|(option, _)| option.starts_with(name)).map(|(_, advice)| (*advice).to_owned())
}

/// Every name that cannot be given.
pub(super) fn taken() -> impl Iterator<Item = &'static str> {
    WITH_A_KEY.iter().map(|(name, _)| *name).chain(OURS.iter().map(|(name, _)| *name))
}
