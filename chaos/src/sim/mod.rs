//! One seed is one run: a plan of faults, three voters on one thread and a clock that jumps, and checkers that look at what
//! was seen from outside.
//!
//! Nothing here waits for real time, opens a file or a socket, or asks the operating system for randomness. What the
//! product decides is the product's own code: `lyncpin_cluster`'s replica, records, log, guardian and watchdog.

pub mod batch;
pub mod cli;
mod dice;
pub mod disk;
pub mod host;
mod linear;
pub mod net;
mod ops;
pub mod plan;
mod run;
pub mod serve;
pub mod story;

pub use plan::{Plan, Profile};
pub use run::{Outcome, run};
