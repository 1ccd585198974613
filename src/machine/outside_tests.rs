use std::sync::Arc;

use super::*;
use crate::csta::Features;
use crate::id::{Moment, SessionId};
use crate::machine::directory::{Appearance, Directory};
use crate::machine::refusal::Refusal;
use crate::machine::rules;
use crate::machine::session::Context;
use crate::machine::sign_in::{SignIn, refuse, sign_in, unavailable};
use crate::sip::StartLine;

fn rules() -> Rules {
    let mut unlicensed = Appearance::new("sip:dave@contoso.com", "tel:+14255550404", "5404");
    unlicensed.licensed = false;
    let directory = Directory::new([
        Appearance::new("sip:alice@contoso.com", "tel:+14255550101;ext=5101", "5101"),
        unlicensed,
        Appearance::new("sip:erin@contoso.com", "tel:+14255550505", "5505"),
        Appearance::new("sip:erin@contoso.com", "tel:+14255550506", "5506"),
    ])
    .expect("a good directory");
    Rules {
        contact: "<sip:rccgw@rccgw.contoso.com:5065;transport=tls>".into(),
        sent_by: "rccgw.contoso.com:5065".into(),
        via_transport: "TLS",
        product: "Lyncpin".into(),
        session_expires_s: 1800,
        min_se_s: 90,
        session_grace_s: 60,
        idle_expires_s: rules::IDLE_EXPIRES_S,
        keepalive_s: 60,
        event_wait_ms: 3_000,
        request_timeout_ms: 5_000,
        info_timeout_ms: rules::INFO_TIMEOUT_MS,
        open_max: 16,
        out_of_service_after_ms: rules::OUT_OF_SERVICE_AFTER_MS,
        status_grace_ms: rules::STATUS_GRACE_MS,
        cseq_tolerant: true,
        phone_context: "dialstring".into(),
        features: Arc::new(Features::standard()),
        switches: Vec::new(),
        directory: Arc::new(directory),
    }
}

/// A request as a front end sends it, with `changes` (`Header: value`, `Header: -` for none).
fn request(method: &str, uri: &str, changes: &[&str]) -> Message {
    let mut headers = vec![
        ("Via", "SIP/2.0/TLS 10.0.0.10:58201;branch=z9hG4bKa".to_owned()),
        ("Max-Forwards", "69".into()),
        ("From", "<sip:alice@contoso.com>;tag=9c41;epid=bd23".into()),
        ("To", "<sip:rccgw@rccgw.contoso.com>".into()),
        ("Call-ID", "c7a1".into()),
        ("CSeq", format!("1 {method}")),
    ];
    for change in changes {
        let (name, value) = change.split_once(": ").expect("Header: value");
        headers.retain(|(known, _)| *known != name);
        if value != "-" {
            headers.push((name, value.to_owned()));
        }
    }
    let mut message = Message::request(method, uri);
    for (name, value) in headers {
        message.headers.push(name, value);
    }
    message
}

const US: &str = "sip:rccgw@rccgw.contoso.com";
const TAGGED: &str = "To: <sip:rccgw@rccgw.contoso.com>;tag=unknown";

/// `200 Header: value` for an answer, else what is done.
fn decided(request: &Message, is_draining: bool) -> String {
    match outside(&rules(), FlowId(1), request, is_draining) {
        Outside::Ignore => "ignored".into(),
        Outside::SignIn(_) => "sign-in".into(),
        Outside::Cancel { known, unknown } => format!("{:?} or {:?}", known.status(), unknown.status()),
        Outside::Answer(response) => {
            let mut text = format!("{}", response.status().unwrap_or_default());
            for name in ["Allow", "Accept", "Supported", "Retry-After", "Compression"] {
                if let Some(value) = response.headers.get(name) {
                    text.push_str(&format!(" {name}: {value}"));
                }
            }
            // Whatever is answered goes back the way it came.
            assert_eq!(
                response.headers.fields("Via").collect::<Vec<_>>(),
                request.headers.fields("Via").collect::<Vec<_>>()
            );
            assert_eq!(response.headers.get("Call-ID"), request.headers.get("Call-ID"));
            assert_eq!(response.headers.get("CSeq"), request.headers.get("CSeq"));
            assert!(matches!(response.start, StartLine::Response { .. }));
            text
        }
    }
}

