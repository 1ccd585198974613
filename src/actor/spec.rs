//! What a supervisor knows of a child before it lives.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use super::child::{Birth, Exit};
use super::supervisor::{Ended, Supervisor};

/// When a child that died by itself is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Permanent,
    /// After an abnormal end only.
    Transient,
    /// Never, not even with its siblings.
    Temporary,
}

/// Why a child did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailed {
    #[error("its factory refused")]
    Because(#[source] Box<dyn Error + Send + Sync>),
    #[error("its factory panicked")]
    Panicked,
    #[error("its factory was not done in time")]
    TimedOut,
}

impl StartFailed {
    pub fn because(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Because(error.into())
    }
}

pub(super) type Starting = Pin<Box<dyn Future<Output = Result<(), StartFailed>>>>;

/// What a supervisor knows of a child.
pub struct ChildSpec {
    pub(super) id: &'static str,
    pub(super) restart: Restart,
    pub(super) start_timeout_ms: u64,
    pub(super) stop_timeout_ms: u64,
    pub(super) probe_every_ms: Option<u64>,
    pub(super) factory: Box<dyn FnMut(Birth) -> Starting>,
}

impl ChildSpec {
    /// A permanent child. The factory brings it to life by one of [`Birth`]'s functions and returns when it can be
    /// used; it is called again for every restart.
    pub fn new<F, S>(id: &'static str, mut factory: F) -> Self
    where
        F: FnMut(Birth) -> S + 'static,
        S: Future<Output = Result<(), StartFailed>> + 'static,
    {
        Self {
            id,
            restart: Restart::Permanent,
            start_timeout_ms: 30_000,
            stop_timeout_ms: 5_000,
            probe_every_ms: None,
            factory: Box::new(move |birth| Box::pin(factory(birth))),
        }
    }

    /// A supervisor as a child: it gets all the time it needs to stop its own children; its escalation is its failure.
    pub fn supervisor(id: &'static str, mut tree: impl FnMut() -> Supervisor + 'static) -> Self {
        Self::new(id, move |birth| {
            let tree = tree();
            async move {
                let tree = tree.start().await.map_err(StartFailed::because)?;
                birth.local_task(|stop, _| async move {
                    match tree.run(stop).await {
                        Ended::Stopped => Exit::Normal,
                        Ended::Escalated => Exit::Failed,
                    }
                });
                Ok(())
            }
        })
        .stop_timeout_ms(600_000)
        .start_timeout_ms(600_000)
    }

    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    pub fn start_timeout_ms(self, start_timeout_ms: u64) -> Self {
        Self { start_timeout_ms, ..self }
    }

    /// How long an ordered stop may take before the child is killed.
    pub fn stop_timeout_ms(self, stop_timeout_ms: u64) -> Self {
        Self { stop_timeout_ms, ..self }
    }

    /// The child's mailbox is probed this often; a probe that is unanswered when the next is due finds it hung. Longer
    /// than the longest wait the child allows itself (`ctx.wait`).
    pub fn probe_every_ms(self, probe_every_ms: u64) -> Self {
        Self { probe_every_ms: Some(probe_every_ms), ..self }
    }
}
