//! Peer profiles: what differs between the generations of Microsoft clients.

use serde::{Deserialize, Serialize};

/// Which client generation a dialog belongs to, by the prefix of its User-Agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Lcs2005,
    Ocs2007,
    Ocs2007R2,
    Lync2010,
    Lync2013,
    Sfb2015,
    Generic,
}

impl Profile {
    pub const ALL: [Self; 7] =
        [Self::Lcs2005, Self::Ocs2007, Self::Ocs2007R2, Self::Lync2010, Self::Lync2013, Self::Sfb2015, Self::Generic];

    /// Reads the User-Agent. The build number tells R2 from Lync: `UCCAPI/3.5` is R2, `4.0` is 2010, `15.0` is 2013, `16.0` is
    /// Skype for Business.
    pub fn of_user_agent(text: &str) -> Self {
        const PREFIXES: [(&str, Profile); 8] = [
            ("LCC/1.", Profile::Lcs2005),
            ("RTC/1.", Profile::Lcs2005),
            ("UCCP/2.", Profile::Ocs2007),
            ("UCCAPI/2.", Profile::Ocs2007),
            ("UCCAPI/3.", Profile::Ocs2007R2),
            ("UCCAPI/4.", Profile::Lync2010),
            ("UCCAPI/15.", Profile::Lync2013),
            ("UCCAPI/16.", Profile::Sfb2015),
        ];
        PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)).map_or(Self::Generic, |(_, profile)| *profile)
    }

    /// Stable name in configuration, logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lcs2005 => "lcs2005",
            Self::Ocs2007 => "ocs2007",
            Self::Ocs2007R2 => "ocs2007r2",
            Self::Lync2010 => "lync2010",
            Self::Lync2013 => "lync2013",
            Self::Sfb2015 => "sfb2015",
            Self::Generic => "generic",
        }
    }
}

/// What can be switched per profile; the defaults are the same for all, because no public trace shows a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// Send ConnectionCleared for both old calls after a TransferedEvent, for clients that do not understand it.
    pub extra_clear_after_transfer: bool,
    /// Report ServiceInitiatedEvent; some clients open a window too early on it.
    pub service_initiated: bool,
    /// Report calls that exist at MonitorStart.
    pub catch_up_events: bool,
    /// How long after its expiry a session is kept; `None`: as for all.
    pub grace_s: Option<u32>,
}

impl Default for Switches {
    fn default() -> Self {
        Self { extra_clear_after_transfer: false, service_initiated: true, catch_up_events: true, grace_s: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_product_is_known_by_its_user_agent() {
        let table = [
            ("LCC/1.3.5315 (Microsoft Office Communicator 2005 1.0.559.0)", Profile::Lcs2005),
            ("UCCP/2.0.6362.0 OC/2.0.6362.0 (Microsoft Office Communicator)", Profile::Ocs2007),
            ("UCCAPI/3.5.6907.0 OC/3.5.6907.0 (Microsoft Office Communicator 2007 R2)", Profile::Ocs2007R2),
            ("UCCAPI/4.0.7577.314 OC/4.0.7577.314 (Microsoft Lync 2010)", Profile::Lync2010),
            ("UCCAPI/15.0.4481.1000 OC/15.0.4481.1000 (Microsoft Lync)", Profile::Lync2013),
            ("UCCAPI/16.0.4522.1000 OC/16.0.4522.1000 (Skype for Business)", Profile::Sfb2015),
            ("Purple/2.13 Sipe/1.25", Profile::Generic),
            ("", Profile::Generic),
        ];
        for (text, profile) in table {
            assert_eq!(Profile::of_user_agent(text), profile, "{text}");
        }
    }
}
