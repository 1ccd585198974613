//! Following what is said: one user's SIP and CSTA for an operator who watches, and copies of all SIP for a collector.
//!
//! [`Tap`] is where carriers show what they hear and say; while nobody listens that costs one load. Nothing here ever makes a
//! carrier wait: a listener that is too slow loses lines and is told how many.

mod hep;
mod line;
mod mask;
mod pcap;
mod tap;
mod whom;

#[cfg(test)]
mod tests;

pub use hep::{Collector, packet};
pub use line::{Line, Way, What};
pub use mask::{masked, masked_head, masked_xml};
pub use pcap::Capture;
pub use tap::{TRACE_LINES_MAX, Tap, TooMany, Tracing};
pub use whom::Whom;

use std::net::SocketAddr;

/// The two ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub flow: u64,
    /// `None`: the flow is another node's, or in memory.
    pub local: Option<SocketAddr>,
    pub peer: SocketAddr,
    pub is_secure: bool,
}
