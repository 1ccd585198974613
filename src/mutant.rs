//! Bugs planted on purpose, as the cluster crate names them.

pub use lyncpin_cluster::mutant::{Mutant, mutant};
