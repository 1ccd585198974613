//! CSTAErrorCode: a refusal, as a value (ECMA-269 §9.1, spelled as ECMA-323 spells it).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The group is the child element's name, the text its value, e.g. `Operation("invalidCallID")`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    Operation(String),
    StateIncompatibility(String),
    /// Written `systemResourceAvailibility`, the schema's spelling; both spellings are read.
    SystemResource(String),
    SubscribedResource(String),
    Performance(String),
    Security(String),
    PrivateData(String),
    PrivateErrorCode(String),
    Unspecified,
}

impl Failure {
    /// The child element's name.
    pub fn group(&self) -> &'static str {
        match self {
            Self::Operation(_) => "operation",
            Self::StateIncompatibility(_) => "stateIncompatibility",
            Self::SystemResource(_) => "systemResourceAvailibility",
            Self::SubscribedResource(_) => "subscribedResourceAvailability",
            Self::Performance(_) => "performanceManagement",
            Self::Security(_) => "security",
            Self::PrivateData(_) => "privateData",
            Self::PrivateErrorCode(_) => "privateErrorCode",
            Self::Unspecified => "unspecified",
        }
    }

    /// The call or connection the service was about is not there (ECMA-269 clause 11).
    pub fn means_no_such_call(&self) -> bool {
        [Self::invalid_call_id(), Self::invalid_connection_id(), Self::object_not_known(), Self::no_active_call()]
            .contains(self)
    }

    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Operation(value)
            | Self::StateIncompatibility(value)
            | Self::SystemResource(value)
            | Self::SubscribedResource(value)
            | Self::Performance(value)
            | Self::Security(value)
            | Self::PrivateData(value)
            | Self::PrivateErrorCode(value) => Some(value),
            Self::Unspecified => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(value) => write!(out, "{}/{value}", self.group()),
            None => out.write_str(self.group()),
        }
    }
}

/// One constructor for each value worth sending, and the list of all of them in the order given here.
macro_rules! failures {
    ($($name:ident: $group:ident $value:literal,)*) => {
        impl Failure {
            $(pub fn $name() -> Self { Self::$group($value.to_owned()) })*

            /// Every named failure.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$name(),)*]
            }
        }
    };
}

failures! {
    generic: Operation "generic",
    invalid_parameter_value: Operation "invalidParameterValue",
    invalid_device_id: Operation "invalidDeviceID",
    invalid_calling_device_id: Operation "invalidCallingDeviceID",
    invalid_called_device_id: Operation "invalidCalledDeviceID",
    invalid_destination: Operation "invalidDestination",
    invalid_destination_device_id: Operation "invalidDestinationDeviceID",
    invalid_call_id: Operation "invalidCallID",
    invalid_connection_id: Operation "invalidConnectionID",
    invalid_active_connection_id: Operation "invalidActiveConnectionID",
    invalid_held_connection_id: Operation "invalidHeldConnectionID",
    invalid_monitor_cross_ref_id: Operation "invalidMonitorCrossRefID",
    invalid_monitor_object: Operation "invalidMonitorObject",
    invalid_forwarding_destination: Operation "invalidForwardingDestination",
    invalid_forwarding_type: Operation "invalidForwardingType",
    invalid_feature: Operation "invalidFeature",
    feature_already_set: Operation "featureAlreadySet",
    object_not_known: Operation "objectNotKnown",
    parameter_not_supported: Operation "parameterNotSupported",
    service_not_supported: Operation "serviceNotSupported",
    request_incompatible_with_connection: Operation "requestIncompatibleWithConnection",
    request_incompatible_with_device: Operation "requestIncompatibleWithDevice",
    request_incompatible_with_calling_device: Operation "requestIncompatibleWithCallingDevice",
    privilege_violation_specified_device: Operation "privilegeViolationSpecifiedDevice",
    privilege_violation_calling_device: Operation "privilegeViolationCallingDevice",
    privilege_violation_called_device: Operation "privilegeViolationCalledDevice",
    security_violation: Operation "securityViolation",
    value_out_of_range: Operation "valueOutOfRange",
    state_generic: StateIncompatibility "generic",
    invalid_object_state: StateIncompatibility "invalidObjectState",
    invalid_device_state: StateIncompatibility "invalidDeviceState",
    connected_call_exists: StateIncompatibility "connectedCallExists",
    invalid_calling_device_state: StateIncompatibility "invalidCallingDeviceState",
    invalid_called_device_state: StateIncompatibility "invalidCalledDeviceState",
    invalid_connection_state: StateIncompatibility "invalidConnectionState",
    invalid_active_connection_state: StateIncompatibility "invalidActiveConnectionState",
    invalid_held_connection_state: StateIncompatibility "invalidHeldConnectionState",
    no_active_call: StateIncompatibility "noActiveCall",
    no_call_to_answer: StateIncompatibility "noCallToAnswer",
    no_call_to_clear: StateIncompatibility "noCallToClear",
    no_call_to_complete: StateIncompatibility "noCallToComplete",
    no_connection_to_clear: StateIncompatibility "noConnectionToClear",
    no_held_call: StateIncompatibility "noHeldCall",
    resource_generic: SystemResource "generic",
    resource_busy: SystemResource "resourceBusy",
    internal_resource_busy: SystemResource "internalResourceBusy",
    network_busy: SystemResource "networkBusy",
    resource_out_of_service: SystemResource "resourceOutOfService",
    device_out_of_service: SystemResource "deviceOutOfService",
    calling_device_out_of_service: SystemResource "callingDeviceOutOfService",
    called_device_out_of_service: SystemResource "calledDeviceOutOfService",
    network_out_of_service: SystemResource "networkOutOfService",
    resource_limit_exceeded: SystemResource "resourceLimitExceeded",
    overall_monitor_limit_exceeded: SystemResource "overallMonitorLimitExceeded",
    conference_member_limit_exceeded: SystemResource "conferenceMemberLimitExceeded",
    subscribed_generic: SubscribedResource "generic",
    object_monitor_limit_exceeded: SubscribedResource "objectMonitorLimitExceeded",
    trunk_limit_exceeded: SubscribedResource "trunkLimitExceeded",
    outstanding_req_limit_exceeded: SubscribedResource "outstandingReqLimitExceeded",
    object_registration_limit_exceeded: SubscribedResource "objectRegistrationLimitExceeded",
    performance_generic: Performance "generic",
    performance_limit_exceeded: Performance "performanceLimitExceeded",
    security_generic: Security "generic",
    sequence_number_violated: Security "sequenceNumberViolated",
    time_stamp_violated: Security "timeStampViolated",
    security_info_violated: Security "securityInfoViolated",
    private_data_info_error: PrivateData "cSTAPrivateDataInfoError",
}
