//! Graph, plan, keys, store, journal, scheduler, executor. Knows no raster, no net, no YAML syntax.

mod action;
mod attempt;
mod budget;
mod cache;
mod cancel;
mod canonical;
mod digest;
mod disk;
mod draw;
mod error;
mod event;
mod executor;
mod expand;
mod graph;
mod job;
mod journal;
mod lineage;
mod lock;
mod machine;
mod newest;
mod order;
mod plan;
mod query;
mod reason;
mod record;
mod resources;
mod run;
mod scheduler;
mod selection;
mod stage;
mod statcache;
mod store;
mod summary;
mod survey;
mod task_error;
mod tree;
mod view;
mod wording;

pub use action::{Action, MadeFrom, RanAs, StoredOutput};
pub use cache::Cache;
pub use cancel::Cancel;
pub use digest::{ContentId, Digest, DigestError, Key};
pub use draw::{graph_dot, graph_mermaid, graph_text};
pub use error::{CacheError, EngineError, GraphError, PlanError, QueryError};
pub use event::{Event, Observer, TaskName, TaskStatus};
pub use executor::{TaskDone, TaskEnv, TaskFailed, TaskWatch, run_task};
pub use graph::{Graph, OutputItem, StageId, StageNode, TaskId, TaskInput, TaskNode, TaskSource};
pub use job::TaskJob;
pub use lineage::Lineage;
pub use plan::{Plan, PlanCounts, PlannedTask, TaskState, plan};
pub use query::{Ancestor, Entry, Shown};
pub use reason::{InputChange, Reason};
pub use record::{InputRecord, TASK_RECORD, TaskRecord};
pub use run::{RunOptions, run};
pub use selection::Selection;
pub use stage::{
    Cores, DeviceChoice, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, Progress,
    ProgressSink, Registry, StageError, StageKind, TaskContext, TaskPlan,
};
pub use summary::{Failure, RunSummary, StageStatus, StageSummary, TaskCounts};
pub use task_error::TaskError;