#[test]
fn each_request_outside_a_dialog_has_its_answer() {
    // RFC 3261 §8.2, §11.2, §12.2.2, §16.3; MS-SIPCOMP for NEGOTIATE.
    let allow = "405 Allow: INVITE, ACK, BYE, CANCEL, INFO, UPDATE, OPTIONS";
    let options = "200 Allow: INVITE, ACK, BYE, CANCEL, INFO, UPDATE, OPTIONS Accept: application/csta+xml \
                   Supported: timer";
    let own_via = "Via: SIP/2.0/TLS rccgw.contoso.com:5065;branch=z9hG4bKus";
    let negotiate = ["Max-Forwards: 0", "Compression: LZ77-8K", "Via: SIP/2.0/TLS 10.0.0.10:58201"];
    let table: [(&str, &str, &[&str], &str); 31] = [
        ("INVITE", US, &[], "sign-in"),
        ("INVITE", "sips:rccgw@rccgw.contoso.com", &[], "sign-in"),
        ("INVITE", "tel:+14255550101", &[], "sign-in"),
        ("INVITE", "sip:rccgw@rccgw.contoso.com:5065;transport=tls;ms-opaque=7", &[], "sign-in"),
        ("INVITE", "http://rccgw.contoso.com", &[], "416"),
        ("INVITE", US, &["Max-Forwards: 0"], "sign-in"),
        ("INVITE", US, &[TAGGED], "481"),
        ("INFO", US, &[TAGGED], "481"),
        ("INFO", US, &[], "481"),
        ("UPDATE", US, &[TAGGED], "481"),
        ("BYE", US, &[TAGGED], "481"),
        ("OPTIONS", US, &[], options),
        ("OPTIONS", US, &[TAGGED], "481"),
        ("CANCEL", US, &[], "Some(200) or Some(481)"),
        ("NEGOTIATE", "sip:10.0.0.20:5061", &negotiate, allow),
        ("SERVICE", US, &[], allow),
        ("SUBSCRIBE", US, &[], allow),
        ("NOTIFY", US, &[TAGGED], allow),
        ("MESSAGE", US, &[], allow),
        ("REGISTER", US, &[], allow),
        ("REFER", US, &[], allow),
        ("PUBLISH", US, &[], allow),
        ("invite", US, &[], allow),
        ("ACK", US, &[], "ignored"),
        ("ACK", US, &[TAGGED], "ignored"),
        ("BENOTIFY", US, &[TAGGED], "ignored"),
        ("INVITE", US, &[own_via], "482"),
        ("INVITE", US, &["CSeq: 1 INFO"], "400"),
        ("INVITE", US, &["CSeq: one INVITE"], "ignored"),
        ("INVITE", US, &["Call-ID: -"], "ignored"),
        ("INVITE", US, &["From: nonsense <"], "400"),
    ];
    for (method, uri, changes, wanted) in table {
        assert_eq!(decided(&request(method, uri, changes), false), wanted, "{method} {uri} {changes:?}");
    }
}

#[test]
fn a_draining_node_sends_balancers_away_and_answers_the_rest_as_ever() {
    assert_eq!(decided(&request("OPTIONS", US, &[]), true), "503 Retry-After: 60");
    assert_eq!(decided(&request("INFO", US, &[TAGGED]), true), "481");
    assert_eq!(decided(&request("ACK", US, &[]), true), "ignored");
    let (rules, now) = (rules(), Moment(1));
    let open = Open::of(FlowId(1), &request("INVITE", US, &[])).expect("a good INVITE");
    let response = unavailable(Context { rules: &rules, now }, &open, 60);
    assert_eq!((response.status(), response.headers.get("Retry-After")), (Some(503), Some("60")));
}

