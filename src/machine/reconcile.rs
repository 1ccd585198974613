//! From what the client believes to what is true, in events.
//!
//! The law, held by a property test: for every view X and truth Y, folding `reconcile(X, Y)` over X gives Y. That is what
//! ends ghost calls after a takeover, a lost link or a lost flow.

use super::call::{Call, Calls};
use crate::csta::{ConnectionId, DeviceRef, EventBody, LocalState, RedirectionRef};
use crate::mutant::{Mutant, mutant};

/// Events that move somebody who believes `view` to `truth`, ended calls first. `own` is the monitored device.
pub fn reconcile(own: &str, view: &Calls, truth: &Calls) -> Vec<EventBody> {
    if mutant(Mutant::NoReconcile) {
        return Vec::new();
    }
    let mut events: Vec<EventBody> =
        view.0.keys().filter(|id| !truth.contains(id)).map(|id| cleared(id, own, own, LocalState::Null)).collect();
    for (id, target) in &truth.0 {
        one_call(own, id, view.0.get(id), target, &mut events);
    }
    events
}

fn one_call(own: &str, id: &str, before: Option<&Call>, target: &Call, events: &mut Vec<EventBody>) {
    if before == Some(target) {
        return;
    }
    let mut seen = Calls::default();
    if let Some(before) = before {
        seen.0.insert(id.to_owned(), before.clone());
    }
    let own_side =
        before.is_none_or(|b| b.local != target.local || b.calling != target.calling || b.called != target.called);
    if own_side {
        let opening = opening(own, id, before, target);
        for event in opening {
            seen.apply(own, &event);
            events.push(event);
        }
    }
    let Some(now) = seen.0.get(id) else { return };
    let (parties, local) = (now.parties.clone(), target.local);
    for device in parties.keys().filter(|device| !target.parties.contains_key(*device)) {
        events.push(cleared(id, device, device, local));
    }
    for (device, state) in target.parties.iter().filter(|(device, state)| parties.get(*device) != Some(state)) {
        events.push(moved(id, device, *state, target, local));
    }
}

/// Brings the own connection to the target's state, telling the story a client expects: a ringing call is delivered, an
/// answered one established, an outgoing one originated.
fn opening(own: &str, id: &str, before: Option<&Call>, target: &Call) -> Vec<EventBody> {
    let is_outgoing = target.calling.as_device() == Some(own);
    let same_parties = before.is_some_and(|b| b.calling == target.calling && b.called == target.called);
    let was = before.map(|b| b.local);
    let connection = ConnectionId::new(id, own);
    let held = |local| EventBody::Held {
        connection: ConnectionId::new(id, own),
        holding: DeviceRef::device(own),
        local: Some(local),
        cause: "normal".into(),
    };
    match target.local {
        LocalState::Alerting => vec![moved(id, own, LocalState::Alerting, target, LocalState::Alerting)],
        LocalState::Hold if same_parties && was == Some(LocalState::Connected) => vec![held(LocalState::Hold)],
        LocalState::Connected if same_parties && was == Some(LocalState::Hold) => vec![EventBody::Retrieved {
            connection,
            retrieving: DeviceRef::device(own),
            local: Some(LocalState::Connected),
            cause: "normal".into(),
        }],
        LocalState::Connected | LocalState::Hold if !is_outgoing => {
            let mut events = vec![moved(id, own, LocalState::Connected, target, LocalState::Connected)];
            if target.local == LocalState::Hold {
                events.push(held(LocalState::Hold));
            }
            events
        }
        local => {
            let originated = |local| EventBody::Originated {
                connection: ConnectionId::new(id, own),
                calling: target.calling.clone(),
                called: target.called.clone(),
                local: Some(local),
                cause: "normal".into(),
            };
            match local {
                LocalState::Hold => vec![originated(LocalState::Connected), held(LocalState::Hold)],
                local => vec![originated(local)],
            }
        }
    }
}

