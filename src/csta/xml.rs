//! ECMA-323 XML: reading by local name with hard limits, writing in schema order.

mod event;
mod fields;
mod outcome;
mod service;

use super::namespace::{Namespace, namespace};
use super::tree::Tree;
use super::writer::Writer;
use super::{Event, EventBody, Outcome, Service};
use fields::Fields;

/// A body over this size is refused unread.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Elements nested deeper than this are refused.
pub const DEPTH_MAX: usize = 32;
/// An element with more attributes than this is refused.
pub const ATTRIBUTES_MAX: usize = 64;

/// One CSTA document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub namespace: Namespace,
    pub payload: Payload,
}

/// What a document's root says it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    Service(Service),
    Outcome(Outcome),
    Event(Event),
    /// Well-formed, but a root element we do not know: the caller answers `serviceNotSupported`.
    Unknown {
        root: String,
    },
}

impl Payload {
    /// The root element's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Service(service) => service.name(),
            Self::Outcome(outcome) => outcome.name(),
            Self::Event(event) => event.body.name(),
            Self::Unknown { root } => root,
        }
    }

    /// Reads the one ambiguous root as a switching function means it: its MonitorStop ends the monitor, it does not
    /// ask for it. [`decode`] always yields the service.
    pub fn as_from_switch(self) -> Self {
        match self {
            Self::Service(Service::MonitorStop { xref }) => {
                Self::Event(Event { xref, body: EventBody::MonitorStopped })
            }
            other => other,
        }
    }
}

/// Why a body is no CSTA document; `at` is a byte position in the body.
///
/// All but two mean malformed XML: the holder of the flow answers 400, a CTI link closes. [`XmlError::Missing`] and
/// [`XmlError::Invalid`] are well-formed documents of a known root: the session answers 200 with CSTAErrorCode
/// `operation`/`invalidParameterValue` in the document's namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("{bytes} bytes of XML, at most {BODY_BYTES_MAX} are read")]
    TooLarge { bytes: usize },
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 { at: usize },
    #[error("declared encoding is neither UTF-8 nor US-ASCII, at byte {at}")]
    Encoding { at: usize },
    #[error("expected an XML 1.0 declaration, and only at the very start, at byte {at}")]
    Declaration { at: usize },
    #[error("expected no document type declaration, at byte {at}")]
    Doctype { at: usize },
    #[error("a character XML 1.0 does not allow here, at byte {at}")]
    Character { at: usize },
    #[error("expected a character reference or one of the five predefined entities, at byte {at}")]
    Reference { at: usize },
    #[error("expected an XML name, at byte {at}")]
    Name { at: usize },
    #[error("expected well-formed attributes in the tag at byte {at}")]
    Attribute { at: usize },
    #[error("expected at most {ATTRIBUTES_MAX} attributes in the tag at byte {at}")]
    TooManyAttributes { at: usize },
    #[error("expected at most {DEPTH_MAX} nested elements, at byte {at}")]
    TooDeep { at: usize },
    #[error("expected no `--` inside the comment at byte {at}")]
    Comment { at: usize },
    #[error("expected the end tag of the innermost open element, at byte {at}")]
    Mismatched { at: usize },
    #[error("the body ends inside an element or markup, at byte {at}")]
    Unclosed { at: usize },
    #[error("expected a root element, at byte {at}")]
    NoRoot { at: usize },
    #[error("expected one root element, a second begins at byte {at}")]
    SecondRoot { at: usize },
    #[error("expected nothing but layout outside the root, at byte {at}")]
    OutsideRoot { at: usize },
    #[error("{root} lacks its mandatory {child}")]
    Missing { root: String, child: &'static str, namespace: Namespace },
    #[error("{child} in {root} has no value of its type")]
    Invalid { root: String, child: &'static str, namespace: Namespace },
}

impl XmlError {
    /// Root and namespace of the document when it was well-formed and only a value is at fault; `None` when malformed.
    pub fn as_bad_parameter(&self) -> Option<(&str, &Namespace)> {
        match self {
            Self::Missing { root, namespace, .. } | Self::Invalid { root, namespace, .. } => Some((root, namespace)),
            _ => None,
        }
    }
}

/// Reads one document by local names: any namespace, children in any order, unknown children skipped.
pub fn decode(body: &[u8]) -> Result<Document, XmlError> {
    let tree = Tree::parse(body)?;
    let namespace = namespace(tree.namespace());
    let root = tree.root();
    let fields = Fields::new(root, &namespace);
    let name = root.name();
    let payload = if name.ends_with("Event") {
        event::read(&fields)?.map(Payload::Event)
    } else if name.ends_with("Response") || name == "CSTAErrorCode" {
        outcome::read(&fields)?.map(Payload::Outcome)
    } else {
        service::read(&fields)?.map(Payload::Service)
    };
    let payload = payload.unwrap_or_else(|| Payload::Unknown { root: name.to_owned() });
    Ok(Document { namespace, payload })
}

/// Writes one document on one line, children in the schema's order. [`Payload::Unknown`] is written as an empty root.
pub fn encode(payload: &Payload, namespace: &str) -> Vec<u8> {
    Writer::document(payload.name(), namespace, |writer| match payload {
        Payload::Service(service) => service::write(writer, service),
        Payload::Outcome(outcome) => outcome::write(writer, outcome),
        Payload::Event(event) => event::write(writer, event),
        Payload::Unknown { .. } => {}
    })
}
