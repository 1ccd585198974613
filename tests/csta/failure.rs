//! CSTAErrorCode.

use lyncpin::csta::{ED3, Failure, Outcome, Payload, decode, encode};

/// Every value worth sending, spelled as the schema spells it (ECMA-323, error value definitions).
const SPELLED: &str = "
    operation: generic invalidParameterValue invalidDeviceID invalidCallingDeviceID invalidCalledDeviceID
    operation: invalidDestination invalidDestinationDeviceID invalidCallID invalidConnectionID
    operation: invalidActiveConnectionID invalidHeldConnectionID invalidMonitorCrossRefID invalidMonitorObject
    operation: invalidForwardingDestination invalidForwardingType invalidFeature featureAlreadySet objectNotKnown
    operation: parameterNotSupported serviceNotSupported requestIncompatibleWithConnection
    operation: requestIncompatibleWithDevice requestIncompatibleWithCallingDevice privilegeViolationSpecifiedDevice
    operation: privilegeViolationCallingDevice privilegeViolationCalledDevice securityViolation valueOutOfRange
    stateIncompatibility: generic invalidObjectState invalidDeviceState connectedCallExists
    stateIncompatibility: invalidCallingDeviceState invalidCalledDeviceState invalidConnectionState
    stateIncompatibility: invalidActiveConnectionState invalidHeldConnectionState noActiveCall noCallToAnswer
    stateIncompatibility: noCallToClear noCallToComplete noConnectionToClear noHeldCall
    systemResourceAvailibility: generic resourceBusy internalResourceBusy networkBusy resourceOutOfService
    systemResourceAvailibility: deviceOutOfService callingDeviceOutOfService calledDeviceOutOfService
    systemResourceAvailibility: networkOutOfService resourceLimitExceeded overallMonitorLimitExceeded
    systemResourceAvailibility: conferenceMemberLimitExceeded
    subscribedResourceAvailability: generic objectMonitorLimitExceeded trunkLimitExceeded
    subscribedResourceAvailability: outstandingReqLimitExceeded objectRegistrationLimitExceeded
    performanceManagement: generic performanceLimitExceeded
    security: generic sequenceNumberViolated timeStampViolated securityInfoViolated
    privateData: cSTAPrivateDataInfoError";

#[test]
fn every_named_failure_is_spelled_as_the_schema_spells_it() {
    let spelled: Vec<String> = SPELLED
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .flat_map(|(group, values)| values.split(' ').map(move |value| format!("{group}/{value}")))
        .collect();
    let named: Vec<String> = Failure::all().iter().map(Failure::to_string).collect();
    assert_eq!(named, spelled);
}

#[test]
fn both_spellings_of_availability_are_read_and_the_schema_s_is_written() {
    for spelling in ["systemResourceAvailibility", "systemResourceAvailability"] {
        let body = format!(r#"<CSTAErrorCode xmlns="{ED3}"><{spelling}>resourceBusy</{spelling}></CSTAErrorCode>"#);
        let read = decode(body.as_bytes()).map(|document| document.payload);
        let meant = Payload::Outcome(Outcome::Failed(Failure::resource_busy()));
        assert_eq!(read.as_ref(), Ok(&meant));
        let written = String::from_utf8(encode(&meant, ED3)).expect("UTF-8");
        assert!(written.contains("<systemResourceAvailibility>resourceBusy</systemResourceAvailibility>"), "{written}");
    }
}

#[test]
fn an_error_code_that_says_nothing_known_is_unspecified() {
    let unspecified = Payload::Outcome(Outcome::Failed(Failure::Unspecified));
    for inside in ["", "<unspecified/>", "<weather>bad</weather>"] {
        let body = format!(r#"<CSTAErrorCode xmlns="{ED3}">{inside}</CSTAErrorCode>"#);
        assert_eq!(decode(body.as_bytes()).map(|document| document.payload), Ok(unspecified.clone()), "{inside}");
    }
    assert_eq!(Failure::Unspecified.to_string(), "unspecified");
}
