use super::*;
use crate::csta::ConnectionId;

async fn lab() -> (PbxLab, Client, String) {
    let pbx = PbxLab::start(PbxOptions::default()).await.unwrap();
    let client = Client::logged_in(pbx.addresses()[0], "app").await;
    (pbx, client, "pbx1".to_owned())
}

fn status() -> Service {
    Service::RequestSystemStatus { line: None }
}

#[tokio::test]
async fn a_frozen_link_says_nothing_closes_nothing_and_answers_late() {
    let (pbx, mut client, link) = lab().await;
    pbx.control(Request::Freeze { link: link.clone(), on: true }).await;
    let invoke = client.send_service(make_call("5101", "5102")).await;
    assert!(client.is_quiet().await);
    let mut late = Client::connect(pbx.addresses()[0]).await;
    late.send(start("late", 60).as_bytes()).await;
    assert!(late.is_quiet().await, "the kernel accepts, nobody answers");
    let Reply::Calls { calls } = pbx.control(Request::Calls { after: 0, max: 9 }).await else { panic!() };
    assert_eq!(calls, []);
    pbx.control(Request::Freeze { link, on: false }).await;
    assert_eq!(client.must().await.invoke, invoke);
    assert_eq!(late.must().await.invoke, 1);
}

#[tokio::test]
async fn a_frozen_link_whose_queue_overflows_closes_only_once_it_thaws() {
    let options = PbxOptions { outbox_frames_max: 4, ..PbxOptions::default() };
    let pbx = PbxLab::start(options).await.unwrap();
    let mut client = Client::logged_in(pbx.addresses()[0], "app").await;
    client.monitor("5101").await;
    pbx.control(Request::Freeze { link: "pbx1".into(), on: true }).await;
    for on in (0..400).map(|n| n % 2 == 0) {
        pbx.control(Request::Dnd { device: "5101".into(), on }).await;
        tokio::task::yield_now().await;
    }
    let Reply::Stats(stats) = pbx.control(Request::Stats).await else { panic!() };
    assert_eq!(stats.flows_overflowed, 1);
    assert!(client.is_quiet().await, "no end of file from a frozen process");
    pbx.control(Request::Freeze { link: "pbx1".into(), on: false }).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_connection_that_has_to_close_while_its_link_is_frozen_closes_once_it_thaws() {
    let (pbx, mut client, link) = lab().await;
    pbx.control(Request::Freeze { link: link.clone(), on: true }).await;
    {
        let board = pbx.board();
        let mut board = super::super::flow::lock(&board);
        for flow in board.flows_of(0) {
            board.close(flow, super::super::board::Life::Closing);
        }
    }
    assert!(client.is_quiet().await);
    pbx.control(Request::Freeze { link, on: false }).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_dropped_link_closes_its_connections_even_when_frozen() {
    let (pbx, mut client, link) = lab().await;
    pbx.control(Request::Freeze { link: link.clone(), on: true }).await;
    pbx.control(Request::Drop { link }).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_refusing_link_does_not_listen_and_listens_again_at_the_same_address() {
    let (pbx, mut client, link) = lab().await;
    pbx.control(Request::Refuse { link: link.clone(), on: true }).await;
    let refused = TcpStream::connect(pbx.addresses()[0]).await.map(|_| ()).map_err(|fault| fault.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    assert!(matches!(client.ask(status()).await, Outcome::RequestSystemStatus { .. }), "old connections go on");
    pbx.control(Request::Heal { link: None }).await;
    Client::logged_in(pbx.addresses()[0], "again").await;
}

#[tokio::test]
async fn a_delayed_answer_comes_after_its_delay_and_before_its_events() {
    let (pbx, mut client, link) = lab().await;
    client.monitor("5101").await;
    pbx.control(Request::Delay { link, ms: 1_500 }).await;
    let invoke = client.send_service(make_call("5101", "5102")).await;
    assert!(client.is_quiet().await);
    assert_eq!(client.must().await.invoke, invoke);
    assert_eq!(client.events(1).await, ["0 ServiceInitiated 1001/5101 Initiated makeCall"]);
}

#[tokio::test]
async fn every_kth_answer_is_dropped_although_the_service_was_done() {
    let (pbx, mut client, link) = lab().await;
    pbx.control(Request::DropAnswers { link, every: 2 }).await;
    let first = client.send_service(status()).await;
    client.send_service(make_call("5101", "5102")).await;
    let third = client.send_service(status()).await;
    assert_eq!([client.must().await.invoke, client.must().await.invoke], [first, third]);
    let Reply::Calls { calls } = pbx.control(Request::Calls { after: 0, max: 9 }).await else { panic!() };
    assert_eq!(calls.len(), 1);
    let Reply::History(page) = pbx.control(Request::History { after: 0, max: 9 }).await else { panic!() };
    let answered: Vec<bool> = page
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            Happening::Service { is_answered, .. } => Some(*is_answered),
            _ => None,
        })
        .collect();
    assert_eq!(answered, [true, false, true]);
}

#[tokio::test]
async fn an_answer_can_come_twice() {
    let (pbx, mut client, link) = lab().await;
    pbx.control(Request::AnswerTwice { link, on: true }).await;
    let invoke = client.send_service(make_call("5101", "5102")).await;
    assert_eq!([client.must().await.invoke, client.must().await.invoke], [invoke, invoke]);
    let Reply::Calls { calls } = pbx.control(Request::Calls { after: 0, max: 9 }).await else { panic!() };
    assert_eq!(calls.len(), 1, "done once all the same");
}

#[tokio::test]
async fn a_restart_forgets_sessions_and_monitors_and_calls_only_when_told() {
    let (pbx, mut client, link) = lab().await;
    client.monitor("5102").await;
    client.make_call("5101", "5102").await;
    pbx.control(Request::Restart { link: Some(link.clone()), forget_calls: false }).await;
    assert!(client.is_closed().await);
    let Reply::Stats(stats) = pbx.control(Request::Stats).await else { panic!() };
    assert_eq!((stats.sessions, stats.monitors, stats.calls), (0, 0, 1));
    let both = Request::Restart { link: Some(link), forget_calls: true };
    assert_eq!(pbx.control(both).await, Reply::Error { error: RequestError::CallsAreShared });
    pbx.control(Request::Restart { link: None, forget_calls: true }).await;
    let mut client = Client::logged_in(pbx.addresses()[0], "app").await;
    let snapshot = client.ask(Service::SnapshotDevice { device: "5102".into() }).await;
    assert_eq!(snapshot, Outcome::SnapshotDevice { calls: Vec::new(), service_xref: None });
    let call = ConnectionId::new("1001", "5102");
    assert!(matches!(client.ask(Service::AnswerCall { call }).await, Outcome::Failed(_)));
}

#[tokio::test]
async fn a_status_that_is_not_normal_is_answered_and_reported_to_those_who_registered() {
    let (pbx, mut client, link) = lab().await;
    client.ask(Service::SystemRegister).await;
    pbx.control(Request::Status { link: link.clone(), status: "disabled".into() }).await;
    let report = client.must().await;
    let disabled = || "disabled".to_owned();
    assert_eq!(
        decode(&report.body).unwrap().payload,
        Payload::Service(Service::SystemStatus { system_status: disabled() })
    );
    assert_eq!(client.ask(status()).await, Outcome::RequestSystemStatus { system_status: disabled() });
    let nonsense = pbx.control(Request::Status { link, status: "fine".into() }).await;
    assert_eq!(nonsense, Reply::Error { error: RequestError::NoSuchStatus });
}

#[tokio::test]
async fn a_terminated_session_is_told_so() {
    let (pbx, mut client, link) = lab().await;
    pbx.control(Request::Terminate { link }).await;
    let frame = client.must().await;
    assert!(String::from_utf8(frame.body).unwrap().contains("<ApplicationSessionTerminated"));
}
