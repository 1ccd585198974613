//! Requests outside a dialog, or of a dialog nobody knows: which are answered here, and how (rcc sheet 1.10, 1.12).

use super::dialog::{ALLOW, CSTA_TYPE};
use super::input::FlowId;
use super::rules::Rules;
use super::transaction::{Open, fingerprint};
use crate::sip::{Message, Uri, reason_of};

/// What to do with a request that belongs to no session here.
#[derive(Debug)]
pub enum Outside {
    /// ACK and BENOTIFY are never answered.
    Ignore,
    Answer(Message),
    /// An INVITE: decide with [`super::sign_in::sign_in`].
    SignIn(Open),
    /// A CANCEL: 200 if its INVITE is known, else 481; either is `known` or `unknown`.
    Cancel {
        known: Message,
        unknown: Message,
    },
}

/// Decides without any state. `is_red` makes OPTIONS answer 503, so that balancers move on.
pub fn outside(rules: &Rules, flow: FlowId, request: &Message, is_red: bool) -> Outside {
    let method = request.method().unwrap_or_default();
    if matches!(method, "ACK" | "BENOTIFY") {
        return Outside::Ignore;
    }
    let open = match Open::of(flow, request) {
        Ok(open) => open,
        // Call-ID or CSeq cannot be read: nothing to match an answer with.
        Err(_) => return Outside::Ignore,
    };
    let tag = format!("{:016x}", fingerprint(format!("{}{}", open.call_id, open.vias.join(",")).as_bytes()));
    let answer = |status: u16| {
        let mut response = open.response(status, reason_of(status), Some(&tag));
        response.headers.push("Server", &rules.product);
        response
    };
    if open.method != method {
        // RFC 3261 §8.1.1.5: the method in CSeq is the request's.
        return Outside::Answer(answer(400));
    }
    if request.headers.from().is_err() || request.headers.top_via().is_err() {
        return Outside::Answer(answer(400));
    }
    let Ok(to) = request.headers.to() else { return Outside::Answer(answer(400)) };
    if request.headers.values("Via").any(|via| sent_by(via) == Some(&rules.sent_by)) {
        return Outside::Answer(answer(482));
    }
    let is_known_method = matches!(method, "INVITE" | "INFO" | "UPDATE" | "BYE" | "OPTIONS" | "CANCEL");
    if !is_known_method {
        // NEGOTIATE among them: the link then stays uncompressed (MS-SIPCOMP).
        let mut response = answer(405);
        response.headers.push("Allow", ALLOW);
        return Outside::Answer(response);
    }
    if method == "CANCEL" {
        return Outside::Cancel { known: answer(200), unknown: answer(481) };
    }
    if method == "OPTIONS" && to.tag().is_none() {
        if is_red {
            let mut response = answer(503);
            response.headers.push("Retry-After", "60");
            return Outside::Answer(response);
        }
        let mut response = answer(200);
        response.headers.push("Accept", CSTA_TYPE);
        response.headers.push("Allow", ALLOW);
        response.headers.push("Supported", "timer");
        return Outside::Answer(response);
    }
    if method != "INVITE" || to.tag().is_some() {
        return Outside::Answer(open.response_481(rules));
    }
    let scheme = match &request.start {
        crate::sip::StartLine::Request { uri, .. } => Uri::parse(uri).map(|uri| uri.scheme),
        crate::sip::StartLine::Response { .. } => return Outside::Ignore,
    };
    match scheme.as_deref() {
        Ok("sip" | "sips" | "tel") => Outside::SignIn(open),
        Ok(_) => Outside::Answer(answer(416)),
        Err(_) => Outside::Answer(answer(400)),
    }
}

/// The sent-by of a Via value.
fn sent_by(via: &str) -> Option<&str> {
    via.split(';').next()?.split_ascii_whitespace().nth(1)
}

impl Open {
    /// 481: the dialog is not known here, and none is invented. The To stays as it is.
    pub fn response_481(&self, rules: &Rules) -> Message {
        let mut response = self.response(481, reason_of(481), None);
        response.headers.push("Server", &rules.product);
        response
    }
}

#[cfg(test)]
#[path = "outside_tests.rs"]
mod tests;
