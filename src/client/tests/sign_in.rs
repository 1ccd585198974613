use super::*;
use crate::client::fake::brief;
use crate::client::{RefreshMethod, SignInError, Unanswered};
use crate::csta::{Document, Payload, Service, decode};
use crate::sip::Message;

#[tokio::test]
async fn sign_in_is_invite_ack_and_two_infos_back_to_back_for_every_product() {
    for product in Product::ALL {
        let rig = Rig::new(UserOptions { product, ..alice() }, FrontEndOptions::front_end("fe01.contoso.com"));
        let signed_in = rig.user.sign_in().await.expect("signs in");
        assert_eq!(signed_in.xref, "7f3a19c2");
        assert!(!signed_in.features.services.is_empty());
        let expected = ["INVITE RequestSystemStatus", "ACK", "INFO GetCSTAFeatures", "INFO MonitorStart"];
        assert_eq!(rig.gateway.heard(), expected, "{product:?}");
        assert_eq!(rig.user.violations(), [], "{product:?}");
        for (_, message) in rig.gateway.received() {
            assert_eq!(message.headers.get("User-Agent"), Some(product.user_agent()));
        }
    }
}

/// The two INFOs leave before either is answered.
#[tokio::test(start_paused = true)]
async fn features_and_monitor_do_not_wait_for_each_other() {
    let rig = Rig::lync();
    let user = rig.user.clone();
    let gateway = rig.gateway.clone();
    gateway.clone().tamper(move |message| {
        if message.headers.cseq().is_ok_and(|c| c.method == "INVITE") {
            gateway_silent_later(&gateway);
        }
    });
    let signing_in = tokio::spawn(async move { user.sign_in().await });
    let cseqs = rig
        .gateway
        .until(|all| {
            let infos: Vec<u32> = all
                .iter()
                .filter(|(_, m)| m.method() == Some("INFO"))
                .map(|(_, m)| m.headers.cseq().expect("CSeq").number)
                .collect();
            (infos.len() == 2).then_some(infos)
        })
        .await;
    assert_eq!(cseqs, [2, 3]);
    let result = signing_in.await.expect("no panic");
    assert_eq!(result, Err(SignInError::Service { service: "GetCSTAFeatures", why: Unanswered::TimedOut }));
}

/// The fake's lock is held while it tampers.
fn gateway_silent_later(gateway: &FakeGateway) {
    let gateway = gateway.clone();
    tokio::spawn(async move { gateway.fall_silent(true) });
}

#[tokio::test]
async fn the_invite_is_as_a_front_end_relays_it() {
    let rig = Rig::signed_in().await;
    let received = rig.gateway.received();
    let invite = &received[0].1;
    assert_eq!(invite.request_uri(), Some("sip:rccgw@rccgw.contoso.com"));
    let vias: Vec<&str> = invite.headers.fields("Via").collect();
    assert!(vias[0].starts_with("SIP/2.0/TLS 10.0.0.10:58201;branch=z9hG4bK"), "{vias:?}");
    // The client's own Via has no branch.
    assert_eq!(vias[1], "SIP/2.0/TLS 10.0.0.50:51063;ms-received-port=51063;ms-received-cid=2A1F00");
    assert_eq!(invite.headers.get("Max-Forwards"), Some("69"));
    assert_eq!(invite.headers.get("Supported"), Some("timer"));
    assert_eq!(invite.headers.get("Session-Expires"), Some("1800"));
    assert_eq!(invite.headers.fields("Record-Route").count(), 1);
    assert_eq!(invite.headers.from().expect("From").param("epid"), Some("bd23d94254"));
    assert!(invite.headers.contact().expect("Contact").expect("one").text.ends_with(";gruu>"));
    let Ok(Document { payload: Payload::Service(service), .. }) = decode(&invite.body) else { panic!("no service") };
    assert_eq!(service, Service::RequestSystemStatus { line: Some("tel:+14255550101;ext=5101".to_owned()) });
    // In the dialog: our Contact as target, no Record-Route, tags of both.
    let info: &Message = &received[2].1;
    assert_eq!(info.request_uri(), Some("sip:rccgw@rccgw.contoso.com:5065;transport=tls"));
    assert_eq!(info.headers.fields("Record-Route").count(), 0);
    assert_eq!(info.headers.to().expect("To").tag(), Some("gw1-5f7a2c19"));
}

