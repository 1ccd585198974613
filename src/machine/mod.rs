//! Decisions: plain functions of state, input and time. No clock, no I/O, no randomness.

pub mod ask;
pub mod link;
pub mod recovery;
pub mod selection;
