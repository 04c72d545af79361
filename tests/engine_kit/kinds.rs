//! Small fake stage kinds.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use s2pipe::engine::{
    Cores, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, Progress, Registry, StageError,
    StageKind, TaskContext, TaskPlan,
};
use s2pipe::spec::KindSpec;
use serde_json::Value;

/// The kinds by name. `concat`: one task that joins all its inputs; `each`: one task an item; all others are one task.
pub(crate) fn registry(root: &Path) -> Registry {
    registry_of(root, &VERSION_1)
}

/// The same with a raised code version of `concat`.
pub(crate) fn registry_v2(root: &Path) -> Registry {
    registry_of(root, &VERSION_2)
}

type Body = fn(&TaskContext<'_>) -> Result<Outcome, StageError>;

static VERSION_1: [KindSpec; 17] = kinds(1);
static VERSION_2: [KindSpec; 17] = kinds(2);

const fn kinds(concat: u32) -> [KindSpec; 17] {
    [
        spec("concat", concat),
        spec("each", 1),
        spec("tree", 1),
        spec("sleep", 1),
        spec("fail", 1),
        spec("panic", 1),
        spec("nothing", 1),
        spec("cut", 1),
        spec("touchy", 1),
        spec("random", 1),
        spec("wait", 1),
        spec("link", 1),
        spec("copy", 1),
        spec("clock", 1),
        spec("flaky", 1),
        spec("hold", 1),
        spec("meet", 1),
    ]
}

fn registry_of(root: &Path, specs: &'static [KindSpec; 17]) -> Registry {
    let bodies: [Body; 17] = [
        concat, concat, tree, sleep, fail, panics, nothing, cut, touchy, random, wait, link, copy, clock, flaky, hold,
        meet,
    ];
    let mut registry = Registry::default();
    for (spec, body) in specs.iter().zip(bodies) {
        registry.register(Arc::new(Fake { spec, body, log: root.join("ran.log") }));
    }
    registry
}

const fn spec(name: &'static str, version: u32) -> KindSpec {
    KindSpec {
        name,
        version,
        doc: "a fake",
        inputs: &[],
        free_inputs: true,
        outputs: &[],
        free_outputs: false,
        joins: false,
        params: &[],
        check: None,
    }
}

struct Fake {
    spec: &'static KindSpec,
    body: Body,
    log: PathBuf,
}

impl Fake {
    fn plan(&self, context: &ExpandContext<'_>, task: &str, inputs: Vec<(String, Origin)>) -> TaskPlan {
        let file = if task.is_empty() { "out.txt".to_owned() } else { format!("{task}.txt") };
        let path = if self.spec.name == "tree" { "tree".into() } else { PathBuf::from(file) };
        let mut params = context.stage.with.clone();
        params.remove("cores");
        TaskPlan {
            name: task.to_owned(),
            params: Value::Object(params),
            seed: None,
            classes: None,
            inputs,
            outputs: vec![OutputDecl { name: "text".into(), path }],
            cores: if context.stage.with.contains_key("cores") { Cores::All } else { Cores::One },
        }
    }
}

impl StageKind for Fake {
    fn spec(&self) -> &'static KindSpec {
        self.spec
    }

    fn expand(&self, context: &ExpandContext<'_>) -> Result<Expansion, ExpandError> {
        if context.stage.with.get("refuse").is_some() {
            return Err(ExpandError { message: "it does not fit".into(), help: None });
        }
        let stage = &context.stage.name;
        let item = |name: &str, task: &str| Item {
            axes: Vec::new(),
            name: name.into(),
            from: Origin::Task { stage: stage.clone(), task: task.into(), output: "text".into() },
        };
        let mut expansion = Expansion::default();
        let items = if self.spec.name == "each" {
            for input in context.items("in") {
                let inputs = vec![("in".to_owned(), input.from.clone())];
                expansion.tasks.push(self.plan(context, &input.name, inputs));
            }
            context.items("in").iter().map(|i| item(&i.name, &i.name)).collect()
        } else {
            let slot =
                |port: &str, i: &Item| if i.name.is_empty() { port.into() } else { format!("{port}/{}", i.name) };
            let inputs = context.inputs.iter();
            let inputs = inputs.flat_map(|(port, items)| items.iter().map(move |i| (slot(port, i), i.from.clone())));
            expansion.tasks.push(self.plan(context, "", inputs.collect()));
            vec![item("", "")]
        };
        expansion.outputs = BTreeMap::from([("text".to_owned(), items)]);
        Ok(expansion)
    }

    fn run(&self, task: &TaskContext<'_>) -> Result<Outcome, StageError> {
        let name = task.params.get("name").and_then(Value::as_str).unwrap_or(self.spec.name);
        let item = task.outputs[0].path.with_extension("").display().to_string();
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        // In one piece: other tasks write to the same file.
        log.write_all(format!("{name}/{item}\n").as_bytes()).unwrap();
        (self.body)(task)
    }
}