#[tokio::test(start_paused = true)]
async fn older_products_refresh_by_reinvite_and_newer_by_update() {
    for product in Product::ALL {
        let rig = Rig::new(UserOptions { product, ..alice() }, FrontEndOptions::front_end("fe01.contoso.com"));
        rig.user.sign_in().await.expect("signs in");
        let (left, own) = (rig.user.refresh_in().expect("a dialog"), product.refresh_s());
        assert_eq!(left.as_secs(), u64::from(own));
        let refreshed = rig.user.refresh().await.expect("refreshes");
        let heard = rig.gateway.heard();
        match product.refresh_method() {
            RefreshMethod::ReInvite => {
                assert_eq!(own, 600);
                assert_eq!(heard[4], "INVITE RequestSystemStatus", "{product:?}");
                assert_eq!(refreshed.system_status.as_deref(), Some("normal"));
                let acks = |all: &[(usize, Message)]| all.iter().filter(|(_, m)| brief(m) == "ACK").count();
                rig.gateway.until(|all| (acks(all) == 2).then_some(())).await;
            }
            RefreshMethod::Update => {
                assert_eq!(own, 1500);
                assert_eq!(heard[4..], ["UPDATE"], "{product:?}");
                assert_eq!(refreshed.system_status, None);
            }
        }
        assert_eq!(rig.user.violations(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_session_is_refreshed_a_minute_before_its_end() {
    let rig = Rig::lync();
    rig.gateway.tamper(|m| {
        if m.headers.get("Session-Expires").is_some() {
            m.headers.set("Session-Expires", "300;refresher=uac");
        }
    });
    rig.user.sign_in().await.expect("signs in");
    assert_eq!(rig.user.refresh_in().expect("a dialog").as_secs(), 240);
}

#[tokio::test]
async fn a_status_that_is_not_normal_stops_the_sign_in() {
    let rig = Rig::lync();
    rig.gateway.script("RequestSystemStatus", &["K13"]);
    let result = rig.user.sign_in().await;
    assert_eq!(result, Err(SignInError::NotNormal { system_status: "partiallyDisabled".to_owned() }));
    assert!(!rig.user.is_signed_in());
}

#[tokio::test]
async fn a_refused_invite_is_acknowledged_on_its_own_hop() {
    let rig = Rig::lync();
    rig.gateway.tamper(|m| {
        if m.headers.cseq().is_ok_and(|c| c.method == "INVITE") {
            *m = Message {
                start: Message::response(503, "Service Unavailable").start,
                headers: m.headers.clone(),
                body: Default::default(),
            };
            m.headers.push("Retry-After", "17 (draining)");
        }
    });
    let refused = |is_repeat| Unanswered::Sip {
        status: 503,
        reason: "Service Unavailable".to_owned(),
        retry_after_s: Some(17),
        is_repeat,
    };
    let why = refused(false);
    assert!(why.is_definite() && !refused(true).is_definite());
    assert_eq!(rig.user.sign_in().await, Err(SignInError::Invite(why)));
    rig.gateway.until(|all| (all.len() == 2).then_some(())).await;
    let received = rig.gateway.received();
    assert_eq!(brief(&received[1].1), "ACK");
    assert_eq!(received[0].1.headers.get("Via"), received[1].1.headers.get("Via"));
}

#[tokio::test]
async fn signing_out_stops_the_monitor_then_says_bye() {
    let rig = Rig::signed_in().await;
    rig.user.sign_out().await.expect("signs out");
    assert_eq!(rig.gateway.heard()[4..], ["INFO MonitorStop", "BYE"]);
    assert!(!rig.user.is_signed_in());
}

#[tokio::test]
async fn a_second_sign_in_is_a_new_dialog() {
    let rig = Rig::signed_in().await;
    let first = rig.user.call_id();
    rig.user.sign_out().await.expect("signs out");
    rig.user.sign_in().await.expect("signs in again");
    assert_ne!(first, rig.user.call_id());
    assert!(rig.user.is_signed_in());
    let received = rig.gateway.received();
    let (_, invite) = received.iter().rfind(|(_, m)| m.method() == Some("INVITE")).expect("two INVITEs");
    assert_eq!((invite.headers.cseq().expect("CSeq").number, invite.headers.to().expect("To").tag()), (1, None));
}

#[tokio::test]
async fn negotiate_comes_first_and_everything_waits_for_its_answer() {
    let rig = Rig::new(alice(), FrontEndOptions { negotiates: true, ..FrontEndOptions::front_end("fe01.contoso.com") });
    rig.user.sign_in().await.expect("signs in");
    assert_eq!(rig.gateway.heard()[..2], ["NEGOTIATE", "INVITE RequestSystemStatus"]);
}

#[tokio::test]
async fn a_gateway_that_agrees_to_compress_is_not_talked_to() {
    let rig = Rig::new(
        UserOptions { answer_timeout: std::time::Duration::from_millis(50), ..alice() },
        FrontEndOptions { negotiates: true, ..FrontEndOptions::front_end("fe01.contoso.com") },
    );
    rig.gateway.tamper(|m| {
        if m.headers.cseq().is_ok_and(|c| c.method == "NEGOTIATE") {
            m.start = Message::response(200, "OK").start;
            m.headers.push("Compression", "LZ77-8K");
        }
    });
    assert_eq!(rig.user.sign_in().await, Err(SignInError::Invite(Unanswered::TimedOut)));
    assert_eq!(rig.gateway.heard(), ["NEGOTIATE"]);
}
