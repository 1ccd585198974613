//! An RCC user over SIP, strict where a real client is: for tests, the lab and chaos.
//!
//! [`FrontEnd`] holds the connections, [`RccUser`] is one signed-in line; [`CallView`] is what the user believes, and
//! whatever a gateway does wrong becomes a [`Violation`]. A user has no task of its own: the connection's task answers
//! events and folds them in, so that twenty thousand users fit in one process.

mod call_view;
mod core;
mod dialog;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod fake_switch;
mod flow;
mod front_end;
mod history;
mod incoming;
mod options;
mod product;
mod seat;
mod services;
#[cfg(test)]
mod tests;
mod user;
mod violation;
mod word;

pub use call_view::{Call, CallView, Party, Phase, Surprise};
pub use flow::FlowEnd;
pub use front_end::{ConnectError, FLOWS_MAX, FlowId, FrontEnd};
pub use history::{Entry, History, Operation, OperationResult, RecentHistory, StreamedHistory, What};
pub use options::{Direction, EventAnswer, FrontEndOptions, Spread, Tap, UserOptions};
pub use product::{Product, RefreshMethod};
pub use seat::VIOLATIONS_MAX;
pub use user::{RccUser, Refreshed, Reply, SignInError, SignedIn, Unanswered};
pub use violation::Violation;
