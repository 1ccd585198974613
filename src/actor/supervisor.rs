//! The node's supervisor: a handful of named children under OTP's rules. (Sessions, by the ten thousand, live under
//! [`super::dynamic`].)
//!
//! `actix::Supervisor` restarts the same value, and not after a panic. Here a child is made anew by its factory, and
//! whatever ends it is reported by a guard that lives around it.
//!
//! ```ignore
//! let tree = Supervisor::new(Strategy::RestForOne)
//!     .child(ChildSpec::new("book", move |birth| async move {
//!         // The address is new after every restart: it is put where the others look it up, each time.
//!         post.book.store(Some(Arc::new(birth.actor(|_, _| Book::new()))));
//!         Ok(())
//!     }))
//!     .child(ChildSpec::new("listener", move |birth| async move {
//!         let socket = TcpListener::bind(address).await.map_err(StartFailed::because)?;
//!         birth.local_task(|mut stop, _| async move {
//!             tokio::select! {
//!                 () = accept(socket) => Exit::Failed,
//!                 () = stop.stopped() => Exit::Normal,
//!             }
//!         });
//!         Ok(())
//!     }))
//!     .child(ChildSpec::supervisor("links", links_tree))
//!     .start()
//!     .await?;
//! match tree.run(stop).await {
//!     Ended::Stopped => Ok(()),
//!     Ended::Escalated => Err(node_failed),   // the process ends, and the peer takes over
//! }
//! ```
//!
//! While a supervisor starts or stops children it does nothing else; their deaths wait. A child that blocks its thread
//! cannot be killed: then the supervisor escalates ([`Happening::Hung`]), and only the end of the process helps.

use std::sync::Arc;

use super::child::Exit;
use super::intensity::{Backoff, Intensity};
use super::spec::{ChildSpec, StartFailed};
use super::tree::Tree;

/// Who is restarted with a child that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    OneForOne,
    /// The child and those started after it.
    RestForOne,
    OneForAll,
}

/// A child could not be started, and those before it were stopped again.
#[derive(Debug, thiserror::Error)]
#[error("child {child} did not start")]
pub struct TreeFailed {
    pub child: &'static str,
    #[source]
    pub why: StartFailed,
}

/// Something the operator may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    Started {
        child: &'static str,
    },
    Died {
        child: &'static str,
        exit: Exit,
    },
    StartFailed {
        child: &'static str,
    },
    RestartIn {
        child: &'static str,
        delay_ms: u64,
    },
    /// By order; `was_killed`: it did not end in time.
    Stopped {
        child: &'static str,
        was_killed: bool,
    },
    /// It was killed and did not even end then: its thread is blocked.
    Hung {
        child: &'static str,
    },
    /// Too many restarts, or a hung thread: everything is stopped and the supervisor ends.
    Escalated {
        child: &'static str,
    },
}

impl Happening {
    pub(super) fn tell(&self) {
        match self {
            Self::Started { child } => tracing::debug!(child, "child started"),
            Self::Stopped { child, was_killed } => tracing::debug!(child, was_killed, "child stopped"),
            Self::Died { child, exit: Exit::Normal } => tracing::info!(child, "child ended"),
            Self::Died { child, exit } => tracing::warn!(child, ?exit, "child died"),
            Self::StartFailed { child } => tracing::warn!(child, "child did not start"),
            Self::RestartIn { child, delay_ms } => tracing::warn!(child, delay_ms, "child is restarted"),
            Self::Hung { child } => tracing::error!(child, "child blocks its thread: end this process"),
            Self::Escalated { child } => tracing::error!(child, "child cannot be kept alive: see why it dies"),
        }
    }
}

/// How a supervisor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    /// It could not keep a child alive; all others are stopped. The process had better end.
    Escalated,
}

/// A supervisor to be started.
pub struct Supervisor {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) backoff: Backoff,
    pub(super) specs: Vec<ChildSpec>,
    pub(super) on: Option<Arc<dyn Fn(Happening) + Send + Sync>>,
}

impl Supervisor {
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, intensity: Intensity::default(), backoff: Backoff::default(), specs: Vec::new(), on: None }
    }

    pub fn intensity(self, intensity: Intensity) -> Self {
        Self { intensity, ..self }
    }

    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Children start in the order they are added, and stop in the reverse order.
    pub fn child(mut self, spec: ChildSpec) -> Self {
        self.specs.push(spec);
        self
    }

    /// Told of every happening, besides the log.
    pub fn on(self, on: impl Fn(Happening) + Send + Sync + 'static) -> Self {
        Self { on: Some(Arc::new(on)), ..self }
    }

    /// Starts the children one after the other, on this thread's `LocalSet` or arbiter unless they say otherwise.
    pub async fn start(self) -> Result<Tree, TreeFailed> {
        Tree::start(self).await
    }
}
