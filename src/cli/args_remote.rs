//! Options that say with whom results are shared.

use clap::{Args, ValueEnum};

use crate::spec;

/// The shared cache of a run.
#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    #[command(flatten)]
    pub(super) url: RemoteUrl,

    /// Neither fetch nor push anything.
    #[arg(long, conflicts_with = "remote")]
    pub(super) no_remote: bool,

    /// Which results are pushed [default: what `remote:` of the pipeline says, or `ask`].
    #[arg(long, value_enum, conflicts_with = "no_remote")]
    pub(super) push: Option<PushArg>,
}

/// Where the shared cache is.
#[derive(Debug, Args)]
pub(super) struct RemoteUrl {
    /// A cache shared with others: s3://, gs://, az://, http(s):// or a folder [default: S2PIPE_REMOTE, or what
    /// `remote:` of the pipeline says].
    #[arg(long, value_name = "URL")]
    pub(super) remote: Option<String>,
}

/// Which results of a run are pushed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PushArg {
    /// Each, as soon as it is made.
    Always,
    /// None.
    Never,
    /// Asked at the end of the run.
    Ask,
}

impl From<PushArg> for spec::Push {
    fn from(push: PushArg) -> Self {
        match push {
            PushArg::Always => Self::Always,
            PushArg::Never => Self::Never,
            PushArg::Ask => Self::Ask,
        }
    }
}
