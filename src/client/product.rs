//! Which Microsoft product a user pretends to be: its User-Agent, its Contact, and how it refreshes the session.

use serde::{Deserialize, Serialize};

/// The six products with Remote Call Control, oldest first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    #[value(name = "lcs2005")]
    Lcs2005,
    #[value(name = "ocs2007")]
    Ocs2007,
    #[value(name = "ocs2007r2")]
    Ocs2007R2,
    #[default]
    #[value(name = "lync2010")]
    Lync2010,
    #[value(name = "lync2013")]
    Lync2013,
    #[value(name = "sfb2015")]
    Sfb2015,
}

/// How a product keeps its dialog alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshMethod {
    /// re-INVITE that carries RequestSystemStatus; the answer tells the state of the PBX link too.
    ReInvite,
    /// UPDATE without a body (RFC 3311, RFC 4028).
    Update,
}

impl Product {
    pub const ALL: [Self; 6] =
        [Self::Lcs2005, Self::Ocs2007, Self::Ocs2007R2, Self::Lync2010, Self::Lync2013, Self::Sfb2015];

    pub fn user_agent(self) -> &'static str {
        match self {
            Self::Lcs2005 => "LCC/1.3.5315 (Microsoft Office Communicator 2005 1.0.559.54)",
            Self::Ocs2007 => "UCCP/2.0.6362.0 OC/2.0.6362.0 (Microsoft Office Communicator)",
            Self::Ocs2007R2 => "UCCAPI/3.5.6907.37 OC/3.5.6907.37 (Microsoft Office Communicator 2007 R2)",
            Self::Lync2010 => "UCCAPI/4.0.7577.314 OC/4.0.7577.314 (Microsoft Lync 2010)",
            Self::Lync2013 => "UCCAPI/15.0.4481.1000 OC/15.0.4481.1000 (Microsoft Lync)",
            Self::Sfb2015 => "UCCAPI/16.0.4522.1000 OC/16.0.4522.1000 (Skype for Business)",
        }
    }

    pub fn refresh_method(self) -> RefreshMethod {
        match self {
            Self::Lcs2005 | Self::Ocs2007 => RefreshMethod::ReInvite,
            Self::Ocs2007R2 | Self::Lync2010 | Self::Lync2013 | Self::Sfb2015 => RefreshMethod::Update,
        }
    }

    /// The product's own period; a shorter session makes it refresh sooner.
    pub fn refresh_s(self) -> u32 {
        match self.refresh_method() {
            RefreshMethod::ReInvite => 600,
            RefreshMethod::Update => 1500,
        }
    }

    /// Whether the product repairs a broken route set inside the dialog (MS-SIPRE 3.7.5).
    pub fn repairs_route(self) -> bool {
        matches!(self, Self::Lync2010 | Self::Lync2013 | Self::Sfb2015)
    }

    /// The Contact value: a GRUU since OCS 2007, an address behind `maddr` before.
    pub fn contact(self, user: &str, epid: &str, client_host: &str) -> String {
        match self {
            Self::Lcs2005 => {
                let host = client_host.split(':').next().unwrap_or(client_host);
                format!("<sip:{client_host};maddr={host};transport=tls>;proxy=replace")
            }
            _ => format!("<{user};opaque=user:epid:{epid}AAAAAAAAAAAA;gruu>"),
        }
    }
}
