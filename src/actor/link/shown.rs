//! What those who follow a session are shown of its link.

use crate::csta::{ED3, Event, Outcome, Payload, Service, encode};
use crate::cti::LinkFailed;
use crate::id::SessionId;
use crate::trace::{Tap, Way};

pub(super) fn said(tap: &Tap, link: &str, session: &SessionId, service: Service) {
    tap.cti(Way::Out, link, session, || written(Payload::Service(service)));
}

/// An answer of the PBX, or that there is none.
pub(super) fn heard(tap: &Tap, link: &str, session: &SessionId, result: &Result<Outcome, LinkFailed>) {
    tap.cti(Way::In, link, session, || match result {
        Ok(outcome) => written(Payload::Outcome(outcome.clone())),
        Err(why) => (format!("no answer: {why}"), Vec::new()),
    });
}

pub(super) fn reported(tap: &Tap, link: &str, session: &SessionId, event: &Event) {
    tap.cti(Way::In, link, session, || written(Payload::Event(event.clone())));
}

/// As the standard spells it; the bytes on the wire have the dialect's own frame around it.
fn written(payload: Payload) -> (String, Vec<u8>) {
    let name = match &payload {
        Payload::Outcome(Outcome::Failed(failure)) => format!("{} {failure}", payload.name()),
        payload => payload.name().to_owned(),
    };
    (name, encode(&payload, ED3))
}
