//! Carriers: actors that carry out what the machines decide. None of them holds a rule.

pub mod link;
pub mod mail;
