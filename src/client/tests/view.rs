//! The view through every flow of the protocol sheet, told by the sample events.

use proptest::prelude::*;

use crate::client::fake::sample_event;
use crate::client::{CallView, Phase, Surprise};
use crate::csta::{ConnectionId, DeviceRef, Event, EventBody, LocalState, RedirectionRef};

const LINE: &str = "tel:+14255550101;ext=5101";
const FAR: &str = "tel:+14255550202";

/// Applies samples, each with the phases of all calls that must follow.
fn walk(view: &mut CallView, steps: &[(&str, &[(&str, Phase)])]) {
    for (sample, phases) in steps {
        assert_eq!(view.apply(&sample_event(sample)), [], "{sample}");
        let found: Vec<(&str, Phase)> = view.calls().iter().map(|c| (c.id.as_str(), c.phase())).collect();
        assert_eq!(found, *phases, "after {sample}");
    }
}

fn view() -> CallView {
    CallView::new(LINE)
}

fn parties(view: &CallView, call: &str) -> Vec<String> {
    view.call(call).expect("the call").parties.iter().map(|p| p.device.clone()).collect()
}

#[test]
fn an_incoming_call_rings_talks_and_ends_with_the_far_end() {
    let mut view = view();
    walk(&mut view, &[("C01", &[("4711", Phase::Alerting)]), ("C05", &[("4711", Phase::Talking)])]);
    let call = view.call("4711").expect("the call");
    assert!(!call.is_outgoing && call.calling == DeviceRef::device(FAR));
    assert_eq!(call.events, ["DeliveredEvent", "EstablishedEvent"]);
    walk(&mut view, &[("C07", &[("4711", Phase::Alone)]), ("C09", &[])]);
    assert!(view.has_ended("4711"));
}

#[test]
fn an_anonymous_caller_has_no_device() {
    let mut view = view();
    assert_eq!(view.apply(&sample_event("C11")), []);
    assert_eq!(view.calls()[0].calling, DeviceRef::Restricted);
}

#[test]
fn an_outgoing_call_is_placed_rings_talks_and_ends() {
    let mut view = view();
    walk(
        &mut view,
        &[
            ("D03", &[("4720", Phase::Initiated)]),
            ("D04", &[("4720", Phase::Dialling)]),
            ("D05", &[("4720", Phase::Dialling)]),
            ("D06", &[("4720", Phase::Ringing)]),
            ("D07", &[("4720", Phase::Talking)]),
        ],
    );
    assert!(view.calls()[0].is_outgoing);
    assert_eq!(parties(&view, "4720"), [FAR]);
    walk(&mut view, &[("D10", &[])]);
}

#[test]
fn a_trunk_without_answer_supervision_talks_after_network_reached() {
    let mut view = view();
    walk(
        &mut view,
        &[
            ("D04", &[("4720", Phase::Dialling)]),
            ("D05", &[("4720", Phase::Dialling)]),
            ("D07", &[("4720", Phase::Talking)]),
        ],
    );
}

#[test]
fn a_busy_far_end_fails_the_call_until_it_is_cleared() {
    let mut view = view();
    let EventBody::Failed { connection, .. } = sample_event("D11").body else { panic!("not Failed") };
    let call = connection.call;
    assert_eq!(view.apply(&sample_event("D11")), []);
    assert_eq!((view.phase(&call), view.calls()[0].failed.as_deref()), (Some(Phase::Failed), Some("busy")));
    let cleared = EventBody::ConnectionCleared {
        connection: ConnectionId::new(call, LINE),
        releasing: DeviceRef::device(LINE),
        local: Some(LocalState::Null),
        cause: "normalClearing".into(),
    };
    assert_eq!(view.apply(&Event { xref: "x".into(), body: cleared }), []);
    assert_eq!(view.calls(), []);
}

/// A talking call under another call id, for samples that begin in the middle.
fn talking(view: &mut CallView, call: &str) {
    let mut event = sample_event("C05");
    if let EventBody::Established { connection, .. } = &mut event.body {
        connection.call = call.to_owned();
    }
    assert_eq!(view.apply(&event), []);
}

