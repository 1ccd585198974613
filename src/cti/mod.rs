//! CTI links: the PBX side. One driver a dialect; bytes and their meaning, no rule about sessions.

pub mod frame;
pub mod invoke;

pub use crate::machine::ask::{AskId, LinkFailed};
