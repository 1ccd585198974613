//! What a session has asked of its link, and how the asking can fail.

use serde::{Deserialize, Serialize};

/// Names one service a session has put to its link; unique within the session, in its record while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AskId(pub u64);

/// Why a service has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LinkFailed {
    /// Definite: the link was down, or full; the PBX never saw it.
    #[error("the CTI link did not take the service")]
    NotSent,
    /// Unsettled: the link was lost after sending; ask for a snapshot.
    #[error("the CTI link was lost before the PBX answered")]
    Lost,
    /// Unsettled: no answer by the deadline.
    #[error("the PBX did not answer in time")]
    TimedOut,
}
