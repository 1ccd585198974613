//! One session's mailbox, seen from the link: bounded, and sometimes full.

use std::collections::VecDeque;

use actix::Recipient;
use actix::prelude::SendError;

use crate::actor::mail::FromLink;

/// Delivers in order. Events that do not fit are dropped and made good by one `Missed`; everything else is kept until
/// it fits: an answer is owed exactly once, and of ups and downs only the last pair counts. So what is kept is bounded by
/// the open asks.
///
/// One recipient for all deliveries: actix bounds a mailbox by parking each full sender, so that a fresh clone for each
/// message would never be refused.
#[derive(Debug)]
pub(super) struct Inbox {
    recipient: Recipient<FromLink>,
    /// Boxed, because it is nearly always absent.
    kept: Option<Box<Kept>>,
    missed: bool,
}

#[derive(Debug, Default)]
struct Kept {
    mail: VecDeque<FromLink>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Done,
    /// Something is kept or missed: `flush` again later.
    Stuck,
    /// The actor is gone; its supervisor will bind a new one, or unbind.
    Gone,
}

impl Inbox {
    pub(super) fn new(recipient: Recipient<FromLink>) -> Self {
        Self { recipient, kept: None, missed: false }
    }

    /// The session's actor is another one now; what is kept is for the session, not for the actor.
    pub(super) fn replace(&mut self, recipient: Recipient<FromLink>) {
        self.recipient = recipient;
    }

    pub(super) fn deliver(&mut self, mail: FromLink) -> Delivery {
        if self.is_stuck() {
            self.keep(mail);
            return self.flush();
        }
        match self.recipient.try_send(mail) {
            Ok(()) => Delivery::Done,
            Err(SendError::Full(mail)) => {
                self.keep(mail);
                Delivery::Stuck
            }
            Err(SendError::Closed(mail)) => {
                self.keep_if_owed(mail);
                Delivery::Gone
            }
        }
    }

    pub(super) fn flush(&mut self) -> Delivery {
        while let Some(mail) = self.kept.as_mut().and_then(|kept| kept.mail.pop_front()) {
            match self.recipient.try_send(mail) {
                Ok(()) => {}
                Err(SendError::Full(mail)) => {
                    self.kept.get_or_insert_default().mail.push_front(mail);
                    return Delivery::Stuck;
                }
                Err(SendError::Closed(mail)) => {
                    self.kept.get_or_insert_default().mail.push_front(mail);
                    return Delivery::Gone;
                }
            }
        }
        self.kept = None;
        if self.missed {
            match self.recipient.try_send(FromLink::Missed) {
                Ok(()) => self.missed = false,
                Err(SendError::Full(_)) => return Delivery::Stuck,
                Err(SendError::Closed(_)) => return Delivery::Gone,
            }
        }
        Delivery::Done
    }

    fn is_stuck(&self) -> bool {
        self.missed || self.kept.is_some()
    }

    fn keep_if_owed(&mut self, mail: FromLink) {
        if matches!(mail, FromLink::Settled { .. }) {
            self.keep(mail);
        }
    }

    fn keep(&mut self, mail: FromLink) {
        match &mail {
            FromLink::Event(_) | FromLink::Missed => {
                self.missed = true;
                return;
            }
            // After either the session takes a snapshot anyway.
            FromLink::Down => {
                self.missed = false;
                self.forget(|mail| matches!(mail, FromLink::Up { .. } | FromLink::Down));
            }
            FromLink::Up { .. } => {
                self.missed = false;
                self.forget(|mail| matches!(mail, FromLink::Up { .. }));
            }
            FromLink::Settled { .. } => {}
        }
        self.kept.get_or_insert_default().mail.push_back(mail);
    }

    fn forget(&mut self, is_stale: impl Fn(&FromLink) -> bool) {
        if let Some(kept) = &mut self.kept {
            kept.mail.retain(|mail| !is_stale(mail));
        }
    }
}
