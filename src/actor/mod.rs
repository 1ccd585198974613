//! Carriers: actors that carry out what the machines decide. None of them holds a rule.

pub mod child;
pub mod dynamic;
pub mod intensity;
pub mod mail;
pub mod poison;
pub mod spec;
pub mod supervisor;
mod table;
pub mod tree;
