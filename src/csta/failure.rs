//! CSTAErrorCode: a refusal, as a value (ECMA-269 §9.1, spelled as ECMA-323 spells it).

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
