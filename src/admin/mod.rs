//! The operator's door: HTTP for health checks, metrics, `lyncpin ctl` and the page.
//!
//! It runs on a thread of its own, so that a node busy with calls still answers an operator, and an operator who asks for
//! much keeps no call waiting. What a node can tell and do stands behind [`Desk`]; this folder knows no actor.

mod api;
mod desk;
mod event;
mod journal;
mod keeper;
mod log_level;
mod metrics;
mod openapi;
mod page;
mod reporter;
mod server;
mod stall;
mod stream;
mod trace;
mod view;

pub use api::OPERATOR_HEADER;
pub use desk::{Act, Desk, NotDone, TRACE_S_MAX, TraceWish};
pub use event::{Event, NodeEvent};
pub use keeper::hash_of;
pub use log_level::{LogLevelView, LogLevelWish};
pub use metrics::{Figures, names as metric_names};
pub use server::{AdminServer, StartError};
pub use view::{
    ClusterView, Done, Judgement, LinkView, NodeView, RefusalView, SeenNode, ServiceView, SessionView, TakeoverView,
    VoterView,
};
