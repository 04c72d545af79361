//! The ranks of a training, as the trainer sees them.

use std::sync::Arc;

use super::{Collective, RankError, Share};
#[cfg(feature = "cuda")]
use crate::net::ops::cuda::ranks::BetweenGpus;
use crate::net::{Compute, NetError};

/// This rank among the others.
#[derive(Clone, Debug)]
pub struct Team {
    collective: Arc<dyn Collective>,
    /// How numbers that lie on a GPU are exchanged.
    #[cfg(feature = "cuda")]
    device: Option<Arc<BetweenGpus>>,
}

impl Team {
    /// The ranks of `collective`, which all compute on the CPU.
    #[must_use]
    pub fn new(collective: Arc<dyn Collective>) -> Self {
        Self {
            collective,
            #[cfg(feature = "cuda")]
            device: None,
        }
    }

    /// The same ranks, all of which compute where `compute` says, each on a device of its own.
    ///
    /// # Errors
    /// The collective's.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "the CPU needs nothing more"))]
    pub fn on(self, compute: &Compute) -> Result<Self, NetError> {
        #[cfg(feature = "cuda")]
        if let Compute::Gpu { gpu, .. } = compute {
            let device = crate::net::ops::cuda::ranks::between_gpus(&self.collective, gpu.shared())?;
            return Ok(Self { device: Some(device), ..self });
        }
        Ok(self)
    }

    /// How numbers that lie on a GPU are exchanged.
    ///
    /// # Errors
    /// Ranks that were not told that they compute on GPUs.
    #[cfg(feature = "cuda")]
    pub(crate) fn device(&self) -> candle_core::Result<&BetweenGpus> {
        match &self.device {
            Some(device) => Ok(device),
            None => candle_core::bail!("the ranks of this training compute on the CPU, and a tensor lies on a GPU"),
        }
    }

    /// By what means they exchange numbers.
    #[must_use]
    pub fn describe(&self) -> String {
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            return device.describe();
        }
        "which exchange numbers by TCP".to_owned()
    }

    /// How they talk.
    #[must_use]
    pub fn collective(&self) -> &dyn Collective {
        self.collective.as_ref()
    }

    /// Whether this is rank 0: the one that writes files, tells how far it is, and decides.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.collective.rank() == 0
    }

    /// Ranks in all.
    #[must_use]
    pub fn ranks(&self) -> usize {
        self.collective.ranks()
    }

    /// This rank's share of a batch of `patches`.
    #[must_use]
    pub fn share(&self, patches: usize) -> Share {
        Share { rank: self.collective.rank(), ranks: self.ranks(), patches }
    }

    /// An error of work that ranks do together: where one of them caused it elsewhere, that is the error.
    pub(crate) fn explain(&self, error: NetError) -> NetError {
        match (&error, self.collective.trouble()) {
            (NetError::Ranks(_), _) | (_, None) => error,
            (_, Some(cause)) => NetError::Ranks(cause),
        }
    }

    /// Tells the others of an error that only this rank may have met.
    pub(crate) fn give_up(&self, error: &NetError) {
        if !matches!(error, NetError::Ranks(_) | NetError::Cancelled) {
            self.collective.give_up(&error.to_string());
        }
    }

    /// Rank 0's answer, for all ranks.
    ///
    /// # Errors
    /// As [`Collective::broadcast`].
    pub(crate) fn ask(&self, answer: u8) -> Result<u8, RankError> {
        let mut bytes = vec![answer];
        self.collective.broadcast(&mut bytes)?;
        Ok(bytes.first().copied().unwrap_or(answer))
    }

    /// Makes sure that all ranks say the same of `what`.
    ///
    /// # Errors
    /// [`RankError::BeginsElsewhere`], naming the first that does not; as [`Collective::gather`].
    pub(crate) fn agree(&self, what: &'static str, mine: &[u8]) -> Result<(), RankError> {
        let all = self.collective.gather(mine)?;
        match all.iter().position(|said| *said != all[0]) {
            None => Ok(()),
            Some(peer) => Err(RankError::BeginsElsewhere { peer, what }),
        }
    }
}