fn inputs(task: &TaskContext<'_>) -> String {
    task.inputs.values().map(|path| text_of(path)).collect()
}

/// A file's text, or all files of a directory with their names.
pub(crate) fn text_of(path: &Path) -> String {
    if !path.is_dir() {
        return fs::read_to_string(path).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    names.iter().map(|p| format!("{}:{}", p.file_name().unwrap().to_string_lossy(), text_of(p))).collect()
}

fn put(task: &TaskContext<'_>, text: &str) -> Result<Outcome, StageError> {
    fs::write(task.output("text")?, text).unwrap();
    Ok(Outcome::Complete)
}

/// What `concat` leaves for a joined input and parameters: the oracle uses the same function.
pub(crate) fn concat_text(params: &Value, input: &str) -> String {
    let get = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // `drop`: lines that begin with it vanish, so that different inputs can give equal outputs.
    let drop = get("drop");
    let kept: String = input.split_inclusive('\n').filter(|l| drop.is_empty() || !l.starts_with(&drop)).collect();
    format!("{}{}", get("prefix"), kept.to_uppercase())
}

fn concat(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    put(task, &concat_text(task.params, &inputs(task)))
}

fn tree(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    let dir = task.output("text")?;
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::create_dir_all(dir.join("empty")).unwrap();
    fs::write(dir.join("all.txt"), inputs(task)).unwrap();
    for name in task.params["files"].as_array().into_iter().flatten() {
        fs::write(dir.join("sub").join(name.as_str().unwrap()), name.as_str().unwrap()).unwrap();
    }
    fs::write(dir.join("run.sh"), "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.join("run.sh"), mode).unwrap();
    Ok(Outcome::Complete)
}

/// Counts to `ms`, a millisecond a step, with a file a step in its checkpoint directory, and goes on from there.
fn sleep(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    let ms = task.params["ms"].as_u64().unwrap();
    let begin = fs::read_dir(task.checkpoint_dir).unwrap().count() as u64;
    task.progress.progress(Progress::Message(format!("from {begin}")));
    for done in begin..ms {
        if task.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        std::thread::sleep(Duration::from_millis(1));
        fs::write(task.checkpoint_dir.join(done.to_string()), "").unwrap();
        task.progress.progress(Progress::Step { unit: "ms", done: done + 1, total: ms, note: String::new() });
    }
    put(task, &inputs(task))
}

/// Fails while a file `broken` lies beside the log, i.e. for a reason that no key knows.
fn fail(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    fs::write(task.output("text")?, "PARTIAL").unwrap();
    let broken = PathBuf::from(task.params["broken"].as_str().unwrap());
    if broken.exists() {
        fs::write(task.log, "first line\nlast line\n").unwrap();
        return Err(StageError::with_help("it broke", "mend it"));
    }
    put(task, &inputs(task))
}

fn panics(_task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    panic!("index 9 out of bounds");
}

fn nothing(_task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    Ok(Outcome::Complete)
}

/// Cut short by its deadline as long as a file `short` is there; counts its attempts in a checkpoint.
fn cut(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    let count = task.checkpoint_dir.join("attempts");
    let attempts = fs::read_to_string(&count).map_or(0, |t| t.parse::<u32>().unwrap()) + 1;
    fs::write(&count, attempts.to_string()).unwrap();
    put(task, &format!("attempt {attempts}"))?;
    let short = PathBuf::from(task.params["short"].as_str().unwrap());
    Ok(if short.exists() { Outcome::CutShort } else { Outcome::Complete })
}

/// Changes its own source file while it runs.
fn touchy(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    let text = inputs(task);
    for path in task.inputs.values() {
        fs::write(fs::canonicalize(path).unwrap(), "changed meanwhile").unwrap();
    }
    put(task, &text)
}

/// Leaves other bytes each time.
fn random(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    put(task, &format!("{:?}", std::time::SystemTime::now()))
}

/// `ln "$in" out`: leaves a hard link to its source file.
fn link(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    for path in task.inputs.values() {
        fs::hard_link(fs::canonicalize(path).unwrap(), task.output("text")?).unwrap();
    }
    Ok(Outcome::Complete)
}

/// Copies its inputs, and reports what the system says when that fails.
fn copy(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    let path = task.output("text")?;
    fs::write(&path, inputs(task)).map_err(|e| StageError::failed(format!("cannot write {}: {e}", path.display())))?;
    Ok(Outcome::Complete)
}

/// Writes down what it was given: tens of seconds to its deadline, and threads.
fn clock(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    let left = task.deadline.map(|d| ((d - std::time::Instant::now()).as_secs_f64() / 10.0).round() as u32 * 10);
    put(task, &format!("{left:?} {}", task.threads))
}

/// Waits until it is cancelled.
fn wait(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    fs::write(task.params["up"].as_str().unwrap(), "").unwrap();
    while !task.cancel.is_cancelled() {
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(StageError::Cancelled)
}

/// Fails the first `failures` times, with what it was given in its private directories and in its log.
fn flaky(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    for dir in [task.out_dir, task.scratch_dir] {
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "every attempt begins with empty directories");
        fs::write(dir.join("text"), "left over").unwrap();
    }
    let count = PathBuf::from(task.params["count"].as_str().unwrap());
    let attempt = fs::read_to_string(&count).map_or(0, |t| t.parse::<u64>().unwrap()) + 1;
    fs::write(&count, attempt.to_string()).unwrap();
    let mut log = fs::OpenOptions::new().create(true).append(true).open(task.log).unwrap();
    writeln!(log, "this is attempt {attempt}").unwrap();
    if attempt <= task.params["failures"].as_u64().unwrap() {
        return match task.params["how"].as_str() {
            Some("panic") => panic!("no {attempt}"),
            Some("nothing") => Ok(Outcome::Complete),
            _ => Err(StageError::with_help(format!("no {attempt}"), "try again")),
        };
    }
    fs::remove_file(task.out_dir.join("text")).unwrap();
    put(task, "done")
}

/// Waits for some milliseconds and leaves what it holds.
fn hold(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    std::thread::sleep(Duration::from_millis(task.params["ms"].as_u64().unwrap()));
    put(task, &format!("{:?} {} {:?} {:?}", task.gpus, task.threads, task.device, task.gpu_memory))
}

/// Makes the file `touch` and waits until there is the file `await`.
fn meet(task: &TaskContext<'_>) -> Result<Outcome, StageError> {
    let file = |name: &str| task.params.get(name).and_then(Value::as_str).map(PathBuf::from);
    if let Some(file) = file("touch") {
        fs::write(file, "").unwrap();
    }
    let awaited = file("await");
    let begun = std::time::Instant::now();
    while awaited.as_ref().is_some_and(|file| !file.exists()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody came");
        std::thread::sleep(Duration::from_millis(1));
    }
    put(task, "")
}
