use super::*;
use crate::csta::{ConnectionId, Failure};

#[tokio::test]
async fn a_call_between_two_devices_is_told_to_both_monitors_in_order() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut client = Client::logged_in(pbx.addresses()[0], "app").await;
    assert_eq!(client.monitor("5101").await, "0");
    assert_eq!(client.monitor("5102").await, "1");
    let Outcome::MakeCall { calling } = client.make_call("5101", "5102").await else { panic!() };
    assert_eq!(calling, ConnectionId::new("1001", "5101"));
    assert_eq!(
        client.events(4).await,
        [
            "0 ServiceInitiated 1001/5101 Initiated makeCall",
            "0 Originated 1001/5101 Connected newCall",
            "0 Delivered 1001/5102 Connected newCall",
            "1 Delivered 1001/5102 Alerting newCall",
        ]
    );
    let call = ConnectionId::new("1001", "5102");
    assert_eq!(client.ask(Service::AnswerCall { call: call.clone() }).await, Outcome::AnswerCall);
    assert_eq!(
        client.events(2).await,
        ["0 Established 1001/5102 Connected newCall", "1 Established 1001/5102 Connected newCall"]
    );
    let cleared = client.ask(Service::ClearConnection { connection: call, reason: None }).await;
    assert_eq!(cleared, Outcome::ClearConnection);
    assert_eq!(
        client.events(3).await,
        [
            "1 ConnectionCleared 1001/5102 Null normalClearing",
            "0 ConnectionCleared 1001/5102 Connected normalClearing",
            "0 ConnectionCleared 1001/5101 Null normalClearing",
        ]
    );
    pbx.stop().await;
}

#[tokio::test]
async fn two_links_show_the_same_calls_and_each_session_counts_its_own_cross_references() {
    let pbx = PbxLab::start(PbxOptions::with_links(2)).await.unwrap();
    let mut first = Client::logged_in(pbx.addresses()[0], "one").await;
    let mut second = Client::logged_in(pbx.addresses()[1], "two").await;
    assert_eq!(first.monitor("5101").await, "0");
    assert_eq!(second.monitor("5102").await, "0");
    first.make_call("5101", "5102").await;
    assert_eq!(second.events(1).await, ["0 Delivered 1001/5102 Alerting newCall"]);
    let snapshot = second.ask(Service::SnapshotDevice { device: "5102".into() }).await;
    let Outcome::SnapshotDevice { calls, .. } = snapshot else { panic!() };
    assert_eq!(calls.len(), 1);
}

#[tokio::test]
async fn a_session_whose_timer_runs_out_loses_its_connection_and_one_that_is_reset_does_not() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut kept = Client::connect(pbx.addresses()[0]).await;
    let answer = kept.ask_text(&start("kept", 2)).await;
    let session = text_of(&answer, "sessionID").to_owned();
    assert_eq!(text_of(&answer, "actualSessionDuration"), "2");
    let reset = format!(
        "<ResetApplicationSessionTimer><sessionID>{session}</sessionID>\
         <requestedSessionDuration>600</requestedSessionDuration></ResetApplicationSessionTimer>"
    );
    let answer = kept.ask_text(&reset).await;
    assert!(answer.contains("<ResetApplicationSessionTimerPosResponse"), "{answer}");
    // Begun later than the kept one, with the same time: when it ends, the other would have ended too.
    let mut short = Client::connect(pbx.addresses()[0]).await;
    short.ask_text(&start("short", 2)).await;
    assert!(short.is_closed().await);
    assert_eq!(kept.monitor("5101").await, "0");
    let stop = format!("<StopApplicationSession><sessionID>{session}</sessionID></StopApplicationSession>");
    assert!(kept.ask_text(&stop).await.contains("<StopApplicationSessionPosResponse"));
    assert!(kept.ask_text(&stop).await.contains("invalidSessionID"));
    let Reply::Stats(stats) = pbx.control(Request::Stats).await else { panic!() };
    assert_eq!((stats.sessions, stats.monitors), (0, 0));
}

fn login(session: &str) -> String {
    format!(
        "<StartApplicationSession><applicationInfo><applicationID>aes</applicationID><applicationSpecificInfo>\
         <SessionLoginInfo><userName>u</userName><password>p</password><sessionCleanupDelay>60</sessionCleanupDelay>\
         <sessionID>{session}</sessionID></SessionLoginInfo></applicationSpecificInfo></applicationInfo>\
         <requestedSessionDuration>600</requestedSessionDuration></StartApplicationSession>"
    )
}

