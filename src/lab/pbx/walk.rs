//! Random walks through the model: thousands of services in any order, checked after every step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::{Due, Model, ModelOptions, OutsideDoes, OutsideRule};
use super::view::DeviceView;
use crate::csta::{ConnectionId, LocalState, Outcome, Service};

const DEVICES: usize = 6;
const STEPS: usize = 250;
const CASES: u32 = 60;

type Step = (u8, u16, u16, u16);

fn number(pick: u16) -> String {
    match pick % 12 {
        n @ 0..6 => format!("{}", 5101 + n),
        6 | 7 => "+14255550202".to_owned(),
        8 => "+14255550303".to_owned(),
        9 => "+19990".to_owned(),
        10 => "5103 ".to_owned(),
        _ => "bad".to_owned(),
    }
}

/// Mostly a connection that exists, sometimes one that does not.
fn connection(model: &Model, pick: u16) -> ConnectionId {
    let all: Vec<ConnectionId> =
        model.calls().flat_map(|call| call.connections.iter().map(|c| call.connection_id(&c.party.name))).collect();
    match all.len() {
        0 => ConnectionId::new("7", "5101"),
        _ if pick.is_multiple_of(29) => ConnectionId::new("1001", ""),
        len => all[usize::from(pick) % len].clone(),
    }
}

/// A connection in the state wanted, if there is one: random picks alone would hardly ever transfer anything.
fn in_state(model: &Model, wanted: LocalState, device: Option<&str>, pick: u16) -> ConnectionId {
    let fits = |c: &&super::call::Connection| c.state == wanted && device.is_none_or(|d| d == &*c.party.name);
    let all: Vec<ConnectionId> = model
        .calls()
        .flat_map(|call| call.connections.iter().filter(fits).map(|c| call.connection_id(&c.party.name)))
        .collect();
    if all.is_empty() { connection(model, pick) } else { all[usize::from(pick) % all.len()].clone() }
}

fn service(model: &Model, (kind, a, b, c): Step) -> Service {
    use LocalState::{Alerting, Connected, Hold};
    let device = number(a);
    let held = in_state(model, Hold, None, a);
    let active = in_state(model, Connected, Some(&held.device), b);
    match kind % 30 {
        0..=5 => Service::MakeCall {
            calling: device,
            called: number(b),
            auto_originate: Some(if c % 9 == 0 { "prompt" } else { "doNotPrompt" }.to_owned()),
            correlator: None,
        },
        6..=10 => Service::AnswerCall { call: in_state(model, Alerting, None, a) },
        11 => Service::AnswerCall { call: in_state(model, LocalState::Initiated, None, a) },
        12 => Service::ClearConnection { connection: connection(model, a), reason: None },
        13 => Service::ClearCall { call: connection(model, a) },
        14 => Service::HoldCall { call: connection(model, a) },
        15 => Service::RetrieveCall { call: in_state(model, Hold, None, a) },
        16 => Service::AlternateCall { held, active },
        17 => Service::ReconnectCall { active, held },
        18..=20 => Service::ConsultationCall {
            existing: in_state(model, Connected, None, a),
            consulted: number(b),
            correlator: None,
        },
        21 | 22 => Service::TransferCall { held, active },
        23 => Service::SingleStepTransferCall { active: in_state(model, Connected, None, a), to: number(b) },
        24 => Service::DeflectCall { call: in_state(model, Alerting, None, a), to: number(b) },
        25 => Service::ConferenceCall { held, active },
        26 => Service::SingleStepConferenceCall {
            active: in_state(model, Connected, None, a),
            join: number(b),
            participation: None,
        },
        27 => Service::SetForwarding {
            device,
            forwarding_type: "forwardImmediate".to_owned(),
            activate: c % 4 == 0,
            to: Some(number(b)),
        },
        28 => Service::SetDoNotDisturb { device, on: c % 4 == 0 },
        _ => Service::SetMessageWaitingIndicator { device, on: c % 2 == 0 },
    }
}

fn walk(steps: &[Step]) -> Result<BTreeMap<&'static str, usize>, TestCaseError> {
    let outside = vec![OutsideRule { prefix: "+1999".to_owned(), does: OutsideDoes::Busy }];
    let mut model = Model::new(ModelOptions { outside, calls_max: 12, ..ModelOptions::default() });
    model.add_devices("5101", DEVICES).expect("the first devices fit");
    let names: Vec<String> = (0..DEVICES).map(|n| format!("{}", 5101 + n)).collect();
    let mut views: BTreeMap<String, DeviceView> = names.iter().map(|n| (n.clone(), DeviceView::new(n))).collect();
    let mut timers: Vec<Due> = Vec::new();
    let mut done = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        let before = model.clone();
        let (what, applied) = match step.0 {
            200..=214 => (format!("ring {}", number(step.1)), {
                let from = number(step.2);
                model.ring(&number(step.1), (step.3 % 3 > 0).then_some(from.as_str()))
            }),
            215..=235 if !timers.is_empty() => {
                let due = timers.swap_remove(usize::from(step.1) % timers.len());
                (format!("{due:?}"), model.due(&due))
            }
            236..=245 => {
                let (from, to) = (number(step.1), number(step.2));
                (format!("dial {from} {to}"), model.dial(&from, &to))
            }
            _ => {
                let service = service(&model, *step);
                (format!("{service:?}"), model.apply(&service, None))
            }
        };
        match &applied.outcome {
            Outcome::Failed(_) => {
                prop_assert!(applied.events.is_empty() && applied.later.is_empty(), "{what} failed, yet spoke");
                let mut before = before;
                before.next_call = model.next_call;
                prop_assert!(before == model, "step {index}: {what} failed, yet changed something");
            }
            outcome => {
                let text = format!("{outcome:?}");
                let name = text.split([' ', '{']).next().unwrap_or_default().to_owned();
                *done.entry(&*name.leak()).or_default() += 1;
            }
        }
        if let Err(broken) = model.check() {
            prop_assert!(false, "step {index}: {what}: {broken}");
        }
        timers.extend(applied.later.into_iter().map(|later| later.what));
        for (device, event) in &applied.events {
            if let Some(view) = views.get_mut(&**device) {
                view.apply(event);
            }
        }
        for (name, view) in &views {
            let snapshot = model.snapshot_device(name).expect("the device exists");
            let told = view.matches(&snapshot);
            prop_assert!(told, "step {index}: {what}: {view:?}\nis not {snapshot:?}\nafter {:?}", applied.events);
        }
    }
    Ok(done)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    /// 60 walks of 250 steps: 15,000 in all.
    #[test]
    fn any_sequence_of_services_keeps_the_model_whole_and_its_events_equal_to_its_snapshots(
        steps in proptest::collection::vec(any::<Step>(), STEPS)
    ) {
        walk(&steps)?;
    }
}

/// A walk that never transfers or confers proves nothing about it.
#[test]
fn the_walk_reaches_every_service() {
    let mut seed = 1_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u16
    };
    let steps: Vec<Step> = (0..20_000).map(|_| (next() as u8, next(), next(), next())).collect();
    let done = walk(&steps).expect("the walk holds");
    for name in [
        "MakeCall",
        "AnswerCall",
        "ClearConnection",
        "ClearCall",
        "HoldCall",
        "RetrieveCall",
        "AlternateCall",
        "ReconnectCall",
        "ConsultationCall",
        "TransferCall",
        "SingleStepTransferCall",
        "DeflectCall",
        "ConferenceCall",
        "SingleStepConferenceCall",
        "SetForwarding",
    ] {
        assert!(done.get(name).is_some_and(|times| *times >= 5), "{name}: {done:?}");
    }
}
