//! Settling: whether a command of which we lost sight has happened. Found out from the PBX's state, never by asking again.

use super::{Asked, Context, Session};
use crate::csta::{ConnectionId, Failure, LocalState, Outcome, Service};
use crate::machine::call::{Call, Calls};
use crate::machine::effect::Effect;
use crate::sip::reason_of;

/// What the PBX's state says of a command.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Done(Outcome),
    NotDone,
    /// The state looks the same either way.
    CannotTell,
}

impl Session {
    /// A call in the snapshot carries our intent: the MakeCall or ConsultationCall that asked for it has happened.
    pub(super) fn settle_by_intent(&mut self, _cx: Context<'_>, correlator: &str, connection: &ConnectionId) {
        for asked in self.asked.iter_mut().filter(|asked| asked.is_unsettled) {
            let wanted = match &asked.service {
                Service::MakeCall { correlator, .. } | Service::ConsultationCall { correlator, .. } => correlator,
                _ => continue,
            };
            if wanted.as_deref().is_some_and(|wanted| wanted.eq_ignore_ascii_case(correlator)) {
                asked.found = Some(connection.clone());
            }
        }
    }

    /// Answers every unsettled command from the truth.
    pub(super) fn settle(&mut self, cx: Context<'_>, truth: &Calls, effects: &mut Vec<Effect>) {
        let unsettled: Vec<Asked> = self.asked.extract_if(.., |asked| asked.is_unsettled).collect();
        for asked in unsettled {
            match self.verdict(&asked, truth) {
                Verdict::Done(outcome) => self.answer_asked(cx, &asked, outcome, effects),
                Verdict::NotDone => {
                    let failure = Outcome::Failed(Failure::resource_out_of_service());
                    self.answer_service(cx, &asked.open, &asked.namespace, failure, effects);
                }
                Verdict::CannotTell => self.answer_unknown(cx, &asked, effects),
            }
        }
    }

    /// No snapshot can be had: what is unsettled stays unknown to the client too.
    pub(super) fn settle_without_truth(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        let unsettled: Vec<Asked> = self.asked.extract_if(.., |asked| asked.is_unsettled).collect();
        for asked in unsettled {
            self.answer_unknown(cx, &asked, effects);
        }
    }

    /// 504: neither done nor not done, as far as anybody knows. A CSTA error would claim that nothing happened.
    fn answer_unknown(&mut self, cx: Context<'_>, asked: &Asked, effects: &mut Vec<Effect>) {
        let response = self.dialog.answer(&asked.open, 504, reason_of(504), cx.rules, None);
        self.respond(&asked.open, response, effects);
    }

    pub(super) fn tick_asked(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        let due: Vec<Asked> = self.asked.extract_if(.., |asked| cx.now >= asked.answer_by).collect();
        for asked in due {
            self.answer_unknown(cx, &asked, effects);
        }
    }

    fn verdict(&self, asked: &Asked, truth: &Calls) -> Verdict {
        let find = |connection: &ConnectionId| {
            let ours = self.natives.iter().find(|(_, native)| **native == connection.call).map(|(ours, _)| ours);
            truth.0.get(ours.unwrap_or(&connection.call))
        };
        let when = |holds: bool, outcome: Outcome| if holds { Verdict::Done(outcome) } else { Verdict::NotDone };
        let is = |call: Option<&Call>, state: LocalState| call.is_some_and(|call| call.local == state);
        match &asked.service {
            Service::MakeCall { .. } => match &asked.found {
                Some(calling) => Verdict::Done(Outcome::MakeCall { calling: calling.clone() }),
                None => Verdict::NotDone,
            },
            Service::ConsultationCall { .. } => match &asked.found {
                Some(initiated) => Verdict::Done(Outcome::ConsultationCall { initiated: initiated.clone() }),
                None => Verdict::NotDone,
            },
            Service::AnswerCall { call } => when(is(find(call), LocalState::Connected), Outcome::AnswerCall),
            Service::ClearConnection { connection, .. } => when(find(connection).is_none(), Outcome::ClearConnection),
            Service::ClearCall { call } => when(find(call).is_none(), Outcome::ClearCall),
            Service::HoldCall { call } => when(is(find(call), LocalState::Hold), Outcome::HoldCall),
            Service::RetrieveCall { call } => when(is(find(call), LocalState::Connected), Outcome::RetrieveCall),
            Service::AlternateCall { held, .. } => when(is(find(held), LocalState::Connected), Outcome::AlternateCall),
            Service::ReconnectCall { active, held } => {
                when(find(active).is_none() && is(find(held), LocalState::Connected), Outcome::ReconnectCall)
            }
            Service::DeflectCall { call, .. } => when(find(call).is_none(), Outcome::DeflectCall),
            Service::TransferCall { held, active } => {
                let gone = find(held).is_none() && find(active).is_none();
                when(gone, Outcome::TransferCall { transferred: active.clone(), connections: Vec::new() })
            }
            Service::SingleStepTransferCall { active, .. } => {
                let outcome = Outcome::SingleStepTransferCall { transferred: active.clone(), connections: Vec::new() };
                when(find(active).is_none(), outcome)
            }
            Service::ConferenceCall { held, active } => match (find(held), find(active)) {
                (Some(_), Some(_)) => Verdict::NotDone,
                _ => Verdict::CannotTell,
            },
            _ => Verdict::CannotTell,
        }
    }
}