#[tokio::test]
async fn a_dmcc_session_is_resumed_with_its_monitors_and_has_lost_what_happened_meanwhile() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut client = Client::connect(pbx.addresses()[0]).await;
    let session = text_of(&client.ask_text(&login("")).await, "sessionID").to_owned();
    let device = client
        .ask_text(
            "<GetThirdPartyDeviceId><switchName>CM</switchName><extension>5101</extension></GetThirdPartyDeviceId>",
        )
        .await;
    let device = text_of(&device, "device").to_owned();
    assert_eq!(device, "5101:CM::0");
    let xref = client.monitor(&device).await;
    drop(client);
    while !matches!(pbx.control(Request::Stats).await, Reply::Stats(stats) if stats.flows == 0) {
        tokio::task::yield_now().await;
    }
    pbx.control(Request::Ring { device: "5101".into(), from: Some("+14255550202".into()) }).await;
    let mut client = Client::connect(pbx.addresses()[0]).await;
    assert_eq!(text_of(&client.ask_text(&login(&session)).await, "sessionID"), session);
    assert!(client.is_quiet().await, "the Delivered event is lost");
    pbx.control(Request::Answer { device: Some("5101".into()), call: None }).await;
    let event = client.event().await;
    assert_eq!(event.xref, xref);
    assert_eq!(short(&event.body), "Established 1001/5101:CM::0 Connected newCall");

    let mut other = Client::connect(pbx.addresses()[0]).await;
    let fresh = text_of(&other.ask_text(&login("")).await, "sessionID").to_owned();
    let transfer = format!(
        "<TransferMonitorObjects><fromSessionID>{session}</fromSessionID><toSessionID>{fresh}</toSessionID>\
         </TransferMonitorObjects>"
    );
    assert!(other.ask_text(&transfer).await.contains("<TransferMonitorObjectsResponse"));
    pbx.control(Request::Hangup { device: "5101".into(), call: None }).await;
    let event = other.event().await;
    assert_eq!((event.xref, short(&event.body).contains("ConnectionCleared")), (xref, true));
    assert!(client.is_closed().await);
    let refused = Client::connect(pbx.addresses()[0]).await.ask_text(&login("unknown")).await;
    assert!(refused.contains("<StartApplicationSessionNegResponse"), "{refused}");
}

#[tokio::test]
async fn what_the_pbx_does_not_know_is_refused_or_met_with_silence() {
    let refused = |value: &str| Outcome::Failed(Failure::Operation(value.into()));
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut client = Client::logged_in(pbx.addresses()[0], "app").await;
    assert_eq!(client.make_call("5999", "5102").await, refused("invalidCallingDeviceID"));
    assert!(client.ask_text("<ParkCall/>").await.contains("serviceNotSupported"));
    assert!(client.ask_text("<HoldCall/>").await.contains("CSTAErrorCode"));

    let pbx = PbxLab::start(PbxOptions { unknown: Unknown::Silent, ..PbxOptions::default() }).await.unwrap();
    let mut client = Client::connect(pbx.addresses()[0]).await;
    client.send_service(make_call("5101", "5102")).await;
    client.send(start("app", 60).as_bytes()).await;
    assert_eq!(client.must().await.invoke, 2, "a service outside of a session has no answer");
    client.send_service(make_call("5999", "5102")).await;
    client.send(b"<ParkCall/>").await;
    let invoke = client.send_service(Service::RequestSystemStatus { line: None }).await;
    assert_eq!(client.must().await.invoke, invoke);
}

#[tokio::test]
async fn bytes_that_are_no_frames_or_no_xml_end_the_connection() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut client = Client::connect(pbx.addresses()[0]).await;
    client.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(client.is_closed().await);
    let mut client = Client::connect(pbx.addresses()[0]).await;
    client.send(b"<a><b></a>").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped_when_its_queue_is_full() {
    let options = PbxOptions { outbox_frames_max: 8, ..PbxOptions::default() };
    let pbx = PbxLab::start(options).await.unwrap();
    let mut client = Client::logged_in(pbx.addresses()[0], "app").await;
    client.monitor("5101").await;
    // The lock is held from step to step: the writer gets no turn, as if the client had stopped reading.
    for on in (0..20).map(|n| n % 2 == 0) {
        super::super::flow::lock(&pbx.board()).request(&Request::Dnd { device: "5101".into(), on });
    }
    assert!(client.is_closed().await);
    let Reply::Stats(stats) = pbx.control(Request::Stats).await else { panic!() };
    assert_eq!((stats.flows_overflowed, stats.sessions, stats.monitors), (1, 0, 0));
}

#[tokio::test]
async fn the_history_names_who_asked_for_what_and_what_came_of_it() {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let mut client = Client::logged_in(pbx.addresses()[0], "node-a").await;
    let service = Service::MakeCall {
        calling: "5101".into(),
        called: "+1 (425) 555-0202".into(),
        auto_originate: Some("doNotPrompt".into()),
        correlator: Some("a1b2".into()),
    };
    client.ask(service.clone()).await;
    client.make_call("5101", "5102").await;
    pbx.control(Request::Hangup { device: "5101".into(), call: None }).await;
    let Reply::History(page) = pbx.control(Request::History { after: 0, max: 10 }).await else { panic!() };
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let made = Happening::Service {
        link: "pbx1".into(),
        peer: client.stream.local_addr().unwrap(),
        application: "node-a".into(),
        invoke: 2,
        service,
        correlator: Some("a1b2".into()),
        did: Did::Call("1001".into()),
        is_answered: true,
    };
    assert_eq!(page.entries[1].what, made);
    let Happening::Service { did, .. } = &page.entries[2].what else { panic!() };
    assert_eq!(*did, Did::Refused(Failure::StateIncompatibility("invalidCallingDeviceState".into())));
    assert!(matches!(&page.entries[3].what, Happening::Phone { did: Did::Ok, .. }));
    let text = serde_json::to_string(&page).unwrap();
    assert_eq!(serde_json::from_str::<HistoryPage>(&text).unwrap(), page);
}
