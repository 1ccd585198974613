//! Decisions: plain functions from what is known and what arrives to what happens next. No async, no clock, no
//! randomness, no I/O, no logging; time and ids come in as inputs.
//!
//! [`session::Session::step`] is the centre: one input in, the record changed, a list of effects out. The carrier commits
//! the record before it carries out any effect. [`link::Link`] is its counterpart on the PBX's side.

mod appearance;
pub mod ask;
pub mod call;
pub mod dialog;
pub mod directory;
pub mod effect;
pub mod input;
pub mod link;
pub mod number;
pub mod outbox;
pub mod outside;
pub mod profile;
pub mod reconcile;
pub mod recovery;
pub mod refusal;
pub mod rules;
pub mod selection;
pub mod session;
pub mod sign_in;
pub mod tel;
pub mod transaction;
