//! Carriers: actors that carry out what the machines decide. None of them holds a rule.
//!
//! A request comes in through [`flow`], the [`door`] finds its session in the [`book`] or signs a user in, the
//! [`session`] actor steps its machine, commits, and carries the effects out: answers to flows, services to the link
//! ([`mail`]).

mod table;

pub mod adoption;
pub mod book;
pub mod child;
pub mod door;
pub mod doubt;
pub mod dynamic;
pub mod features;
pub mod flow;
pub mod flows;
pub mod handover;
pub mod hops;
pub mod intensity;
pub mod link;
pub mod links;
pub mod mail;
pub mod node;
pub mod passed;
pub mod poison;
pub mod refusals;
pub mod relay;
pub mod session;
pub mod spec;
pub mod supervisor;
pub mod takeovers;
pub mod tree;
pub mod unheard;
