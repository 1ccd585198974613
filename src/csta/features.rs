//! What GetCSTAFeatures answers: the services and events a line offers.

use serde::{Deserialize, Serialize};

use super::Service;

/// A list name and its leaf names, in the schema's order.
pub type Capabilities = (&'static str, &'static [&'static str]);

/// `supportedServices` in the schema's order. Lists nobody offers here carry no leaves.
pub const SERVICES: &[Capabilities] = &[
    (
        "capExchangeServList",
        &[
            "getCSTAFeatures",
            "getLogicalDeviceInformation",
            "getPhysicalDeviceInformation",
            "getSwitchingFunctionCaps",
            "getSwitchingFunctionDevices",
            "switchingFunctionDevices",
        ],
    ),
    (
        "systemStatServList",
        &[
            "changeSystemStatusFilter",
            "systemRegister",
            "systemStatusRegisterAbort",
            "systemStatusRegisterCancel",
            "requestSystemStatus",
            "systemStatus",
            "swFunctionCapsChanged",
            "swFunctionDevicesChanged",
        ],
    ),
    ("monitoringServList", &["changeMonitorFilter", "monitorStart", "monitorStop"]),
    ("snapshotServList", &["snapshotCall", "snapshotDevice", "snapshotCallData", "snapshotDeviceData"]),
    (
        "callControlServList",
        &[
            "acceptCall",
            "alternateCall",
            "answerCall",
            "callBack",
            "callBackMessage",
            "campOnCall",
            "clearCall",
            "clearConnection",
            "conferenceCall",
            "consultationCall",
            "deflectCall",
            "dialDigits",
            "directedPickupCall",
            "groupPickupCall",
            "holdCall",
            "intrudeCall",
            "joinCall",
            "makeCall",
            "makePredictiveCall",
            "parkCall",
            "reconnectCall",
            "retrieveCall",
            "sendMessage",
            "singleStepConference",
            "singleStepTransfer",
            "transferCall",
        ],
    ),
    (
        "callAssociatedServList",
        &[
            "associateData",
            "cancelTelephonyTones",
            "changeConnectionInformation",
            "generateDigits",
            "generateTelephonyTones",
            "sendUserInformation",
        ],
    ),
    ("mediaServList", &[]),
    ("routeingServList", &[]),
    (
        "physDevServList",
        &[
            "buttonPress",
            "getAuditoryApparatusInfo",
            "getButtonInformation",
            "getDisplay",
            "getHookSwitchStatus",
            "getLampInfo",
            "getLampMode",
            "getMessageWaitingIndicator",
            "getMicrophoneGain",
            "getMicrophoneMute",
            "getRingerStatus",
            "getSpeakerMute",
            "getSpeakerVolume",
            "setButtonInformation",
            "setDisplay",
            "setHookSwitchStatus",
            "setLampMode",
            "setMessageWaitingIndicator",
            "setMicrophoneGain",
        ],
    ),
    (
        "logicalServList",
        &[
            "callBackNonCallRel",
            "callBackMsgNonCallRel",
            "cancelCallBack",
            "cancelCallBackMsg",
            "getAgentState",
            "getAutoAnswer",
            "getAutoWorkMode",
            "getCallerIDStatus",
            "getDoNotDisturb",
            "getForwarding",
            "getLastNumberDialed",
            "getRouteingMode",
            "setAgentState",
            "setAutoAnswer",
            "setAutoWorkMode",
            "setCallerIDStatus",
            "setDoNotDisturb",
            "setForwarding",
            "setRouteingMode",
        ],
    ),
    ("iOServicesServList", &[]),
    ("dataCollectionServList", &[]),
    ("voiceServList", &[]),
    ("cDRServList", &[]),
    ("vendorSpecificServList", &[]),
];

/// `supportedEvents` in the schema's order.
pub const EVENTS: &[Capabilities] = &[
    (
        "callControlEvtsList",
        &[
            "bridged",
            "callCleared",
            "conferenced",
            "connectionCleared",
            "delivered",
            "digitsDialed",
            "diverted",
            "established",
            "failed",
            "held",
            "netwCapsChanged",
            "netwReached",
            "offered",
            "originated",
            "queued",
            "retrieved",
            "serviceInitiated",
            "transferred",
        ],
    ),
    (
        "callAssociatedEvtsList",
        &["callInformation", "charging", "digitsGenerated", "telephonyTonesGenerated", "serviceCompletionFailure"],
    ),
    ("mediaEvtsList", &[]),
    (
        "physDevEvtsList",
        &["buttonInformation", "buttonPress", "displayUpdated", "hookswitch", "lampMode", "messageWaiting"],
    ),
    (
        "logicalEvtsList",
        &[
            "agentBusy",
            "agentLoggedOff",
            "agentLoggedOn",
            "agentNotReady",
            "agentReady",
            "agentWorkingAfterCall",
            "autoAnswer",
            "autoWorkMode",
            "callBack",
            "callBackMessage",
            "callerIDStatus",
            "doNotDisturb",
            "forwarding",
            "routeingMode",
        ],
    ),
    ("deviceMaintEvtsList", &["backInService", "deviceCapsChanged", "outOfService", "partiallyInService"]),
    ("voiceEvtsList", &[]),
    ("vendorSpecificEvtsList", &[]),
];

/// What this gateway can offer when the switch can do it all.
const STANDARD_SERVICES: &[Capabilities] = &[
    ("capExchangeServList", &["getCSTAFeatures"]),
    ("systemStatServList", &["requestSystemStatus"]),
    ("monitoringServList", &["monitorStart", "monitorStop"]),
    ("snapshotServList", &["snapshotCall", "snapshotDevice"]),
    (
        "callControlServList",
        &[
            "alternateCall",
            "answerCall",
            "clearCall",
            "clearConnection",
            "conferenceCall",
            "consultationCall",
            "deflectCall",
            "holdCall",
            "makeCall",
            "reconnectCall",
            "retrieveCall",
            "singleStepConference",
            "singleStepTransfer",
            "transferCall",
        ],
    ),
    ("callAssociatedServList", &["generateDigits"]),
    ("physDevServList", &["getMessageWaitingIndicator", "setMessageWaitingIndicator"]),
    ("logicalServList", &["getDoNotDisturb", "getForwarding", "setDoNotDisturb", "setForwarding"]),
];

const STANDARD_EVENTS: &[Capabilities] = &[
    (
        "callControlEvtsList",
        &[
            "bridged",
            "callCleared",
            "conferenced",
            "connectionCleared",
            "delivered",
            "digitsDialed",
            "diverted",
            "established",
            "failed",
            "held",
            "netwReached",
            "offered",
            "originated",
            "queued",
            "retrieved",
            "serviceInitiated",
            "transferred",
        ],
    ),
    ("callAssociatedEvtsList", &["callInformation", "digitsGenerated"]),
    ("physDevEvtsList", &["messageWaiting"]),
    ("logicalEvtsList", &["doNotDisturb", "forwarding"]),
    ("deviceMaintEvtsList", &["backInService", "outOfService"]),
];

/// Capability lists by their ECMA-323 leaf names, e.g. `callControlServList` → `makeCall`. A leaf that is present is
/// supported. Communicator shows only the functions listed here. Lists and leaves are written in the schema's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// (list name, leaf names) under `supportedServices`.
    pub services: Vec<(String, Vec<String>)>,
    /// (list name, leaf names) under `supportedEvents`.
    pub events: Vec<(String, Vec<String>)>,
}

impl Features {
    /// Everything this gateway carries.
    pub fn standard() -> Self {
        let own = |lists: &[Capabilities]| {
            let owned = |leaves: &[&str]| leaves.iter().map(|leaf| (*leaf).to_owned()).collect();
            lists.iter().map(|(list, leaves)| ((*list).to_owned(), owned(leaves))).collect()
        };
        Self { services: own(STANDARD_SERVICES), events: own(STANDARD_EVENTS) }
    }

    /// What both offer, in the order of `self`; lists left without a leaf are dropped.
    pub fn intersect(&self, other: &Self) -> Self {
        Self { services: shared(&self.services, &other.services), events: shared(&self.events, &other.events) }
    }

    /// Is this leaf among the services, e.g. `makeCall`?
    pub fn offers(&self, service_leaf: &str) -> bool {
        self.services.iter().any(|(_, leaves)| leaves.iter().any(|leaf| leaf == service_leaf))
    }

    /// The leaf under which a service is listed; not always the service's own name.
    pub fn of_service(service: &Service) -> Option<&'static str> {
        Some(match service {
            Service::RequestSystemStatus { .. } => "requestSystemStatus",
            Service::SystemStatus { .. } => "systemStatus",
            Service::SystemRegister => "systemRegister",
            Service::GetCstaFeatures { .. } => "getCSTAFeatures",
            Service::MonitorStart { .. } => "monitorStart",
            Service::MonitorStop { .. } => "monitorStop",
            Service::MakeCall { .. } => "makeCall",
            Service::AnswerCall { .. } => "answerCall",
            Service::ClearConnection { .. } => "clearConnection",
            Service::ClearCall { .. } => "clearCall",
            Service::HoldCall { .. } => "holdCall",
            Service::RetrieveCall { .. } => "retrieveCall",
            Service::AlternateCall { .. } => "alternateCall",
            Service::ReconnectCall { .. } => "reconnectCall",
            Service::ConsultationCall { .. } => "consultationCall",
            Service::TransferCall { .. } => "transferCall",
            Service::SingleStepTransferCall { .. } => "singleStepTransfer",
            Service::DeflectCall { .. } => "deflectCall",
            Service::ConferenceCall { .. } => "conferenceCall",
            Service::SingleStepConferenceCall { .. } => "singleStepConference",
            Service::GenerateDigits { .. } => "generateDigits",
            Service::SetForwarding { .. } => "setForwarding",
            Service::GetForwarding { .. } => "getForwarding",
            Service::SetDoNotDisturb { .. } => "setDoNotDisturb",
            Service::GetDoNotDisturb { .. } => "getDoNotDisturb",
            Service::SnapshotDevice { .. } => "snapshotDevice",
            Service::SnapshotCall { .. } => "snapshotCall",
            Service::SetMessageWaitingIndicator { .. } => "setMessageWaitingIndicator",
            Service::GetMessageWaitingIndicator { .. } => "getMessageWaitingIndicator",
        })
    }

    /// The same capabilities in the schema's order; names the schema does not know come last.
    pub fn in_schema_order(&self) -> Self {
        Self { services: ordered(&self.services, SERVICES), events: ordered(&self.events, EVENTS) }
    }
}

type Lists = Vec<(String, Vec<String>)>;

fn shared(lists: &Lists, others: &Lists) -> Lists {
    let both = |(list, leaves): &(String, Vec<String>)| {
        let (_, offered) = others.iter().find(|(other, _)| other == list)?;
        let leaves: Vec<String> = leaves.iter().filter(|leaf| offered.contains(leaf)).cloned().collect();
        (!leaves.is_empty()).then(|| (list.clone(), leaves))
    };
    lists.iter().filter_map(both).collect()
}

fn ordered(lists: &Lists, schema: &[Capabilities]) -> Lists {
    let mut lists = lists.clone();
    let list_place = |list: &str| schema.iter().position(|(known, _)| *known == list).unwrap_or(schema.len());
    lists.sort_by_key(|(list, _)| list_place(list));
    for (list, leaves) in &mut lists {
        let known = schema.get(list_place(list)).map_or(&[][..], |(_, leaves)| leaves);
        leaves.sort_by_key(|leaf| known.iter().position(|name| name == leaf).unwrap_or(known.len()));
    }
    lists
}
