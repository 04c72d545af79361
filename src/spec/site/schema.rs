//! The part of the JSON schema that says where a pipeline runs.

use serde_json::{Map, Value, json};

use super::reserved::taken;
use super::{ExecutorName, Push};
use crate::spec::kind::KindSpec;
use crate::spec::limits::MEMORY_PATTERN;
use crate::spec::schema::DURATION_PATTERN;
use crate::spec::words::{
    MAX_ARRAY, MAX_CPUS, MAX_GPUS, MAX_NODES, MAX_PACK, MAX_SUBMIT_RATE, NAME_PATTERN, REMOTE_SCHEMES,
};

const ALLOCATION: &str = "#/definitions/allocation";

/// `executor:`.
pub(in crate::spec) fn executor_schema() -> Value {
    json!({
        "description": "What runs the tasks: this machine, or jobs of a Slurm cluster.",
        "enum": ExecutorName::ALL.map(ExecutorName::word),
        "default": "local",
    })
}

/// `slurm:`.
pub(in crate::spec) fn slurm_schema(kinds: &[&'static KindSpec]) -> Value {
    let given = json!({ "$ref": ALLOCATION });
    let by_kind: Map<String, Value> = kinds.iter().map(|k| (k.name.to_owned(), given.clone())).collect();
    let mut properties = allocation_properties();
    let mut add = |key: &str, schema: Value| properties.insert(key.to_owned(), schema);
    add("array", whole("Most elements of one job array. Default: what the cluster says.", 1, MAX_ARRAY));
    add(
        "submit_rate",
        json!({
            "description": "Most submissions a second.",
            "type": "number", "exclusiveMinimum": 0, "maximum": MAX_SUBMIT_RATE,
        }),
    );
    add(
        "kinds",
        json!({
            "description": "Settings by stage kind.",
            "type": ["object", "null"], "additionalProperties": false, "properties": by_kind,
        }),
    );
    add(
        "stages",
        json!({
            "description": "Settings by stage; stronger than those by kind.",
            "type": ["object", "null"],
            "propertyNames": { "pattern": NAME_PATTERN },
            "additionalProperties": given,
        }),
    );
    map("What the jobs of a Slurm cluster are given.", properties)
}

/// Settings of one kind or stage.
pub(in crate::spec) fn allocation_schema() -> Value {
    map("What the jobs of these tasks are given.", allocation_properties())
}

/// `remote:`.
pub(in crate::spec) fn remote_schema() -> Value {
    let buckets: Vec<&str> = REMOTE_SCHEMES.into_iter().filter(|scheme| *scheme != "file").collect();
    let url = json!({
        "description": "Address of a folder or prefix. Credentials come from the environment.",
        "type": "string",
        "pattern": format!(r"^(file:///|({})://[^\s?#/])[^\s?#]*$", buckets.join("|")),
        "not": { "pattern": "^(?!abfs)[a-z0-9]+://[^/]*@|^[a-z0-9]+://[^/]*:[^/]*@" },
    });
    let push = json!({
        "description": "Whether results go there as soon as they are made; ask: when the command line says so.",
        "enum": Push::ALL.map(Push::word),
        "default": "ask",
    });
    map("A cache shared with others.", Map::from_iter([("url".to_owned(), url), ("push".to_owned(), push)]))
}

fn allocation_properties() -> Map<String, Value> {
    let word = |description: &str| json!({ "description": description, "type": "string", "pattern": r"^[^\s-]\S*$" });
    let option = json!({
        "type": "string",
        "pattern": "^--[a-z][a-z0-9-]*(=.*)?$",
        "not": { "pattern": format!("^--({})(=|$)", taken().collect::<Vec<_>>().join("|")) },
    });
    let properties = json!({
        "partition": word("Partition, sbatch --partition."),
        "account": word("Account that is charged, sbatch --account."),
        "time": {
            "description": "Longest time of one job, such as 90s, 12m, 4h or 1h30m, sbatch --time.",
            "type": "string", "pattern": DURATION_PATTERN, "not": { "pattern": "^[0hms]*$" },
        },
        "cpus": whole("Processors of a task, sbatch --cpus-per-task.", 1, MAX_CPUS),
        "memory": {
            "description": "Memory of a node, such as 512MB or 8GB, sbatch --mem.",
            "type": "string", "pattern": MEMORY_PATTERN, "not": { "pattern": "^[0.]*[A-Za-z]+$" },
        },
        "gpus": whole("GPUs of a node, sbatch --gpus-per-node.", 0, MAX_GPUS),
        "nodes": whole("Nodes of a task, for training across nodes.", 1, MAX_NODES),
        "options": {
            "description": "Further options of sbatch, such as --qos=devel.",
            "type": "array", "items": option,
        },
        "setup": {
            "description": "Lines of shell before the task, such as module load CUDA/12.4.",
            "type": "array", "items": { "type": "string", "pattern": r"\S" },
        },
        "pack": whole("Most tasks in one job; 1: each its own. Default: decided by the program.", 1, MAX_PACK),
    });
    if let Value::Object(properties) = properties { properties } else { Map::new() }
}

fn whole(description: &str, min: u32, max: u32) -> Value {
    json!({ "description": description, "type": "integer", "minimum": min, "maximum": max })
}

fn map(description: &str, properties: Map<String, Value>) -> Value {
    json!({
        "description": description,
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
    })
}
