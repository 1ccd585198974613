//! Who takes part in a call: connection and device identifiers (ECMA-269 §12.3).

use serde::{Deserialize, Serialize};

/// ConnectionID: a call as one device sees it. Either part may be missing on the wire; then it is empty here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId {
    pub call: String,
    pub device: String,
}

impl ConnectionId {
    pub fn new(call: impl Into<String>, device: impl Into<String>) -> Self {
        Self { call: call.into(), device: device.into() }
    }
}

/// Subject-, Calling- and CalledDeviceID: in events a device is named, unknown or withheld.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceRef {
    Device(String),
    #[default]
    NotKnown,
    Restricted,
}

impl DeviceRef {
    pub fn device(name: impl Into<String>) -> Self {
        Self::Device(name.into())
    }

    pub fn as_device(&self) -> Option<&str> {
        match self {
            Self::Device(name) => Some(name),
            Self::NotKnown | Self::Restricted => None,
        }
    }
}

/// RedirectionDeviceID (`lastRedirectionDevice`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedirectionRef {
    NumberDialed(String),
    NotKnown,
    #[default]
    NotRequired,
    NotSpecified,
    Restricted,
}

/// LocalConnectionState: what a connection is doing (ECMA-269 §6.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LocalState {
    Null,
    Initiated,
    Alerting,
    Connected,
    Hold,
    Queued,
    Fail,
}

impl LocalState {
    /// As ECMA-323 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Initiated => "initiated",
            Self::Alerting => "alerting",
            Self::Connected => "connected",
            Self::Hold => "hold",
            Self::Queued => "queued",
            Self::Fail => "fail",
        }
    }
}

/// One row of `transferredConnections` or `conferenceConnections`: which connection became which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionListItem {
    pub new: Option<ConnectionId>,
    pub old: Option<ConnectionId>,
    /// `endpoint`: one of deviceID, notKnown, restricted.
    pub endpoint: Option<DeviceRef>,
}