#[test]
fn hold_and_retrieve() {
    let mut view = view();
    talking(&mut view, "4730");
    walk(&mut view, &[("E03", &[("4730", Phase::Held)]), ("E06", &[("4730", Phase::Talking)])]);
}

#[test]
fn a_far_end_that_holds_leaves_us_talking() {
    let mut view = view();
    talking(&mut view, "4711");
    let held = EventBody::Held {
        connection: ConnectionId::new("4711", FAR),
        holding: DeviceRef::device(FAR),
        local: Some(LocalState::Connected),
        cause: "normal".into(),
    };
    assert_eq!(view.apply(&Event { xref: "x".into(), body: held }), []);
    assert_eq!(view.phase("4711"), Some(Phase::Talking));
    assert_eq!(view.calls()[0].parties[0].state, LocalState::Hold);
}

#[test]
fn alternate_and_reconnect_swap_and_end() {
    let own = |call: &str| ConnectionId::new(call, LINE);
    let event = |body| Event { xref: "x".into(), body };
    let held = |call: &str| {
        let (holding, local) = (DeviceRef::device(LINE), Some(LocalState::Hold));
        event(EventBody::Held { connection: own(call), holding, local, cause: "alternate".into() })
    };
    let retrieved = |call: &str| {
        let (retrieving, local) = (DeviceRef::device(LINE), Some(LocalState::Connected));
        event(EventBody::Retrieved { connection: own(call), retrieving, local, cause: "alternate".into() })
    };
    let mut view = view();
    talking(&mut view, "1");
    assert_eq!(view.apply(&held("1")), []);
    talking(&mut view, "2");
    // AlternateCall: the active is held, the held retrieved.
    assert_eq!([view.apply(&held("2")), view.apply(&retrieved("1"))], [[], []]);
    assert_eq!((view.phase("1"), view.phase("2")), (Some(Phase::Talking), Some(Phase::Held)));
    // ReconnectCall: the active ends, the held comes back.
    let (releasing, local) = (DeviceRef::device(LINE), Some(LocalState::Null));
    let cleared =
        EventBody::ConnectionCleared { connection: own("1"), releasing, local, cause: "normalClearing".into() };
    assert_eq!([view.apply(&event(cleared)), view.apply(&retrieved("2"))], [[], []]);
    assert_eq!((view.phase("1"), view.phase("2")), (None, Some(Phase::Talking)));
}

#[test]
fn consultation_then_transfer_leaves_us_without_calls() {
    let mut view = view();
    talking(&mut view, "4740");
    walk(
        &mut view,
        &[
            ("F03", &[("4740", Phase::Held)]),
            ("F04", &[("4740", Phase::Held), ("4741", Phase::Initiated)]),
            ("F05", &[("4740", Phase::Held), ("4741", Phase::Dialling)]),
            ("F06", &[("4740", Phase::Held), ("4741", Phase::Ringing)]),
            ("F07", &[("4740", Phase::Held), ("4741", Phase::Talking)]),
            ("F10", &[]),
        ],
    );
    assert!(view.has_ended("4740") && view.has_ended("4741"));
}

#[test]
fn who_is_transferred_goes_on_under_the_new_call_id() {
    let mut event = sample_event("F10");
    if let EventBody::Transferred { local, .. } = &mut event.body {
        *local = Some(LocalState::Connected);
    }
    // The held party: its call 4740 becomes 4741.
    let mut held = CallView::new(FAR);
    talking(&mut held, "4740");
    assert_eq!(held.apply(&event), []);
    assert_eq!(held.calls().iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["4741"]);
    assert_eq!(parties(&held, "4741"), ["tel:+14255550303"]);
    assert!(held.has_ended("4740"));
}

