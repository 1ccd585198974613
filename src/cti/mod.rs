//! CTI links: the PBX side. One driver a dialect; bytes and their meaning, no rule about sessions.

pub mod address;
pub mod app_session;
pub mod connector;
pub mod csta_tcp;
pub mod dmcc;
pub mod driver;
pub mod frame;
pub mod invoke;
pub mod link_config;
mod wire;

pub use crate::machine::ask::{AskId, LinkFailed};
pub use address::{Address, Dialect};
pub use connector::{BoxedStream, ByteStream, Connecting, Connector, TcpConnector};
pub use driver::{Driver, In, LinkBroken, Unsayable};
pub use link_config::{LinkConfig, LinkConfigError};
