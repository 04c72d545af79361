//! Projects, pipelines and fake stage kinds for the engine's tests.
#![allow(dead_code, unused_imports, clippy::unwrap_used, reason = "tests; each file uses a part of the kit")]

mod kinds;
mod model;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

pub(crate) use kinds::*;
pub(crate) use model::*;
use s2pipe::engine::{
    Cache, Cancel, ContentId, EngineError, Event, Graph, Observer, RunOptions, RunSummary, Selection, TaskState, plan,
    run,
};
use s2pipe::raster::ClassTable;
use s2pipe::spec::{Axis, AxisValue, Bound, Input, Limits, Pipeline, Site, Source, Stage};
use serde_json::{Map, Value, json};

/// A temporary project: source files, a cache, and a log of which tasks really ran.
pub(crate) struct Project {
    pub(crate) dir: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        // In memory where that is possible: these tests make and remove many thousand small files.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { dir: dir.unwrap() }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.root().join("cache")
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::open(&self.cache_dir()).unwrap()
    }

    /// What ran since the last call, sorted: `stage/task`.
    pub(crate) fn ran(&self) -> Vec<String> {
        let log = self.root().join("ran.log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    pub(crate) fn pipeline(&self, stages: Vec<Stage>) -> Pipeline {
        pipeline(self.root(), stages)
    }

    pub(crate) fn graph(&self, stages: Vec<Stage>) -> Graph {
        Graph::expand(&self.pipeline(stages), &registry(self.root())).unwrap()
    }

    pub(crate) fn run_with(&self, stages: Vec<Stage>, options: &RunOptions) -> Result<RunSummary, EngineError> {
        let registry = registry(self.root());
        run(&self.graph(stages), &registry, &self.cache(), options, &(), &Cancel::default())
    }

    /// Runs to a good end and says what ran.
    pub(crate) fn run(&self, stages: Vec<Stage>) -> Vec<String> {
        let summary = self.run_with(stages, &RunOptions::default()).unwrap();
        assert!(summary.ok, "{summary:#?}");
        self.ran()
    }

    pub(crate) fn view(&self, path: &str) -> String {
        let path = self.cache_dir().join("demo").join(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

pub(crate) fn pipeline(root: &Path, stages: Vec<Stage>) -> Pipeline {
    Pipeline {
        name: "demo".into(),
        seed: 7,
        budget: None,
        allow_overlap: false,
        root: root.to_path_buf(),
        file: root.join("demo.yaml"),
        classes: ClassTable::default(),
        stages,
        site: Site::default(),
    }
}

pub(crate) fn options(from: Option<&str>, until: Option<&str>, force: bool) -> RunOptions {
    let selection = Selection { from: from.map(Into::into), until: until.map(Into::into), force };
    RunOptions { selection, ..RunOptions::default() }
}

/// `stage("name", "kind").files("in", ..).reads("in", "other.text").with(json!({..}))`
pub(crate) struct StageBuilder(Stage);

pub(crate) fn stage(name: &str, kind: &str) -> StageBuilder {
    StageBuilder(Stage {
        name: name.into(),
        uses: kind.into(),
        inputs: vec![],
        outputs: vec![],
        needs: vec![],
        with: Map::new(),
        files: vec![],
        matrix: vec![],
        bound: vec![],
        joins: false,
        limits: Limits::default(),
    })
}

impl StageBuilder {
    fn source(mut self, port: &str, source: Source) -> Self {
        match self.0.inputs.iter_mut().find(|i| i.port == port) {
            Some(input) => input.sources.push(source),
            None => self.0.inputs.push(Input { port: port.into(), sources: vec![source] }),
        }
        self
    }

    pub(crate) fn files<P: AsRef<Path>>(self, port: &str, files: &[P]) -> Self {
        let files = files.iter().map(|f| f.as_ref().to_path_buf()).collect();
        self.source(port, Source::Files { pattern: "*".into(), files })
    }

    pub(crate) fn reads(self, port: &str, stage: &str) -> Self {
        let (stage, output) = stage.split_once('.').unwrap_or((stage, "text"));
        self.source(port, Source::Output { stage: stage.into(), output: output.into() })
    }

    pub(crate) fn needs(mut self, stage: &str) -> Self {
        self.0.needs.push(stage.into());
        self
    }

    pub(crate) fn with(mut self, with: Value) -> Self {
        self.0.with = with.as_object().unwrap().clone();
        self
    }

    /// One more axis, last in the order of the file; its values go where `path` leads in `with`.
    pub(crate) fn axis(mut self, path: &str, values: &[Value]) -> Self {
        let value = |v: &Value| {
            let label = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            AxisValue { label, value: v.clone(), named: false }
        };
        self.0.matrix.push(Axis { path: path.into(), values: values.iter().map(value).collect() });
        if path == "seed" {
            return self;
        }
        let before = match self.0.bound.is_empty() {
            true => vec![self.0.with.clone()],
            false => self.0.bound.iter().map(|b| b.with.clone()).collect(),
        };
        let combine = |with: Map<String, Value>| {
            values.iter().map(move |value| {
                let mut with = with.clone();
                with.insert(path.into(), value.clone());
                Bound { with, files: vec![] }
            })
        };
        self.0.bound = before.into_iter().flat_map(combine).collect();
        self.0.with = self.0.bound[0].with.clone();
        self
    }

    pub(crate) fn joins(mut self) -> Self {
        self.0.joins = true;
        self
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.0.limits = limits;
        self
    }

    pub(crate) fn done(self) -> Stage {
        self.0
    }
}

/// Keeps every event as text.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(serde_json::to_string(event).unwrap());
    }
}

impl Heard {
    pub(crate) fn about(&self, what: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|e| e.contains(what)).cloned().collect()
    }
}

/// Path below `cache/.s2pipe` of stored content.
pub(crate) fn stored(cache: &Cache, content: ContentId) -> PathBuf {
    let (kind, hex) = match content {
        ContentId::File(d) => ("files", d.hex()),
        ContentId::Tree(d) => ("trees", d.hex()),
    };
    cache.root().join(".s2pipe/store").join(kind).join(&hex[..2]).join(&hex[2..])
}

/// Waits until the clock has moved on from a file written just now.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(45));
}

/// A JSON object.
pub(crate) fn named(name: &str) -> Value {
    json!({ "name": name })
}

/// `read` drops comment lines, `upper` turns the result into capitals, `join` joins both.
pub(crate) fn chain(project: &Project, prefix: &str) -> Vec<Stage> {
    let a = project.root().join("a.txt");
    vec![
        stage("read", "concat").files("in", &[a]).with(json!({"name": "read", "drop": "#"})).done(),
        stage("upper", "concat").reads("in", "read").with(json!({"name": "upper", "prefix": prefix})).done(),
        stage("join", "concat").reads("in", "upper").reads("more", "read").with(named("join")).done(),
    ]
}

/// Why the stage of this name would run in [`chain`].
pub(crate) fn reason_of(p: &Project, prefix: &str, name: &str) -> String {
    let plan = plan(&p.graph(chain(p, prefix)), &p.cache(), &Selection::default()).unwrap();
    match &plan.tasks.iter().find(|t| t.stage == name).unwrap().state {
        TaskState::WillRun { reasons } => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        TaskState::MayRun { depends_on } => format!("may run, depends on {}", depends_on.join(", ")),
        TaskState::Cached => "cached".into(),
    }
}
