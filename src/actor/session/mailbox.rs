//! What a session actor hears.

use actix::{ActorContext, Handler};

use super::{BindAgain, End, SessionActor};
use crate::actor::child::Order;
use crate::actor::door;
use crate::actor::handover::{Give, Given};
use crate::actor::hops::Told;
use crate::actor::mail::{FromLink, Inbound, Unbind};
use crate::machine::input::Input;
use crate::machine::session::Asked;

impl Handler<BindAgain> for SessionActor {
    type Result = ();

    fn handle(&mut self, again: BindAgain, ctx: &mut Self::Context) {
        if *again.link == *self.session.link {
            self.bind(ctx);
        }
    }
}

impl Handler<Inbound> for SessionActor {
    type Result = ();

    fn handle(&mut self, mut inbound: Inbound, ctx: &mut Self::Context) {
        if self.is_over {
            return;
        }
        let flow = inbound.flow;
        let Some(message) = inbound.message.take() else { return };
        let dialog = &self.session.dialog;
        let headers = &message.headers;
        let is_request = message.method().is_some();
        let far = if is_request { headers.from() } else { headers.to() };
        let is_ours = headers.call_id().is_ok_and(|call_id| call_id == dialog.call_id)
            && far.is_ok_and(|far| far.tag() == Some(dialog.remote_tag.as_str()));
        if !is_ours {
            if is_request {
                door::answer_481(&self.node, flow, &message);
            }
            return;
        }
        if is_request {
            // An answer may still come over a connection that the dialog has left.
            self.heard_on.set(flow);
        }
        let input = if is_request { Input::Request { flow, message } } else { Input::Response { message } };
        self.take(input, ctx);
    }
}

impl Handler<Told> for SessionActor {
    type Result = ();

    fn handle(&mut self, told: Told, ctx: &mut Self::Context) {
        match told {
            Told::Undelivered { cseq } => self.take(Input::Undeliverable { cseq }, ctx),
            Told::Reachable if self.session.is_held_back() => self.take(Input::Reachable, ctx),
            Told::Reachable => {}
        }
    }
}

impl Handler<End> for SessionActor {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        self.take(Input::Retire { why: end.0 }, ctx);
    }
}

impl Handler<Give> for SessionActor {
    type Result = Given;

    fn handle(&mut self, give: Give, ctx: &mut Self::Context) -> Given {
        if self.is_over {
            return Given::Gone;
        }
        let owes = |asked: &Asked| !asked.is_unsettled;
        if self.is_committing {
            return Given::Busy;
        }
        if !give.at_once && self.session.asked.iter().any(owes) {
            return Given::Busy;
        }
        self.is_over = true;
        self.node.book.leave(&self.session);
        if let Some(link) = &self.link {
            // Past the bound, once a session: the PBX's monitor must not outlive it here.
            link.unbind.do_send(Unbind { session: self.session.id.clone() });
        }
        ctx.stop();
        Given::At { version: self.version }
    }
}

impl Handler<FromLink> for SessionActor {
    type Result = ();

    fn handle(&mut self, word: FromLink, ctx: &mut Self::Context) {
        let input = match word {
            FromLink::Up { .. } => {
                let features = self.node.links.by_name(&self.session.link).and_then(|seat| seat.features());
                Input::LinkUp { features }
            }
            FromLink::Down => Input::LinkDown,
            FromLink::Settled { ask, result } => Input::Settled { ask, result },
            FromLink::Event(event) => Input::PbxEvent { event },
            FromLink::Missed => Input::Missed,
        };
        self.take(input, ctx);
    }
}

impl Handler<Order> for SessionActor {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Stop => {
                self.is_over = true;
                ctx.stop();
            }
            Order::Probe(_) => {}
        }
    }
}
