//! Graph, plan, keys, store, journal, scheduler, executor. Knows no raster, no net, no YAML syntax.

mod stage;

pub use stage::{
    Cancel, Cores, DeviceChoice, ExpandContext, ExpandError, Expansion, Item, Origin, Outcome, OutputDecl, Progress,
    ProgressSink, Registry, StageError, StageKind, TaskContext, TaskPlan,
};
