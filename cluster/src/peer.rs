//! Links between voters: mutual TLS, one stream for many questions, and what a closed stream tells of a death.

mod acceptor;
mod link;
mod network;
mod security;

pub use self::acceptor::{Acceptor, Relay, Service};
pub use self::link::{AskError, Link, LinkOptions};
pub use self::network::{Links, Network};
pub use self::security::{Security, node_name};
