//! CSTA: the services and events of ECMA-269, as ECMA-323 spells them in XML.
//!
//! Read by local name, whatever the namespace's edition; written in the schema's order, in the namespace asked for.
//! The same codec serves both sides: INFO bodies towards Lync, and CSTA XML over TCP towards a PBX.

mod connection;
mod event;
mod failure;
mod features;
mod name;
mod namespace;
mod outcome;
mod service;
pub mod tree;
mod visit;
pub mod writer;
mod xml;

pub use connection::{ConnectionId, ConnectionListItem, DeviceRef, LocalState, RedirectionRef};
pub use event::{Event, EventBody};
pub use failure::Failure;
pub use features::{Capabilities, EVENTS, Features, SERVICES};
pub use namespace::{ED2, ED3, ED4, ED5, ED6, LCS, Namespace, namespace};
pub use outcome::{CallInSnapshot, ForwardItem, Outcome, PartyInSnapshot};
pub use service::{MonitorObject, Service};
pub use xml::{ATTRIBUTES_MAX, BODY_BYTES_MAX, DEPTH_MAX, Document, Payload, XmlError, decode, encode};
