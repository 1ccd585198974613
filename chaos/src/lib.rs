//! Chaos: a pair of nodes is broken on purpose, and judged by two witnesses that never trust it, its clients and its PBX.
//!
//! | module | what |
//! |---|---|
//! | [`history`] | what the witnesses and the conductor wrote down, sealed |
//! | [`check`] | the invariants I1 to I15: pure functions over a history |
//! | [`live`] | a pair on this machine, broken while users call |
//! | `sim` (feature `sim`) | the gateway's decisions, records and consensus on simulated time, network and disks: one seed, one run |
//! | [`report`] | one HTML file about a run |
//! | [`verdict`] | green, red, or invalid because the run did too little |

pub mod check;
pub mod cli;
pub mod fault;
pub mod history;
pub mod live;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod report;
pub mod seed;
#[cfg(feature = "sim")]
pub mod sim;
pub mod verdict;
