//! The call flows, as transcripts in `flows.txt`.

use super::short;
use crate::csta::{ConnectionId, Outcome, Service};
use crate::lab::pbx::{Applied, Due, Model, ModelOptions, OutsideDoes, OutsideRule};

const TRANSCRIPTS: &str = include_str!("flows.txt");

struct Stage {
    model: Model,
    timers: Vec<Due>,
}

impl Stage {
    fn new() -> Self {
        let rule = |prefix: &str, does| OutsideRule { prefix: prefix.to_owned(), does };
        let outside = vec![rule("+1999", OutsideDoes::Busy), rule("+1998", OutsideDoes::Unobtainable)];
        let mut model = Model::new(ModelOptions { outside, ..ModelOptions::default() });
        model.add_devices("5101", 5).unwrap();
        Self { model, timers: Vec::new() }
    }

    fn play(&mut self, line: &str) -> Vec<String> {
        let applied = self.apply(&line.split(' ').collect::<Vec<_>>());
        self.timers.extend(applied.later.into_iter().map(|later| later.what));
        self.model.check().unwrap();
        let mut lines = vec![format!("< {}", said(&applied.outcome))];
        lines.extend(applied.events.iter().map(|(device, event)| format!("{device}: {}", short(event))));
        lines
    }

    fn apply(&mut self, words: &[&str]) -> Applied {
        let text = |index: usize| words.get(index).map(|word| (*word).to_owned()).unwrap_or_default();
        let connection = |index: usize| {
            let (call, device) = words[index].split_once('/').unwrap();
            ConnectionId::new(call, device)
        };
        let on = || words[2] == "on";
        let service = match words[0] {
            "Ring" => return self.model.ring(words[1], (words[2] != "-").then_some(words[2])),
            "Dial" => return self.model.dial(words[1], words[2]),
            "Due" => {
                let meant = |due: &Due| format!("{due:?}").starts_with(words[1]) && self.model.is_still_due(due);
                let due = self.timers.iter().find(|due| meant(due)).expect("a timer").clone();
                return self.model.due(&due);
            }
            "MakeCall" => Service::MakeCall {
                calling: text(1),
                called: text(2),
                auto_originate: words.get(3).map(|word| (*word).to_owned()),
                correlator: Some("c0".to_owned()),
            },
            "Answer" => Service::AnswerCall { call: connection(1) },
            "Clear" => Service::ClearConnection { connection: connection(1), reason: None },
            "ClearCall" => Service::ClearCall { call: connection(1) },
            "Hold" => Service::HoldCall { call: connection(1) },
            "Retrieve" => Service::RetrieveCall { call: connection(1) },
            "Alternate" => Service::AlternateCall { held: connection(1), active: connection(2) },
            "Reconnect" => Service::ReconnectCall { active: connection(1), held: connection(2) },
            "Consult" => Service::ConsultationCall { existing: connection(1), consulted: text(2), correlator: None },
            "Transfer" => Service::TransferCall { held: connection(1), active: connection(2) },
            "Conference" => Service::ConferenceCall { held: connection(1), active: connection(2) },
            "SingleStepTransfer" => Service::SingleStepTransferCall { active: connection(1), to: text(2) },
            "SingleStepConference" => {
                Service::SingleStepConferenceCall { active: connection(1), join: text(2), participation: None }
            }
            "Deflect" => Service::DeflectCall { call: connection(1), to: text(2) },
            "Digits" => Service::GenerateDigits { connection: connection(1), characters: text(2) },
            "Forward" => Service::SetForwarding {
                device: text(1),
                forwarding_type: words.get(3).unwrap_or(&"forwardImmediate").to_string(),
                activate: words[2] != "off",
                to: (words[2] != "off").then(|| text(2)),
            },
            "GetForwarding" => Service::GetForwarding { device: text(1) },
            "Dnd" => Service::SetDoNotDisturb { device: text(1), on: on() },
            "GetDnd" => Service::GetDoNotDisturb { device: text(1) },
            "Mwi" => Service::SetMessageWaitingIndicator { device: text(1), on: on() },
            "GetMwi" => Service::GetMessageWaitingIndicator { device: text(1) },
            "SnapshotDevice" => Service::SnapshotDevice { device: text(1) },
            "SnapshotCall" => Service::SnapshotCall { call: connection(1) },
            other => panic!("{other}?"),
        };
        self.model.apply(&service, None)
    }
}

