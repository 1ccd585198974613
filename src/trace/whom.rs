//! Who is followed.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::id::SessionId;
use crate::machine::directory::address_of_record;
use crate::sip::Message;

/// Sessions of one trace; of a user with more the rest is not followed on the link.
const SESSIONS_MAX: usize = 1_024;

/// Users by their address, devices by their name, and the sessions they turn out to have.
#[derive(Debug, Default)]
pub struct Whom {
    /// `alice@contoso.com`, in lower case.
    pub users: Vec<String>,
    pub devices: Vec<String>,
    sessions: Mutex<HashSet<SessionId>>,
}

impl Whom {
    /// `users`: SIP addresses, with or without a scheme; what is none is left out.
    pub fn new(users: impl IntoIterator<Item = String>, devices: impl IntoIterator<Item = String>) -> Self {
        let mut users: Vec<String> = users.into_iter().filter_map(|user| address(&user)).collect();
        let mut devices: Vec<String> = devices.into_iter().collect();
        for list in [&mut users, &mut devices] {
            list.sort();
            list.dedup();
        }
        Self { users, devices, sessions: Mutex::default() }
    }

    /// Whether a session of this user on this device is meant.
    pub fn has(&self, user: &str, device: &str) -> bool {
        address(user).is_some_and(|user| self.users.contains(&user))
            || self.devices.iter().any(|known| known.eq_ignore_ascii_case(device))
    }

    /// A session that [`Self::has`] said yes to.
    pub fn meet(&self, session: SessionId) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() < SESSIONS_MAX {
            sessions.insert(session);
        }
    }

    pub(super) fn has_session(&self, session: &SessionId) -> bool {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).contains(session)
    }

    /// Whether a message is from or to one of the users: in a dialog both names stay what they were in its INVITE.
    pub(super) fn is_in(&self, message: &Message) -> bool {
        let headers = &message.headers;
        [headers.from(), headers.to()]
            .into_iter()
            .flatten()
            .any(|name| self.users.contains(&name.uri.address_of_record().to_ascii_lowercase()))
    }
}

fn address(user: &str) -> Option<String> {
    let (user, host) = address_of_record(user)?;
    Some(format!("{user}@{host}").to_ascii_lowercase())
}
