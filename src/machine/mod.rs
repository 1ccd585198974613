//! Decisions: plain functions from what is known and what arrives to what happens next. No async, no clock, no
//! randomness, no I/O, no logging.

mod appearance;
pub mod directory;
pub mod number;
pub mod refusal;
pub mod tel;
