//! The CTI links of this node as sessions see them: by name, in configured order, with what each last said of itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::{ActorContext, Addr, Handler, Recipient};
use arc_swap::ArcSwapOption;

use super::child::Order;
use super::link::{AskStatus, LinkActor};
use super::mail::{Bind, HasCalls, Invoke, Recovered, Unbind};
use crate::csta::Features;
use crate::machine::selection::Selection;

/// Where a link actor takes its mail; new after each restart of the actor.
pub struct LinkMail {
    pub bind: Recipient<Bind>,
    pub unbind: Recipient<Unbind>,
    pub invoke: Recipient<Invoke>,
    pub recovered: Recipient<Recovered>,
    pub has_calls: Recipient<HasCalls>,
    pub status: Recipient<AskStatus>,
}

impl LinkMail {
    pub fn of(link: &Addr<LinkActor>) -> Self {
        Self {
            bind: link.clone().recipient(),
            unbind: link.clone().recipient(),
            invoke: link.clone().recipient(),
            recovered: link.clone().recipient(),
            has_calls: link.clone().recipient(),
            status: link.clone().recipient(),
        }
    }
}

/// One link's place in the table.
pub struct LinkSeat {
    pub name: String,
    mail: ArcSwapOption<LinkMail>,
    is_up: AtomicBool,
    features: ArcSwapOption<Features>,
    times_up: Arc<AtomicU64>,
}

impl LinkSeat {
    /// Shared: a copy of its own would cost each session 500 bytes.
    pub fn mail(&self) -> Option<Arc<LinkMail>> {
        self.mail.load_full()
    }

    /// The actor is there, for the first time or again.
    pub fn seat(&self, mail: Arc<LinkMail>) {
        self.mail.store(Some(mail));
    }

    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    pub fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    /// How often it came up since the process began; each life of its actor counts on.
    pub fn times_up(&self) -> Arc<AtomicU64> {
        self.times_up.clone()
    }

    /// How often it came up after the first time.
    pub fn reconnects(&self) -> u64 {
        self.times_up.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// What the PBX behind it offers, when it said so.
    pub fn features(&self) -> Option<Arc<Features>> {
        self.features.load_full()
    }

    pub fn set_features(&self, features: Option<Arc<Features>>) {
        self.features.store(features);
    }
}

/// All links, in configured order.
pub struct Links {
    seats: Vec<Arc<LinkSeat>>,
    selection: Mutex<Selection>,
}

impl Links {
    /// One to eight names; the configuration has checked the count.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self, crate::machine::selection::LinkCountRefused> {
        let seats: Vec<_> = names
            .into_iter()
            .map(|name| {
                Arc::new(LinkSeat {
                    name,
                    mail: ArcSwapOption::empty(),
                    is_up: AtomicBool::new(false),
                    features: ArcSwapOption::empty(),
                    times_up: Arc::default(),
                })
            })
            .collect();
        let selection = Mutex::new(Selection::new(seats.len())?);
        Ok(Self { seats, selection })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<LinkSeat>> {
        self.seats.iter()
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<LinkSeat>> {
        self.seats.iter().find(|seat| seat.name == name)
    }

    /// The link for a new session: round robin over those that are up; the first when none is.
    pub fn pick(&self) -> &Arc<LinkSeat> {
        let up: Vec<bool> = self.seats.iter().map(|seat| seat.is_up()).collect();
        let picked = self.selection.lock().unwrap_or_else(PoisonError::into_inner).pick(&up);
        &self.seats[picked.unwrap_or(0)]
    }
}

impl Handler<Order> for LinkActor {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Stop => ctx.stop(),
            Order::Probe(_) => {}
        }
    }
}
