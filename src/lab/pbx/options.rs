//! How a simulated PBX is set up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::model::ModelOptions;

/// Everything has a default; the default PBX has one link and the devices 5101 to 5199, on loopback ports of the
/// system's choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PbxOptions {
    /// One listening address each, all in front of the same calls. Port 0: the system chooses.
    pub links: Vec<LinkOptions>,
    /// The control port's address; `None`: no control port.
    pub control: Option<SocketAddr>,
    pub devices: Vec<DeviceRange>,
    pub model: ModelOptions,
    pub unknown: Unknown,
    pub snapshots: Snapshots,
    /// User name and password a DMCC login must give; `None`: any.
    pub credentials: Option<(String, String)>,
    /// A session is never granted longer than this.
    pub session_duration_max_s: u64,
    /// A DMCC session without a connection is never kept longer than this.
    pub cleanup_delay_max_s: u64,
    pub sessions_max: usize,
    pub monitors_max: usize,
    pub connections_max: usize,
    /// Answers and events waiting for one connection to take them; when they are more, the connection is closed.
    pub outbox_frames_max: usize,
    /// What the history keeps; older entries are dropped and counted.
    pub history_entries_max: usize,
    /// Whether the history holds each event too, with its device.
    pub history_has_events: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkOptions {
    /// Names the link in faults and history.
    pub name: String,
    pub address: SocketAddr,
}

/// Extensions from `first` on, all with as many digits as `first` has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRange {
    pub first: String,
    pub count: usize,
}

/// What answers a service or a device the PBX does not know, or a service outside of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Nothing at all, as measured on a real server.
    Silent,
    /// CSTAErrorCode.
    #[default]
    Refuse,
}

/// What answers SnapshotDevice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Snapshots {
    #[default]
    Data,
    /// A service cross-reference, and never any data, as measured on a real server.
    ReferenceOnly,
}

impl Default for PbxOptions {
    fn default() -> Self {
        let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            links: vec![LinkOptions { name: "pbx1".to_owned(), address: any_port }],
            control: Some(any_port),
            devices: vec![DeviceRange { first: "5101".to_owned(), count: 99 }],
            model: ModelOptions::default(),
            unknown: Unknown::default(),
            snapshots: Snapshots::default(),
            credentials: None,
            session_duration_max_s: 3_600,
            cleanup_delay_max_s: 300,
            sessions_max: 256,
            monitors_max: 200_000,
            connections_max: 256,
            outbox_frames_max: 16_384,
            history_entries_max: 100_000,
            history_has_events: false,
        }
    }
}

impl PbxOptions {
    /// `count` links on loopback, named pbx1, pbx2 and so on.
    pub fn with_links(count: usize) -> Self {
        let defaults = Self::default();
        let link = |n: usize| LinkOptions { name: format!("pbx{n}"), ..defaults.links[0].clone() };
        Self { links: (1..=count).map(link).collect(), ..defaults }
    }
}
