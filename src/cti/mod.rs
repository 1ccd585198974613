//! CTI links: the PBX side. One driver a dialect; bytes and their meaning, no rule about sessions.

mod driver;

pub use driver::{AskId, LinkFailed};
