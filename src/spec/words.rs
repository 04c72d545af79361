//! The keys of the language and the rules for names.

/// Keys of a pipeline.
pub(super) const TOP_KEYS: [&str; 10] =
    ["name", "seed", "budget", "root", "allow_overlap", "classes", "stages", SITE_KEYS[0], SITE_KEYS[1], SITE_KEYS[2]];

/// Those of them that say where a pipeline runs: all that a personal file may have.
pub(super) const SITE_KEYS: [&str; 3] = ["executor", "slurm", "remote"];

/// Keys of what a job is given: of `slurm:`, and of each entry of its `kinds:` and `stages:`.
pub(super) const ALLOCATION_KEYS: [&str; 10] =
    ["partition", "account", "time", "cpus", "memory", "gpus", "nodes", "options", "setup", "pack"];

/// Keys that only `slurm:` itself has.
pub(super) const SLURM_KEYS: [&str; 4] = ["array", "submit_rate", "kinds", "stages"];

/// Keys of `remote:`.
pub(super) const REMOTE_KEYS: [&str; 2] = ["url", "push"];

/// What the address of a shared cache may begin with, before `://`.
pub(super) const REMOTE_SCHEMES: [&str; 8] = ["s3", "gs", "az", "abfs", "abfss", "http", "https", "file"];

/// Most that `nodes:` may say.
pub(super) const MAX_NODES: u32 = 1024;

/// Most that `pack:` may say.
pub(super) const MAX_PACK: u32 = 10_000;

/// Most that `array:` may say: Slurm's own bound of `MaxArraySize`.
pub(super) const MAX_ARRAY: u32 = 4_000_001;

/// Most submissions a second that `submit_rate:` may say.
pub(super) const MAX_SUBMIT_RATE: f64 = 1000.0;

/// Keys of a stage.
pub(super) const STAGE_KEYS: [&str; 10] =
    ["uses", "inputs", "outputs", "needs", "with", "matrix", "join", "timeout", "retries", "resources"];

/// Keys of `resources:`.
pub(super) const RESOURCE_KEYS: [&str; 3] = ["cpus", "memory", "gpus"];

/// Most that `retries:` may say: a task that fails so often will not end well.
pub(super) const MAX_RETRIES: u32 = 100;

/// Most that `cpus:` may say, as `-j`.
pub(super) const MAX_CPUS: u32 = 1024;

/// Most that `gpus:` may say.
pub(super) const MAX_GPUS: u32 = 1024;

/// Keys of a class.
pub(super) const CLASS_KEYS: [&str; 2] = ["name", "color"];

/// Longest name of a pipeline or stage: both become folders.
pub(super) const MAX_NAME: usize = 64;

/// What a stage name or an output name looks like, as a regular expression.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z][A-Za-z0-9_-]{0,63}$";

/// The same in words.
pub(super) const NAME_RULE: &str = "a letter, then letters, digits, `_` or `-`, at most 64";

/// Whether a stage or output may have this name ([`NAME_PATTERN`]).
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && text.len() <= MAX_NAME
}

/// What names a value of a matrix, as a regular expression.
pub(super) const LABEL_PATTERN: &str = "^[A-Za-z0-9._+-]{1,64}$";

/// The same in words.
pub(super) const LABEL_RULE: &str = "letters, digits, `.`, `_`, `+` or `-`, at most 64";

/// Whether a text can name a value of a matrix ([`LABEL_PATTERN`]): it becomes part of folders' names.
pub(super) fn is_label(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

/// What a variable name of a shell looks like, as a regular expression.
pub(super) const VARIABLE_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// The same in words.
pub(super) const VARIABLE_RULE: &str = "a letter or `_`, then letters, digits or `_`";

/// Whether a text can name an environment variable in every shell ([`VARIABLE_PATTERN`]).
pub(super) fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Variables whose loss would break a command in ways that nobody would look for here.
pub(super) const TAKEN_VARIABLES: [&str; 11] = [
    "PATH",
    "HOME",
    "PWD",
    "SHELL",
    "IFS",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LANG",
    "CUDA_VISIBLE_DEVICES",
    "S2PIPE_CPUS",
];

/// What a pipeline name looks like, as a regular expression (letters of any script).
pub(super) const PIPELINE_PATTERN: &str = r##"^[^\s._/\\:*?"'<>|#$&-][^\s/\\:*?"'<>|#$&]{0,63}$"##;

/// Whether a pipeline may have this name: it names a folder.
pub(super) fn is_pipeline_name(text: &str) -> bool {
    text.starts_with(char::is_alphanumeric)
        && text.chars().all(|c| c.is_alphanumeric() || "._-".contains(c))
        && text.chars().count() <= MAX_NAME
}
