//! SIP as data (RFC 3261 §7, §19, §20, §25): messages whose bytes survive, and nothing that decides.
//!
//! Why not rsip throughout: it cuts Lync's GRUUs, rejects SERVICE, BENOTIFY and NEGOTIATE and knows neither compact nor
//! folded headers. It serves in tests as a second opinion.

mod header;
mod message;
pub mod stream;
mod uri;

pub use header::{CSeq, Headers, NameAddr, Via};
pub use message::{Malformed, Message, StartLine};
pub use uri::Uri;