/// The event that puts one connection of the call into `state`, with the own connection at `local`.
fn moved(id: &str, device: &str, state: LocalState, call: &Call, local: LocalState) -> EventBody {
    let connection = ConnectionId::new(id, device);
    let subject = DeviceRef::device(device);
    let (calling, called) = (call.calling.clone(), call.called.clone());
    let (local, cause, last_redirection) = (Some(local), String::from("normal"), RedirectionRef::NotRequired);
    match state {
        LocalState::Alerting | LocalState::Initiated | LocalState::Null => {
            EventBody::Delivered { connection, alerting: subject, calling, called, last_redirection, local, cause }
        }
        LocalState::Connected => {
            EventBody::Established { connection, answering: subject, calling, called, last_redirection, local, cause }
        }
        LocalState::Hold => EventBody::Held { connection, holding: subject, local, cause },
        LocalState::Queued => EventBody::Queued {
            connection,
            queue: subject,
            calling,
            called,
            last_redirection,
            number_queued: None,
            local,
            cause,
        },
        LocalState::Fail => {
            EventBody::Failed { connection, failing: subject, calling, called, last_redirection, local, cause }
        }
    }
}

fn cleared(id: &str, device: &str, releasing: &str, local: LocalState) -> EventBody {
    EventBody::ConnectionCleared {
        connection: ConnectionId::new(id, device),
        releasing: DeviceRef::device(releasing),
        local: Some(local),
        cause: "normalClearing".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "tel:+14255550101;ext=5101";

    fn local_state() -> impl Strategy<Value = LocalState> {
        prop_oneof![
            Just(LocalState::Initiated),
            Just(LocalState::Alerting),
            Just(LocalState::Connected),
            Just(LocalState::Hold),
            Just(LocalState::Queued),
            Just(LocalState::Fail),
        ]
    }

    /// A far connection is never told of before it rings, so it has no `Initiated`.
    fn far_state() -> impl Strategy<Value = LocalState> {
        prop_oneof![
            Just(LocalState::Alerting),
            Just(LocalState::Connected),
            Just(LocalState::Hold),
            Just(LocalState::Queued),
            Just(LocalState::Fail),
        ]
    }

    fn device() -> impl Strategy<Value = DeviceRef> {
        prop_oneof![
            3 => prop_oneof!["tel:\\+1425555020[0-3]"].prop_map(DeviceRef::Device),
            1 => Just(DeviceRef::device(OWN)),
            1 => Just(DeviceRef::NotKnown),
            1 => Just(DeviceRef::Restricted),
        ]
    }

    fn call() -> impl Strategy<Value = Call> {
        let parties = proptest::collection::btree_map("tel:\\+1425555020[0-3]", far_state(), 0..4);
        (local_state(), device(), device(), parties).prop_map(|(local, calling, called, parties)| Call {
            local,
            calling,
            called,
            parties,
        })
    }

    fn calls() -> impl Strategy<Value = Calls> {
        proptest::collection::btree_map("47[0-5]", call(), 0..5).prop_map(Calls)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn reconciling_moves_any_view_to_any_truth(view in calls(), truth in calls()) {
            let mut client = view.clone();
            for event in reconcile(OWN, &view, &truth) {
                client.apply(OWN, &event);
            }
            prop_assert_eq!(client, truth);
        }

        #[test]
        fn reconciling_equal_views_says_nothing(view in calls()) {
            prop_assert_eq!(reconcile(OWN, &view, &view), vec![]);
        }
    }

    #[test]
    fn a_call_that_rang_and_was_answered_elsewhere_is_told_as_a_story() {
        let mut view = Calls::default();
        let mut ringing = Call::new(LocalState::Alerting);
        ringing.calling = DeviceRef::device("tel:+14255550202");
        ringing.called = DeviceRef::device(OWN);
        ringing.parties.insert("tel:+14255550202".into(), LocalState::Connected);
        view.0.insert("4711".into(), ringing.clone());
        let mut truth = Calls::default();
        truth.0.insert("4711".into(), Call { local: LocalState::Connected, ..ringing });
        let names: Vec<&str> = reconcile(OWN, &view, &truth).iter().map(EventBody::name).collect();
        assert_eq!(names, ["EstablishedEvent"]);
    }
}
