//! Settling: whether a command of which we lost sight has happened. Found out from the PBX's state, never by asking again.

use super::pbx::Truth;
use super::{Asked, Context, Session};
use crate::csta::{ConnectionId, Failure, LocalState, Outcome, Service};
use crate::machine::call::Call;
use crate::machine::effect::{Effect, Note};
use crate::mutant::{Mutant, mutant};
use crate::sip::reason_of;

/// How long a command may lie unread in the PBX's socket, or on the wire, after the link it came on was lost.
const ON_ITS_WAY_MS: u64 = 1_000;

/// What the PBX's state says of a command.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Done(Outcome),
    NotDone,
    /// The state looks the same either way.
    CannotTell,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::NotDone => "not done",
            Self::CannotTell => "cannot tell",
        }
    }
}

impl Session {
    /// A call in the snapshot carries our intent: the MakeCall or ConsultationCall that asked for it has happened.
    /// Even when its answer is still awaited: the call must not be told of before the answer that names it.
    pub(super) fn settle_by_intent(&mut self, correlator: &str, connection: &ConnectionId) {
        if mutant(Mutant::IntentIgnored) {
            return;
        }
        for asked in &mut self.asked {
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
    pub(super) fn settle(&mut self, cx: Context<'_>, truth: &Truth, effects: &mut Vec<Effect>) {
        let is_due = |asked: &mut Asked| asked.is_unsettled || asked.found.is_some();
        let unsettled: Vec<Asked> = self.asked.extract_if(.., is_due).collect();
        for mut asked in unsettled {
            if asked.found.is_none() && self.is_unverified(&asked, truth) {
                if truth.is_silent {
                    // The PBX will be asked again.
                    self.asked.push(asked);
                } else {
                    self.answer_unknown(cx, &asked, effects);
                }
                continue;
            }
            let verdict = self.verdict(&asked, truth);
            if verdict == Verdict::NotDone && self.may_be_on_its_way(cx, &mut asked) {
                self.asked.push(asked);
                continue;
            }
            let (service, word) = (asked.service.name(), verdict.word());
            effects.push(Effect::Note(Note::Settled { service, verdict: word }));
            match verdict {
                Verdict::Done(outcome) => self.answer_asked(cx, &asked, outcome, effects),
                Verdict::NotDone => {
                    let failure = Outcome::Failed(Failure::resource_out_of_service());
                    self.answer_service(cx, &asked.open, &asked.namespace, failure, effects);
                }
                Verdict::CannotTell => self.answer_unknown(cx, &asked, effects),
            }
        }
    }

    /// A PBX works off what it has received although whoever sent it is dead: what the first look does not show is looked
    /// for once more.
    fn may_be_on_its_way(&mut self, cx: Context<'_>, asked: &mut Asked) -> bool {
        let missed_at = *asked.missed_at.get_or_insert(cx.now);
        let again_at = missed_at.after_ms(ON_ITS_WAY_MS);
        let is_soon = asked.service.changes_world() && cx.now < again_at;
        if is_soon {
            self.pbx.look_again_at(again_at);
        }
        is_soon
    }

    /// The link is another one, or gone: what was asked of it is not answered any more. Questions fail; of commands only a
    /// snapshot can tell.
    pub(super) fn lose_asked(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        self.asked.iter_mut().for_each(|asked| asked.is_unsettled = true);
        let questions: Vec<Asked> = self.asked.extract_if(.., |asked| !asked.service.changes_world()).collect();
        for asked in questions {
            let failure = Outcome::Failed(Failure::resource_out_of_service());
            self.answer_service(cx, &asked.open, &asked.namespace, failure, effects);
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

    /// The command is about a call of which nobody knows more than before.
    fn is_unverified(&self, asked: &Asked, truth: &Truth) -> bool {
        let mut is_unverified = false;
        asked.service.clone().for_each_connection_mut(|connection| {
            is_unverified |= truth.unverified.iter().any(|call| self.native_call(call) == connection.call);
        });
        is_unverified
    }

    fn verdict(&self, asked: &Asked, truth: &Truth) -> Verdict {
        let find = |connection: &ConnectionId| {
            let ours = self.natives.iter().find(|(_, native)| **native == connection.call).map(|(ours, _)| ours);
            truth.calls.0.get(ours.unwrap_or(&connection.call))
        };
        let when = |holds: bool, outcome: Outcome| if holds { Verdict::Done(outcome) } else { Verdict::NotDone };
        let is = |call: Option<&Call>, state: LocalState| call.is_some_and(|call| call.local == state);
        match &asked.service {
            Service::MakeCall { .. } => match &asked.found {
                Some(calling) => Verdict::Done(Outcome::MakeCall { calling: calling.clone() }),
                None if truth.has_strangers => Verdict::CannotTell,
                None => Verdict::NotDone,
            },
            Service::ConsultationCall { .. } => match &asked.found {
                Some(initiated) => Verdict::Done(Outcome::ConsultationCall { initiated: initiated.clone() }),
                None if truth.has_strangers => Verdict::CannotTell,
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
            // A question changed nothing; the client may ask again.
            service if !service.changes_world() => Verdict::NotDone,
            _ => Verdict::CannotTell,
        }
    }
}
