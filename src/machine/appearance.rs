//! An entry of the directory, and what may be wrong with one.

use super::tel::{NumberError, Tel};

/// Bytes of one field of an entry.
pub const FIELD_BYTES_MAX: usize = 512;

/// One user's right to one line on one device. A user may have several, a line may be on several devices.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Appearance {
    /// `sip:alice@contoso.com`.
    pub sip: String,
    /// The Line URI as the administrator wrote it: `tel:+14255550101;ext=5101`.
    pub line: String,
    /// What the PBX calls the station: `5101`, `SEP001122334455`.
    pub device: String,
    pub partition: Option<String>,
    pub licensed: bool,
}

impl Appearance {
    /// A licensed entry without a partition.
    pub fn new(sip: impl Into<String>, line: impl Into<String>, device: impl Into<String>) -> Self {
        Self { sip: sip.into(), line: line.into(), device: device.into(), partition: None, licensed: true }
    }

    pub(super) fn borrowed(&self) -> AppearanceRef<'_> {
        AppearanceRef {
            sip: &self.sip,
            line: &self.line,
            device: &self.device,
            partition: self.partition.as_deref(),
            licensed: self.licensed,
        }
    }

    /// Everything wrong with the entry by itself.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + use<> {
        let partition = self.partition.as_deref().unwrap_or_default();
        let fields =
            [("sip", self.sip.as_str()), ("line", &self.line), ("device", &self.device), ("partition", partition)];
        let too_long = fields
            .into_iter()
            .filter(|(_, text)| text.len() > FIELD_BYTES_MAX)
            .map(|(field, text)| Fault::TooLong { field, bytes: text.len() });
        let mut faults: Vec<Fault> = too_long.collect();
        if address_of_record(&self.sip).is_none() {
            faults.push(Fault::Sip);
        }
        let scheme = self.line.split_once(':').map_or("", |(scheme, _)| scheme);
        if !["tel", "sip", "sips"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            faults.push(Fault::LineScheme);
        } else if let Err(error) = Tel::parse(&self.line) {
            faults.push(Fault::Line(error));
        }
        if self.device.trim().is_empty() {
            faults.push(Fault::DeviceEmpty);
        }
        faults.into_iter()
    }
}

/// An [`Appearance`] that lives in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppearanceRef<'a> {
    pub sip: &'a str,
    pub line: &'a str,
    pub device: &'a str,
    pub partition: Option<&'a str>,
    pub licensed: bool,
}

impl From<AppearanceRef<'_>> for Appearance {
    fn from(entry: AppearanceRef<'_>) -> Self {
        Self {
            sip: entry.sip.to_owned(),
            line: entry.line.to_owned(),
            device: entry.device.to_owned(),
            partition: entry.partition.map(str::to_owned),
            licensed: entry.licensed,
        }
    }
}

/// A wrong entry: which one (from 0) and why. The loader names the file and line, and the administrator mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFault {
    pub row: usize,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is no SIP address")]
    Sip,
    #[error("{0}")]
    Line(#[from] NumberError),
    #[error("is no tel: or sip: URI")]
    LineScheme,
    #[error("is empty")]
    DeviceEmpty,
    #[error("is {bytes} bytes long; at most {} fit", FIELD_BYTES_MAX)]
    TooLong { field: &'static str, bytes: usize },
    #[error("repeats an earlier entry: the same user, line, device and partition")]
    Duplicate { first_row: usize },
    #[error("is one entry more than the {} a directory holds", super::directory::USERS_MAX)]
    TooMany,
}

impl Fault {
    /// The field at fault; `None` when it is the entry as a whole.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Sip => Some("sip"),
            Self::Line(_) | Self::LineScheme => Some("line"),
            Self::DeviceEmpty => Some("device"),
            Self::TooLong { field, .. } => Some(field),
            Self::Duplicate { .. } | Self::TooMany => None,
        }
    }
}

/// The user and host of a SIP URI or a bare `user@host`; parameters and port do not count.
pub fn address_of_record(sip: &str) -> Option<(&str, &str)> {
    let sip = sip.trim();
    let address = match sip.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") => rest,
        _ => sip,
    };
    let (user, rest) = address.split_once('@')?;
    let host = match rest.find(']') {
        Some(end) if rest.starts_with('[') => &rest[..=end],
        _ => rest.split([':', ';', '?']).next().unwrap_or_default(),
    };
    let is_clean = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"@,".contains(c))
    };
    (is_clean(user) && is_clean(host)).then_some((user, host))
}
