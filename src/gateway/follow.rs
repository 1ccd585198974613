//! Whom an operator means who wants to follow somebody.

use std::time::Duration;

use crate::actor::node::Node;
use crate::admin::{NotDone, TraceWish};
use crate::machine::directory::Directory;
use crate::machine::directory::address_of_record;
use crate::machine::session::Session;
use crate::trace::{Tracing, What, Whom};

pub(super) fn follow(node: &Node, name: &str, wish: &TraceWish) -> Result<Tracing, NotDone> {
    let who = wish.who.trim();
    let whom = found(&node.rules.load().directory, who).ok_or_else(|| {
        NotDone::Refused(format!(
            "nobody is known as {who}: expected a user's SIP address or its part before the @, a Line URI, a number or a device, \
             as in the users file"
        ))
    })?;
    let mut served_by = Vec::new();
    for loaded in node.records.load_all::<Session>("session/").filter_map(Result::ok) {
        let session = loaded.value;
        if whom.has(&session.appearance.sip, &session.appearance.device) {
            let owner = node.records.node_of(loaded.owner);
            served_by.push(owner.map_or_else(|| "nobody".to_owned(), |node| node.to_string()));
            whom.meet(session.id);
        }
    }
    served_by.sort();
    served_by.dedup();
    let begun = What::Begun {
        node: name.to_owned(),
        users: whom.users.clone(),
        devices: whom.devices.clone(),
        served_by,
        shows_numbers: wish.shows_numbers,
        ends_in_s: wish.for_s,
    };
    let tracing = node.tap.begin(whom, begun, wish.shows_numbers, Duration::from_secs(wish.for_s));
    tracing.map_err(|why| NotDone::Failed(why.to_string()))
}

/// A user with a whole address is followed even when the directory has nobody of that name: why that is so is what an
/// operator wants to see.
fn found(directory: &Directory, who: &str) -> Option<Whom> {
    let is_uri = who.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"));
    if !is_uri && address_of_record(who).is_some() {
        let devices = directory.appearances_of(who).map(|entry| entry.device.to_owned());
        return Some(Whom::new([who.to_owned()], devices));
    }
    let device = directory.device_of_number(who);
    let is_named = |sip: &str| address_of_record(sip).is_some_and(|(user, _)| user.eq_ignore_ascii_case(who));
    let is_meant = |entry: &crate::machine::directory::AppearanceRef<'_>| {
        is_named(entry.sip)
            || entry.line.eq_ignore_ascii_case(who)
            || device.is_some_and(|device| entry.device.eq_ignore_ascii_case(device))
    };
    let entries: Vec<_> = directory.iter().filter(is_meant).collect();
    let users = entries.iter().map(|entry| entry.sip.to_owned());
    let devices = entries.iter().map(|entry| entry.device.to_owned());
    (!entries.is_empty()).then(|| Whom::new(users, devices))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::directory::Appearance;

    fn directory() -> Directory {
        let entry = |sip: &str, line: &str, device: &str| Appearance {
            sip: sip.into(),
            line: line.into(),
            device: device.into(),
            partition: None,
            licensed: true,
        };
        Directory::new([
            entry("sip:alice@contoso.com", "tel:+14255550101;ext=5101", "5101"),
            entry("sip:bob@contoso.com", "tel:+14255550102;ext=5102", "SEP5102"),
            entry("sip:boss@contoso.com", "tel:+14255550102;ext=5102", "SEP5102"),
        ])
        .unwrap()
    }

    #[test]
    fn a_user_a_line_a_number_and_a_device_name_the_same() {
        let directory = directory();
        for who in ["alice", "ALICE@contoso.com", "sip:alice@contoso.com", "tel:+14255550101;ext=5101", "5101"] {
            let whom = found(&directory, who).unwrap_or_else(|| panic!("{who}"));
            assert_eq!((whom.users, whom.devices), (vec!["alice@contoso.com".into()], vec!["5101".into()]), "{who}");
        }
        let shared = found(&directory, "sep5102").unwrap();
        assert_eq!(shared.users, ["bob@contoso.com", "boss@contoso.com"]);
        assert_eq!(shared.devices, ["SEP5102"]);
    }

    #[test]
    fn a_stranger_is_followed_by_address_and_not_by_a_word() {
        let whom = found(&directory(), "sip:nobody@contoso.com").unwrap();
        assert_eq!((whom.users, whom.devices), (vec!["nobody@contoso.com".into()], vec![]));
        assert!(found(&directory(), "nobody").is_none() && found(&directory(), "5999").is_none());
    }
}