#[test]
fn a_481_invents_no_dialog_and_other_answers_carry_a_tag() {
    // RFC 3261 §8.2.6.2.
    let answer = |request: &Message| match outside(&rules(), FlowId(1), request, false) {
        Outside::Answer(response) => response.headers.get("To").unwrap_or_default().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(answer(&request("INFO", US, &[TAGGED])), "<sip:rccgw@rccgw.contoso.com>;tag=unknown");
    assert_eq!(answer(&request("INFO", US, &[])), "<sip:rccgw@rccgw.contoso.com>");
    let tagged = answer(&request("MESSAGE", US, &[]));
    assert!(tagged.starts_with("<sip:rccgw@rccgw.contoso.com>;tag="), "{tagged}");
    assert_eq!(tagged, answer(&request("MESSAGE", US, &[])), "the same request gets the same tag");
}

#[test]
fn each_refused_sign_in_has_its_stable_name_and_status() {
    let rules = rules();
    let cx = Context { rules: &rules, now: Moment(1) };
    let line = |line: &str| {
        format!(
            "<RequestSystemStatus xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"><extensions>\
             <privateData><private><l:line xmlns:l=\"http://schemas.microsoft.com/Lcs/2005/04/RCCExtension\">{line}\
             </l:line></private></privateData></extensions></RequestSystemStatus>"
        )
    };
    let table = [
        ("sip:alice@contoso.com", "tel:+14255550101;ext=5101", None),
        ("sip:mallory@contoso.com", "tel:+14255550101;ext=5101", Some((Refusal::UserUnknown, 403))),
        ("sip:alice@contoso.com", "tel:+14255559999", Some((Refusal::LineUnknown, 404))),
        ("sip:alice@contoso.com", "no number at all", Some((Refusal::LineUnknown, 404))),
        ("sip:alice@contoso.com", "tel:+14255550505", Some((Refusal::LineNotAllowed, 403))),
        ("sip:dave@contoso.com", "tel:+14255550404", Some((Refusal::NoClientLicense, 403))),
        ("sip:erin@contoso.com", "", Some((Refusal::UserAmbiguous, 403))),
    ];
    for (user, line_uri, wanted) in table {
        let from = format!("From: <{user}>;tag=9c41;epid=bd23");
        let contact = format!("Contact: <{user};opaque=user:epid:Q;gruu>");
        let mut invite = request("INVITE", US, &[&from, &contact, "Content-Type: application/csta+xml"]);
        invite.body = line(line_uri).into();
        let open = Open::of(FlowId(1), &invite).expect("a good INVITE");
        match (sign_in(cx, SessionId::new("51e5"), FlowId(1), &invite, &open, "cm1"), wanted) {
            (SignIn::Welcome { session, .. }, None) => assert_eq!(session.line, line_uri),
            (SignIn::Refused { response, refusal, user: who }, Some((wanted, status))) => {
                assert_eq!((refusal, response.status()), (Some(wanted), Some(status)), "{user} {line_uri}");
                assert_eq!(who, user);
                let warning = response.headers.get("Warning").unwrap_or_default();
                assert_eq!(warning, format!("399 rccgw.contoso.com \"{}\"", wanted.name()));
            }
            (other, wanted) => panic!("{user} {line_uri}: {other:?}, not {wanted:?}"),
        }
    }
    // The station's claim is found out by the record, after the decision.
    let open = Open::of(FlowId(1), &request("INVITE", US, &[])).expect("a good INVITE");
    let station = Refusal::StationInUseByAnotherUser;
    match refuse(cx, &SessionId::new("51e5"), &open, station, "sip:bob@contoso.com".into()) {
        SignIn::Refused { response, refusal, .. } => {
            assert_eq!((response.status(), refusal), (Some(403), Some(station)));
            let warning = response.headers.get("Warning").unwrap_or_default();
            assert_eq!(warning, "399 rccgw.contoso.com \"station_in_use_by_another_user\"");
        }
        SignIn::Welcome { .. } => panic!("welcome after all"),
    }
}
