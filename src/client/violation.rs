//! What a gateway did that a real client, or the standards, do not put up with.

use serde::Serialize;

use super::call_view::Surprise;

/// One anomaly. Whatever a user meets is kept, in order, up to [`super::VIOLATIONS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Violation {
    /// A CSeq was left out. RFC 3261 §12.2.2 allows it, and a takeover makes one; it is a loss when nothing explains it.
    CSeqGap { expected: u32, got: u32 },
    /// The last CSeq came again with the same content: answered again, not applied again.
    CSeqRepeated { cseq: u32 },
    /// The last CSeq came again with other content.
    CSeqReused { cseq: u32 },
    /// Lower than one seen before: answered 500, not applied (RFC 3261 §12.2.2).
    CSeqBackwards { last: u32, got: u32 },
    /// The gateway's tag is not the one the dialog began with.
    RemoteTagChanged { expected: String, got: String },
    /// Our own tag came back altered.
    LocalTagChanged { expected: String, got: String },
    /// A response does not carry the Via values of its request.
    ViaNotEchoed { cseq: u32 },
    /// The dialog's answer does not carry the Record-Route of its request.
    RecordRouteNotCopied { cseq: u32 },
    /// An event's Route is neither the last Record-Route nor the one being put in its place.
    WrongRoute { cseq: u32, got: Vec<String> },
    /// An event's Request-URI is not our Contact.
    WrongRequestUri { got: String },
    /// An INVITE or UPDATE answer without Contact: the dialog has no remote target.
    ContactMissing { cseq: u32 },
    /// An INVITE or UPDATE answer without Session-Expires: the session would end unnoticed.
    SessionTimerMissing { cseq: u32 },
    /// The INVITE answer does not list UPDATE: clients since OCS 2007 R2 lose the session after 25 minutes.
    UpdateNotAllowed { cseq: u32 },
    /// A body that is not CSTA XML, or of another content type.
    UnreadableBody { cseq: u32 },
    /// The outcome is not that of the service asked.
    WrongOutcome { service: &'static str, outcome: &'static str },
    /// An event under another cross-reference id than MonitorStart's: dropped, as real clients do.
    WrongXref { expected: Option<String>, got: String },
    /// MakeCall or ConsultationCall answered with a device that is not string-equal to the line: a real client loses the call.
    WrongDevice { expected: String, got: String },
    /// Our line, spelled otherwise than we spell it.
    LineRespelled { expected: String, got: String },
    /// An event about the number just dialled has another call id than the service's outcome.
    WrongCallId { expected: String, got: String },
    /// A call's first event came before the outcome that names the call.
    EventBeforeOutcome { call: String },
    /// The calls' own order is broken.
    Call(Surprise),
    /// A response to no open request.
    UnaskedResponse { cseq: u32, status: u16 },
    /// A repeated request was answered twice, differently.
    AnswersDiffer { cseq: u32 },
    /// An acknowledged dialog was denied.
    DialogDenied { method: String, status: u16 },
    /// The gateway ended the dialog.
    ByeReceived,
}

impl Violation {
    /// Whether one change of owner explains it: a takeover may leave out numbers and repeat the last unanswered event.
    pub fn is_explained_by_takeover(&self) -> bool {
        matches!(self, Self::CSeqGap { .. } | Self::CSeqRepeated { .. })
    }

    /// For counting by kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CSeqGap { .. } => "CSeqGap",
            Self::CSeqRepeated { .. } => "CSeqRepeated",
            Self::CSeqReused { .. } => "CSeqReused",
            Self::CSeqBackwards { .. } => "CSeqBackwards",
            Self::RemoteTagChanged { .. } => "RemoteTagChanged",
            Self::LocalTagChanged { .. } => "LocalTagChanged",
            Self::ViaNotEchoed { .. } => "ViaNotEchoed",
            Self::RecordRouteNotCopied { .. } => "RecordRouteNotCopied",
            Self::WrongRoute { .. } => "WrongRoute",
            Self::WrongRequestUri { .. } => "WrongRequestUri",
            Self::ContactMissing { .. } => "ContactMissing",
            Self::SessionTimerMissing { .. } => "SessionTimerMissing",
            Self::UpdateNotAllowed { .. } => "UpdateNotAllowed",
            Self::UnreadableBody { .. } => "UnreadableBody",
            Self::WrongOutcome { .. } => "WrongOutcome",
            Self::WrongXref { .. } => "WrongXref",
            Self::WrongDevice { .. } => "WrongDevice",
            Self::LineRespelled { .. } => "LineRespelled",
            Self::WrongCallId { .. } => "WrongCallId",
            Self::EventBeforeOutcome { .. } => "EventBeforeOutcome",
            Self::UnaskedResponse { .. } => "UnaskedResponse",
            Self::AnswersDiffer { .. } => "AnswersDiffer",
            Self::DialogDenied { .. } => "DialogDenied",
            Self::ByeReceived => "ByeReceived",
            Self::Call(Surprise::AfterEnd { .. }) => "Call: AfterEnd",
            Self::Call(Surprise::UnknownCall { .. }) => "Call: UnknownCall",
            Self::Call(Surprise::OutOfOrder { .. }) => "Call: OutOfOrder",
            Self::Call(Surprise::Repeated { .. }) => "Call: Repeated",
            Self::Call(Surprise::NoCallId { .. }) => "Call: NoCallId",
        }
    }
}
