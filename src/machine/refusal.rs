//! Why a sign-in is refused: one closed list, one stable name each.

use std::fmt;

/// A refused sign-in. A value, not an error: the session answers with [`Refusal::status`] and logs the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The user's entry for the line says `licensed = false`.
    NoClientLicense,
    /// The station is claimed by a session of another user. Found by the record's claim, never by the directory.
    StationInUseByAnotherUser,
    /// No user has this line, or the line is no number.
    LineUnknown,
    /// The line belongs to other users, or to this one on another device or partition.
    LineNotAllowed,
    /// No entry names this address of record.
    UserUnknown,
    /// Several appearances fit: the line is on several devices and no `device=` or `partition=` chose one, or no line
    /// was named and the user has several.
    UserAmbiguous,
}

impl Refusal {
    pub const ALL: [Self; 6] = [
        Self::NoClientLicense,
        Self::StationInUseByAnotherUser,
        Self::LineUnknown,
        Self::LineNotAllowed,
        Self::UserUnknown,
        Self::UserAmbiguous,
    ];

    /// The name for logs, counters and `ms-diagnostics`; it never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoClientLicense => "no_client_license",
            Self::StationInUseByAnotherUser => "station_in_use_by_another_user",
            Self::LineUnknown => "line_unknown",
            Self::LineNotAllowed => "line_not_allowed",
            Self::UserUnknown => "user_unknown",
            Self::UserAmbiguous => "user_ambiguous",
        }
    }

    /// What an administrator does about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoClientLicense => "set licensed to true in the user's entry, if a license is free",
            Self::StationInUseByAnotherUser => {
                "sign the other user off that phone, or give this one a phone of their own"
            }
            Self::LineUnknown => "give the line to a user here, or correct the Line URI of the account in Lync",
            Self::LineNotAllowed => "add this line and device to the user's entries here",
            Self::UserUnknown => "add the user's SIP address, line and device to the users file",
            Self::UserAmbiguous => {
                "add ;device= or ;partition= to the Line URI in Lync, so that one of the entries is meant"
            }
        }
    }

    /// The SIP status of the refused INVITE: 404 when the line does not exist, else 403 (a 5xx stops clients for good).
    pub fn status(self) -> u16 {
        match self {
            Self::LineUnknown => 404,
            _ => 403,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_ones_counters_and_logs_are_read_by() {
        let names = Refusal::ALL.map(Refusal::name).join(" ");
        assert_eq!(
            names,
            "no_client_license station_in_use_by_another_user line_unknown line_not_allowed user_unknown user_ambiguous"
        );
    }

    #[test]
    fn serialized_form_is_the_stable_name() {
        for refusal in Refusal::ALL {
            assert_eq!(serde_json::to_value(refusal).expect("plain enum"), refusal.name());
        }
    }

    #[test]
    fn unknown_line_is_404_and_everything_else_403() {
        assert_eq!(Refusal::ALL.map(Refusal::status), [403, 403, 404, 403, 403, 403]);
    }
}
