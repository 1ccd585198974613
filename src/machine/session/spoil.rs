//! Bugs planted in the takeover, one at a time: see [`crate::mutant`]. Compiled for the simulation's own test only.

use super::{Context, Session};
use crate::machine::effect::Effect;
use crate::machine::outbox::Lane;
use crate::machine::transaction::AnsweredRing;
use crate::mutant::{Mutant, mutant};

impl Session {
    pub(super) fn spoil(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if mutant(Mutant::BlindRepeat) {
            let deadline = cx.now.after_ms(cx.rules.request_timeout_ms);
            let again = self.asked.iter().map(|asked| Effect::Invoke {
                ask: asked.ask,
                service: asked.service.clone(),
                deadline,
            });
            effects.extend(again);
        }
        if mutant(Mutant::AskedNotRecorded) {
            self.asked.clear();
        }
        if mutant(Mutant::CSeqInMemory) {
            self.outbox.lane = Lane::Idle;
            self.dialog.local_cseq = self.dialog.local_cseq.min(1);
        }
        if mutant(Mutant::PerNodeTransactionCache) {
            self.answered = AnsweredRing::default();
        }
        if mutant(Mutant::DropEventAtTakeover) {
            self.outbox.waiting.clear();
            self.outbox.lane = Lane::Idle;
            self.shown = self.calls.clone();
        }
        if mutant(Mutant::EventTwice)
            && let Lane::InFlight(flight) = &self.outbox.lane
        {
            self.outbox.waiting.push_front(flight.outgoing.clone());
        }
    }
}