#[test]
fn the_third_party_of_a_transfer_keeps_its_call() {
    let mut event = sample_event("F10");
    if let EventBody::Transferred { local, primary, secondary, .. } = &mut event.body {
        *local = Some(LocalState::Connected);
        *primary = ConnectionId::new("4741", LINE);
        *secondary = None;
    }
    let mut third = CallView::new("tel:+14255550303");
    talking(&mut third, "4741");
    assert_eq!(third.apply(&event), []);
    assert_eq!(parties(&third, "4741"), [FAR]);
}

#[test]
fn a_blind_transfer_leaves_us_without_the_call() {
    let mut view = view();
    talking(&mut view, "4750");
    walk(&mut view, &[("G03", &[])]);
    assert!(view.has_ended("4750"));
}

#[test]
fn a_deflected_call_is_gone() {
    let mut view = view();
    let mut ringing = sample_event("C01");
    if let EventBody::Delivered { connection, .. } = &mut ringing.body {
        connection.call = "4760".into();
    }
    assert_eq!(view.apply(&ringing), []);
    walk(&mut view, &[("G06", &[])]);
}

#[test]
fn a_conference_joins_two_calls_and_survives_one_partys_leaving() {
    let mut view = view();
    talking(&mut view, "4770");
    talking(&mut view, "4771");
    walk(&mut view, &[("H03", &[("4771", Phase::Talking)])]);
    assert_eq!(parties(&view, "4771"), [FAR, "tel:+14255550303"]);
    let left = EventBody::ConnectionCleared {
        connection: ConnectionId::new("4771", FAR),
        releasing: DeviceRef::device(FAR),
        local: Some(LocalState::Connected),
        cause: "normalClearing".into(),
    };
    assert_eq!(view.apply(&Event { xref: "x".into(), body: left }), []);
    assert_eq!(
        (view.phase("4771"), parties(&view, "4771")),
        (Some(Phase::Talking), vec!["tel:+14255550303".to_owned()])
    );
}

#[test]
fn features_are_kept_apart_from_calls() {
    let mut view = view();
    walk(&mut view, &[("I03", &[]), ("I09", &[]), ("I16", &[])]);
    assert!(view.forwarding.is_some() && view.do_not_disturb && !view.is_in_service);
    walk(&mut view, &[("I06", &[]), ("I17", &[])]);
    assert!(view.forwarding.is_none() && view.is_in_service);
}

#[test]
fn a_queued_call_and_call_information_are_followed() {
    let mut view = view();
    assert_eq!(view.apply(&sample_event("I14")), []);
    assert_eq!(view.calls()[0].events, ["QueuedEvent"]);
    let event = sample_event("I15");
    let call = event.call().expect("a call").to_owned();
    let mut view = CallView::new(LINE);
    talking(&mut view, &call);
    assert_eq!(view.apply(&event), []);
}

#[test]
fn a_stopped_monitor_leaves_nothing_to_believe_in() {
    let mut view = view();
    talking(&mut view, "1");
    assert_eq!(view.apply(&Event { xref: "x".into(), body: EventBody::MonitorStopped }), []);
    assert!(view.calls().is_empty() && !view.is_monitored);
}

#[test]
fn events_in_the_middle_of_nothing_surprise() {
    let unknown = |sample: &str, call: &str, event| {
        let surprise = Surprise::UnknownCall { call: call.to_owned(), event };
        assert_eq!(view().apply(&sample_event(sample)), [surprise]);
    };
    unknown("E03", "4730", "HeldEvent");
    unknown("E06", "4730", "RetrievedEvent");
    unknown("D10", "4720", "ConnectionClearedEvent");
    unknown("G03", "4750", "TransferedEvent");
}

