//! A device: an extension and what is set on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::csta::ForwardItem;

/// `calls` holds the calls the device takes part in, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: Arc<str>,
    pub calls: Vec<u64>,
    pub forwards: BTreeMap<&'static str, Forward>,
    pub do_not_disturb: bool,
    pub message_waiting: bool,
}

/// One forwarding rule. The destination is kept when the rule is switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    pub on: bool,
    pub to: Option<Arc<str>>,
}

/// ECMA-323 ForwardingType. Only `forwardImmediate` redirects calls here; the others are kept and reported.
pub const FORWARDING_TYPES: [&str; 12] = [
    "forwardImmediate",
    "forwardBusy",
    "forwardNoAns",
    "forwardDND",
    "forwardBusyInt",
    "forwardBusyExt",
    "forwardNoAnsInt",
    "forwardNoAnsExt",
    "forwardImmInt",
    "forwardImmExt",
    "forwardDNDInt",
    "forwardDNDExt",
];

impl Device {
    pub fn new(name: Arc<str>) -> Self {
        Self { name, calls: Vec::new(), forwards: BTreeMap::new(), do_not_disturb: false, message_waiting: false }
    }

    pub fn forwarded_to(&self) -> Option<&Arc<str>> {
        self.forwards.get("forwardImmediate").filter(|forward| forward.on)?.to.as_ref()
    }

    pub fn forward_items(&self) -> Vec<ForwardItem> {
        let item = |(name, forward): (&&str, &Forward)| ForwardItem {
            forwarding_type: (*name).to_owned(),
            on: forward.on,
            to: forward.to.as_deref().map(str::to_owned),
        };
        self.forwards.iter().map(item).collect()
    }
}
