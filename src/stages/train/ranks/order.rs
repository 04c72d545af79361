//! What rank 0 tells the other ranks of its training.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{DeviceChoice, StageError, TaskContext};
use crate::net::collective::{Meeting, Token};

/// Version of the order.
const ORDER: &str = "s2pipe.rank/1";

/// All that another process needs to take part in a training: what is trained on what, and where rank 0 is. It holds the
/// word that lets a process in, so it goes through pipes and files that only the same user can read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// [`ORDER`].
    order: String,
    /// Version of the program: ranks of two versions need not compute the same.
    program: String,
    /// Names or addresses of rank 0's machine.
    pub(super) hosts: Vec<String>,
    /// The port there.
    pub(super) port: u16,
    /// What must be shown there, as hexadecimal digits.
    token: String,
    /// Ranks in all.
    pub(super) ranks: usize,
    /// The task's parameters.
    pub(super) params: Value,
    /// Its seed.
    pub(super) seed: Option<u64>,
    /// Its classes.
    pub(super) classes: Option<Value>,
    /// Its inputs, as rank 0 reads them.
    pub(super) inputs: BTreeMap<String, PathBuf>,
    /// Its checkpoints, of which rank 0 alone writes any.
    pub(super) checkpoints: PathBuf,
    /// Whether rank 0 computes on a GPU: then all do.
    pub(super) on_gpu: bool,
    /// Bytes of GPU memory that a rank may use at most.
    pub(super) gpu_memory: Option<u64>,
    /// Threads of each rank.
    pub(super) threads: usize,
}

impl Order {
    /// For a training with rank 0 at `meeting`.
    pub(super) fn new(
        task: &TaskContext<'_>,
        (meeting, hosts): (&Meeting, Vec<String>),
        ranks: usize,
        on_gpu: bool,
        threads: usize,
    ) -> Self {
        Self {
            order: ORDER.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            hosts,
            port: meeting.port(),
            token: meeting.token().to_hex(),
            ranks,
            params: task.params.clone(),
            seed: task.seed,
            classes: task.classes.cloned(),
            inputs: task.inputs.clone(),
            checkpoints: task.checkpoint_dir.to_path_buf(),
            on_gpu,
            gpu_memory: task.gpu_memory,
            threads,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// A text that is none, or one of another version of this program.
    pub(super) fn read(text: &str) -> Result<Self, StageError> {
        let order: Self = serde_json::from_str(text)
            .map_err(|error| StageError::failed(format!("what rank 0 tells its ranks cannot be read: {error}")))?;
        let expected = (ORDER, env!("CARGO_PKG_VERSION"));
        let found = (order.order.as_str(), order.program.as_str());
        if found == expected {
            return Ok(order);
        }
        Err(StageError::with_help(
            format!("rank 0 runs another version of s2pipe: expected {expected:?}, found {found:?}"),
            "start all ranks with the same program",
        ))
    }

    /// As one line of JSON.
    ///
    /// # Errors
    /// Paths that are no Unicode.
    pub(super) fn line(&self) -> Result<String, StageError> {
        serde_json::to_string(self)
            .map_err(|error| StageError::failed(format!("the task cannot be told to ranks: {error}")))
    }

    /// What must be shown to rank 0.
    pub(super) fn token(&self) -> Result<Token, StageError> {
        Token::from_hex(&self.token)
            .ok_or_else(|| StageError::failed("what rank 0 tells its ranks is damaged: its token"))
    }

    /// Where a rank computes that has GPU `ordinal`.
    pub(super) fn device(&self, ordinal: usize) -> DeviceChoice {
        if self.on_gpu { DeviceChoice::Cuda(ordinal) } else { DeviceChoice::Cpu }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order() -> Order {
        Order {
            order: ORDER.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            hosts: vec!["n1".into()],
            port: 4000,
            token: "ab".repeat(32),
            ranks: 2,
            params: json!({ "epochs": 3 }),
            seed: Some(42),
            classes: None,
            inputs: BTreeMap::from([("index".into(), "in/index".into())]),
            checkpoints: "checkpoints".into(),
            on_gpu: true,
            gpu_memory: None,
            threads: 2,
        }
    }

    #[test]
    fn comes_back_from_its_line_and_another_version_is_refused() {
        let line = order().line().unwrap();
        assert!(!line.contains('\n'));
        let back = Order::read(&line).unwrap();
        assert_eq!(back, order());
        assert_eq!(back.device(1), DeviceChoice::Cuda(1));
        assert!(back.token().is_ok());
        let other = Order { program: "0.0.1".into(), ..order() }.line().unwrap();
        let refused = Order::read(&other).unwrap_err().to_string();
        assert!(refused.contains("another version of s2pipe") && refused.contains("0.0.1"), "{refused}");
        assert!(Order::read("{}").unwrap_err().to_string().contains("cannot be read"));
        assert!(Order { token: "ab".into(), ..order() }.token().is_err());
    }
}
