//! Configuration: a TOML file, parsed, checked and typed, with units in the names.
//!
//! Each section is written once (`settings!`): that gives its struct, its defaults, its reader and its documentation.
//! Reading goes on after a fault, so one run tells every fault. Unknown keys are faults. Secrets are only named here.

mod address;
mod admin;
mod cluster;
mod cross;
mod cti;
mod load;
mod problem;
mod profile;
mod reader;
mod secret;
mod section;
mod sip;
mod value;
mod voters;

pub use address::{CtiAddress, Dialect, HepAddress, Host, ListenAddress, Network, PeerName, Security, Unfit};
pub use admin::Admin;
pub use cluster::{Cluster, ClusterTls, Pace, Voter, VoterRole};
pub use cti::{Cti, LINKS_MAX};
pub use load::{CONFIG_BYTES_MAX, Checked, check, examine, examine_users, load, reference};
pub use problem::{Problem, Severity, sort};
pub use profile::{PROFILES_MAX, Profile};
pub use reader::{Key, Lines};
pub use secret::{SECRET_BYTES_MAX, Secret, SecretError, SecretSource};
pub use section::{Config, Lab, Log, LogFormat, LogLevel, Node, Trace, UserEntry, Users};
pub use sip::{Limits, Sip, Tls, TlsVersion, Transport};