fn said(outcome: &Outcome) -> String {
    let id = |id: &ConnectionId| format!("{}/{}", id.call, id.device);
    match outcome {
        Outcome::MakeCall { calling } => format!("call {}", id(calling)),
        Outcome::ConsultationCall { initiated } => format!("call {}", id(initiated)),
        Outcome::TransferCall { transferred, .. } => format!("call {}", id(transferred)),
        Outcome::SingleStepTransferCall { transferred, .. } => format!("call {}", id(transferred)),
        Outcome::ConferenceCall { conference, .. } => format!("call {}", id(conference)),
        Outcome::SingleStepConferenceCall { conferenced } => format!("call {}", id(conferenced)),
        Outcome::Failed(failure) => format!("{failure:?}"),
        Outcome::SnapshotDevice { calls, .. } => {
            let call = |call: &crate::csta::CallInSnapshot| format!("{} {:?}", id(&call.connection), call.states);
            format!("calls {}", calls.iter().map(call).collect::<Vec<_>>().join(", "))
        }
        Outcome::SnapshotCall { parties, calling, called, correlator } => {
            let party = |party: &crate::csta::PartyInSnapshot| format!("{} {:?}", id(&party.connection), party.state);
            let parties = parties.iter().map(party).collect::<Vec<_>>().join(", ");
            format!("parties {parties} {calling:?} {called:?} {correlator:?}")
        }
        Outcome::GetForwarding { list } => format!("{list:?}"),
        Outcome::GetDoNotDisturb { on } => format!("on {on}"),
        Outcome::GetMessageWaitingIndicator { on } => format!("on {on:?}"),
        _ => "ok".to_owned(),
    }
}

fn replay(title: &str) {
    let start = TRANSCRIPTS.split("\n## ").find(|part| part.starts_with(title)).expect("the transcript is there");
    let wanted = start.split_once('\n').unwrap().1.trim();
    let mut stage = Stage::new();
    let mut played = Vec::new();
    for line in wanted.lines().filter_map(|line| line.strip_prefix("> ")) {
        played.push(format!("> {line}"));
        played.extend(stage.play(line));
    }
    assert_eq!(played.join("\n"), wanted, "\n## {title}\n{}\n", played.join("\n"));
}

macro_rules! flows {
    ($($title:ident)*) => {$(
        #[test]
        fn $title() {
            replay(stringify!($title));
        }
    )*
        /// A transcript nobody replays proves nothing.
        #[test]
        fn every_transcript_is_replayed() {
            let titles: Vec<&str> = TRANSCRIPTS.lines().filter_map(|line| line.strip_prefix("## ")).collect();
            assert_eq!(titles, [$(stringify!($title)),*]);
        }
    };
}

flows! {
    a_call_from_outside_is_answered_and_ended_by_the_far_end
    a_caller_who_gives_up_cancels_the_ringing
    a_caller_who_withholds_the_number_stays_unnamed
    a_call_to_outside_reaches_the_network_rings_and_is_answered_by_itself
    a_call_dialled_at_the_phone_tells_the_same_events
    a_prompted_call_waits_for_the_handset
    a_busy_party_fails_the_call_which_then_waits_to_be_cleared
    a_device_with_two_calls_is_busy_and_one_that_does_not_want_to_be_disturbed_says_so
    what_cannot_be_dialled_makes_no_call
    nobody_answers
    hold_and_retrieve_are_seen_on_both_sides
    a_second_call_is_answered_and_the_first_is_held
    consultation_and_transfer
    transfer_while_it_still_rings
    hold_and_make_call_are_a_consultation_too
    a_transfer_needs_one_held_and_one_active_call_of_one_device
    single_step_transfer_makes_a_new_call
    a_ringing_call_is_deflected
    a_conference_and_a_party_that_leaves_it
    single_step_conference_rings_one_more_party_in
    immediate_forwarding_is_honoured
    settings_are_told_and_kept
    snapshots_tell_states_and_parties
}
