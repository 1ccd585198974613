//! SIP as data (RFC 3261 §7, §19, §20, §25): messages whose bytes survive, and nothing that decides.
//!
//! Why not rsip throughout: it cuts Lync's GRUUs, rejects SERVICE, BENOTIFY and NEGOTIATE and knows neither compact nor
//! folded headers. It serves in tests as a second opinion.
//!
//! Two strictnesses, on purpose. *Syntax* ([`Message::parse`]) refuses what two parsers could read differently. *Sense*
//! ([`Message::check`]) asks for the headers every answer needs. A [`stream::Framer`] hands out only messages that
//! passed both, so `call_id()`, `cseq()`, `from()`, `to()` and `top_via()` of a framed message do not fail.

mod header;
mod length;
mod malformed;
mod message;
mod name_addr;
mod parse;
mod reply;
mod status;
pub mod stream;
mod text;
mod uri;
mod via;
mod view;

pub use header::Headers;
pub use malformed::Malformed;
pub use message::{Message, StartLine};
pub use name_addr::NameAddr;
pub use status::reason_of;
pub use uri::Uri;
pub use via::Via;
pub use view::CSeq;