#[test]
fn a_hold_of_what_is_held_surprises() {
    let mut view = view();
    talking(&mut view, "4730");
    assert_eq!(view.apply(&sample_event("E06")).len(), 1, "retrieved, though not held");
    assert_eq!(view.apply(&sample_event("E03")), []);
    let mut again = sample_event("E03");
    if let EventBody::Held { cause, .. } = &mut again.body {
        *cause = "consultation".into();
    }
    assert_eq!(
        view.apply(&again),
        [Surprise::OutOfOrder { call: "4730".into(), event: "HeldEvent", after: "HeldEvent" }]
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    let call = prop::sample::select(vec!["1", "2", "3", ""]);
    let device = prop::sample::select(vec![LINE, FAR, "tel:+14255550303", ""]);
    let local = prop::option::of(prop::sample::select(vec![
        LocalState::Null,
        LocalState::Initiated,
        LocalState::Alerting,
        LocalState::Connected,
        LocalState::Hold,
        LocalState::Queued,
        LocalState::Fail,
    ]));
    (call, call_clone(), device, local, 0..12_usize).prop_map(|(call, other, device, local, kind)| {
        let connection = ConnectionId::new(call, device);
        let (who, cause) = (DeviceRef::device(device), String::from("normal"));
        let (calling, called) = (DeviceRef::device(LINE), DeviceRef::device(FAR));
        let last_redirection = RedirectionRef::NotRequired;
        let body = match kind {
            0 => EventBody::ServiceInitiated { connection, device: who, local, cause },
            1 => EventBody::Originated { connection, calling, called, local, cause },
            2 => EventBody::Delivered { connection, alerting: who, calling, called, last_redirection, local, cause },
            3 => EventBody::Established { connection, answering: who, calling, called, last_redirection, local, cause },
            4 => EventBody::Held { connection, holding: who, local, cause },
            5 => EventBody::Retrieved { connection, retrieving: who, local, cause },
            6 => EventBody::ConnectionCleared { connection, releasing: who, local, cause },
            7 => EventBody::CallCleared { call: connection, cause },
            8 | 9 => {
                let secondary = Some(ConnectionId::new(other, LINE));
                let item = crate::csta::ConnectionListItem {
                    new: Some(ConnectionId::new(other, device)),
                    old: Some(connection.clone()),
                    endpoint: Some(who.clone()),
                };
                let connections = vec![item];
                if kind == 8 {
                    let (transferring, transferred_to) = (DeviceRef::device(LINE), who);
                    EventBody::Transferred {
                        primary: connection,
                        secondary,
                        transferring,
                        transferred_to,
                        connections,
                        local,
                        cause,
                    }
                } else {
                    let (conferencing, added) = (DeviceRef::device(LINE), who);
                    EventBody::Conferenced {
                        primary: connection,
                        secondary,
                        conferencing,
                        added,
                        connections,
                        local,
                        cause,
                    }
                }
            }
            10 => EventBody::Failed { connection, failing: who, calling, called, last_redirection, local, cause },
            _ => EventBody::Diverted {
                connection,
                diverting: who,
                new_destination: called,
                calling: None,
                called: None,
                last_redirection,
                local,
                cause,
            },
        };
        Event { xref: "x".into(), body }
    })
}

fn call_clone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["1", "2", "3", ""])
}

proptest! {
    /// No event breaks the view; equal histories give equal views; ids stay unique; an ended call stays ended.
    #[test]
    fn any_events_fold_the_same_way_twice(events in prop::collection::vec(any_event(), 0..60)) {
        let (mut one, mut two) = (view(), view());
        for event in &events {
            let ended: Vec<&str> = ["1", "2", "3"].into_iter().filter(|c| one.has_ended(c)).collect();
            prop_assert_eq!(one.apply(event), two.apply(event));
            prop_assert_eq!(&one, &two);
            let mut ids: Vec<&str> = one.calls().iter().map(|c| c.id.as_str()).collect();
            prop_assert!(ids.iter().all(|id| !id.is_empty()));
            prop_assert!(one.calls().iter().all(|c| c.local != LocalState::Null && c.events.len() <= 32));
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), one.calls().len());
            let is_merge = matches!(event.body, EventBody::Transferred { .. } | EventBody::Conferenced { .. });
            prop_assert!(is_merge || ended.iter().all(|c| one.call(c).is_none()));
        }
    }
}
