//! One seed is one run: a plan of faults, three voters on one thread and a clock that jumps, and checkers that look at what
//! was seen from outside.
//!
//! Nothing here waits for real time, opens a file or a socket, or asks the operating system for randomness. What the
//! product decides is the product's own code: `lyncpin_cluster`'s replica, records, log, guardian and watchdog.

pub mod batch;
mod calm;
pub mod cli;
mod dice;
pub mod disk;
mod door;
mod faults;
mod gateway;
pub mod host;
mod judge;
mod linear;
pub mod net;
mod ops;
mod pbx;
pub mod plan;
mod relay;
mod run;
pub mod serve;
mod session;
mod shrink;
pub mod story;
mod users;

pub use plan::{Plan, Profile};
pub use run::{Outcome, Violation, run};
