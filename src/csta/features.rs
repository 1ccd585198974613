//! What GetCSTAFeatures answers: the services and events a line offers.

use serde::{Deserialize, Serialize};

/// Capability lists by their ECMA-323 leaf names, e.g. `callControlServList` → `makeCall`. A leaf that is present is
/// supported. Communicator shows only the functions listed here. Lists and leaves are written in the schema's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// (list name, leaf names) under `supportedServices`.
    pub services: Vec<(String, Vec<String>)>,
    /// (list name, leaf names) under `supportedEvents`.
    pub events: Vec<(String, Vec<String>)>,
}
