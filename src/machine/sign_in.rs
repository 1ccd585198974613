//! Sign-in: what an INVITE outside a dialog is answered (rcc sheet 1.2, 1.3), as a pure decision.

use super::dialog::{CSTA_TYPE, Dialog};
use super::effect::Effect;
use super::input::FlowId;
use super::profile::Profile;
use super::refusal::Refusal;
use super::rules::T1_MS;
use super::rules::TIMER_F_MS;
use super::session::{Context, Session, Unconfirmed};
use super::session::{interval_too_small, is_csta, record_routes, unknown_extension, warning};
use super::transaction::{AnswerBody, Open};
use crate::csta::{Payload, Service, decode};
use crate::id::SessionId;
use crate::sip::{Message, NameAddr, reason_of};

/// What becomes of the INVITE.
#[derive(Debug)]
pub enum SignIn {
    /// The session begins: commit it with its claims, then carry out the effects. A claim that another user holds on the
    /// station turns this into [`refuse`].
    Welcome { session: Box<Session>, effects: Vec<Effect> },
    /// No session. `refusal` is there when it is about users and lines, for the counters.
    Refused { response: Message, refusal: Option<Refusal>, user: String },
}

/// Decides on an INVITE without a To tag. `id` is fresh and random; `link` is where the session will live.
pub fn sign_in(cx: Context<'_>, id: SessionId, flow: FlowId, invite: &Message, open: &Open, link: &str) -> SignIn {
    let user = user_of(invite);
    let no = |response: Message, refusal| SignIn::Refused { response, refusal, user: user.clone() };
    let plain = |status: u16| {
        let mut response = open.response(status, reason_of(status), Some(id.as_str()));
        response.headers.push("Server", &cx.rules.product);
        response
    };
    let bad = |why: &str| {
        let mut response = plain(400);
        response.headers.push("Warning", warning(cx, why));
        response
    };
    let unknown = unknown_extension(invite);
    if !unknown.is_empty() {
        let mut response = plain(420);
        response.headers.push("Unsupported", unknown.join(", "));
        return no(response, None);
    }
    if !is_csta(invite) {
        let mut response = plain(415);
        response.headers.push("Accept", CSTA_TYPE);
        return no(response, None);
    }
    if let Some(response) = interval_too_small(cx, open, invite, id.as_str()) {
        return no(response, None);
    }
    let (namespace, line) = match decode(&invite.body) {
        Ok(document) => match document.payload {
            Payload::Service(Service::RequestSystemStatus { line }) => (document.namespace.to_string(), line),
            _ => return no(bad("the INVITE's body must be RequestSystemStatus"), None),
        },
        Err(error) => return no(bad(&error.to_string()), None),
    };
    let appearance = match cx.rules.directory.appearance(&user, line.as_deref()) {
        Ok(appearance) => appearance,
        Err(refusal) => return refuse(cx, &id, open, refusal, user),
    };
    let dialog = match Dialog::begin(invite, id.as_str(), cx.rules, cx.now) {
        Ok(dialog) => dialog,
        Err(problem) => return no(bad(&problem.to_string()), None),
    };
    let profile = Profile::of_user_agent(&dialog.user_agent);
    let line = line.unwrap_or_else(|| appearance.line.clone());
    let mut session = Session::new(id, appearance, line, profile, link.to_owned(), dialog);
    session.began = cx.now;
    let body = session.status_body(cx, &namespace);
    let routes = record_routes(invite);
    let message = session.dialog.accept(open, &routes, cx.rules, Some(&body));
    session.remember(open, 200, AnswerBody::Xml(body.clone()));
    session.unconfirmed = Some(Box::new(Unconfirmed {
        open: open.clone(),
        record_routes: routes,
        body,
        repeat_at: cx.now.after_ms(T1_MS),
        interval_ms: T1_MS,
        give_up_at: cx.now.after_ms(TIMER_F_MS),
    }));
    SignIn::Welcome { session: Box::new(session), effects: vec![Effect::Respond { flow, message }] }
}

/// The answer to a user who may not have the line: 403 or 404, with the reason by its stable name.
pub fn refuse(cx: Context<'_>, id: &SessionId, open: &Open, refusal: Refusal, user: String) -> SignIn {
    let status = refusal.status();
    let mut response = open.response(status, reason_of(status), Some(id.as_str()));
    response.headers.push("Server", &cx.rules.product);
    response.headers.push("Warning", warning(cx, refusal.name()));
    SignIn::Refused { response, refusal: Some(refusal), user }
}

/// 503 with Retry-After: draining, or full.
pub fn unavailable(cx: Context<'_>, open: &Open, retry_after_s: u32) -> Message {
    let mut response = open.response(503, reason_of(503), None);
    response.headers.push("Server", &cx.rules.product);
    response.headers.push("Retry-After", retry_after_s.to_string());
    response
}

/// Who signs in: P-Asserted-Identity where the front end asserts one, else From (RFC 3325 §9.1).
fn user_of(invite: &Message) -> String {
    let asserted = invite
        .headers
        .values("P-Asserted-Identity")
        .filter_map(|value| NameAddr::parse(value).ok())
        .find(|address| matches!(address.uri.scheme.as_str(), "sip" | "sips"));
    asserted.or_else(|| invite.headers.from().ok()).map(|address| address.uri.text).unwrap_or_default()
}

impl Session {
    /// The claims of this session: its dialog, which nobody else may hold, and its station, which the same user may hold
    /// several times.
    pub fn claims(&self) -> Vec<(String, String)> {
        let station = match &self.appearance.partition {
            Some(partition) => format!("station/{}/{partition}", self.appearance.device),
            None => format!("station/{}", self.appearance.device),
        };
        let dialog = format!("dialog/{}/{}", self.dialog.call_id, self.dialog.remote_tag);
        vec![(dialog, self.id.to_string()), (station, self.appearance.sip.to_ascii_lowercase())]
    }
}
