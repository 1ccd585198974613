//! Asks each link, whenever it comes up, what its PBX offers; sessions answer GetCSTAFeatures from that.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler};

use super::links::{LinkMail, LinkSeat};
use super::mail::{Bind, FromLink, Invoke, Recovered};
use crate::csta::{Outcome, Service};
use crate::cti::AskId;
use crate::id::SessionId;

/// A PBX that does not say within this time offers the standard set.
const ANSWER_TIMEOUT_MS: u64 = 2_000;

/// Bound to its link as a session is, under a name no session has.
pub struct FeatureProbe {
    seat: Arc<LinkSeat>,
    mail: Arc<LinkMail>,
}

impl FeatureProbe {
    /// For one life of the link's actor; ends with it.
    pub fn new(seat: Arc<LinkSeat>, mail: Arc<LinkMail>) -> Self {
        Self { seat, mail }
    }

    fn id(&self) -> SessionId {
        SessionId::new(format!("features@{}", self.seat.name))
    }
}

impl Actor for FeatureProbe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Past the bound, once a life of the link.
        self.mail.bind.do_send(Bind { session: self.id(), inbox: ctx.address().recipient(), has_calls: false });
    }
}

impl Handler<FromLink> for FeatureProbe {
    type Result = ();

    fn handle(&mut self, word: FromLink, _: &mut Self::Context) {
        match word {
            FromLink::Up { .. } => {
                let service = Service::GetCstaFeatures { line: None };
                let ask = Invoke { session: self.id(), ask: AskId(1), service, deadline_ms: ANSWER_TIMEOUT_MS };
                // A link that full is asked again when it comes up the next time.
                let _ = self.mail.invoke.try_send(ask);
                let _ = self.mail.recovered.try_send(Recovered { session: self.id() });
            }
            FromLink::Settled { result: Ok(Outcome::GetCstaFeatures { features }), .. } => {
                self.seat.set_features(Some(Arc::new(features)));
            }
            // Refused or unanswered: what it said before, or the standard set, holds.
            FromLink::Settled { .. } | FromLink::Down | FromLink::Event(_) | FromLink::Missed => {}
        }
    }
}
