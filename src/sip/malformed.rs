//! Why bytes are not a SIP message.

/// Not SIP, or not this part of it. Never holds received text, so it may be logged and sent back. The holder of the flow
/// answers [`Malformed::status`] where it can; a malformed response is dropped (RFC 3261 §16.7, §18.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    #[error("no empty line ends the header")]
    HeadUnended,
    /// Not `Method SP Request-URI SP SIP-Version` nor `SIP-Version SP 3DIGIT SP Reason` (RFC 3261 §7.1, §7.2).
    #[error("the start line is neither a request's nor a response's")]
    StartLine,
    #[error("the SIP version is not 2.0")]
    Version,
    /// A bare CR or LF, or a folded line that another parser may take for the end of the header.
    #[error("line {line} does not end as SIP lines do")]
    LineEnd { line: usize },
    /// No colon, an empty name, or a name that is not a token.
    #[error("line {line} has no header name")]
    HeaderName { line: usize },
    /// A control byte that is not escaped by a backslash (RFC 3261 §25.1, TEXT-UTF8char).
    #[error("line {line} holds a control character")]
    Control { line: usize },
    /// Refused rather than kept: what is not UTF-8 cannot be compared, logged or repeated faithfully (RFC 3261 §7).
    #[error("the header is not UTF-8")]
    NotUtf8,
    #[error("more than {max} header fields")]
    TooManyHeaders { max: usize },
    #[error("the body is shorter than its Content-Length")]
    BodyShort,
    #[error("no {name}")]
    Missing { name: &'static str },
    #[error("more than one {name}")]
    Repeated { name: &'static str },
    #[error("{name} cannot be read")]
    Value { name: &'static str },
    /// RFC 3261 §8.2.2, §20.16: the method of a request and of its CSeq are one.
    #[error("the CSeq names another method")]
    MethodMismatch,
    #[error("not a URI")]
    Uri,
    #[error("not a name-addr or addr-spec")]
    NameAddr,
}

impl Malformed {
    /// The status to answer: 505 for another SIP version, else 400 (RFC 3261 §21.4.1, §21.5.6).
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            _ => 400,
        }
    }
}
