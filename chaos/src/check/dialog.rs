//! I6: a dialog keeps its tags; CSeq rises in each direction, and none is used for two things.

use std::collections::BTreeMap;

use super::{Breach, Checked};
use crate::history::{History, What};

#[derive(Default)]
struct Dialog<'a> {
    /// The client's and the gateway's, once known.
    tags: Option<(&'a str, &'a str)>,
    /// From the gateway: the last number, and what each said.
    last: Option<u32>,
    said: BTreeMap<u32, (&'a str, u64)>,
}

pub fn check(history: &History) -> Checked {
    let mut dialogs: BTreeMap<&str, Dialog> = BTreeMap::new();
    let (mut observed, mut breaches) = (0, Vec::new());
    for entry in &history.entries {
        let What::Message(message) = &entry.what else { continue };
        observed += 1;
        let mut breach =
            |what: String| breaches.push(Breach::at(entry.at_us, format!("dialog {}: {what}", message.call_id)));
        let dialog = dialogs.entry(&message.call_id).or_default();
        // In a request of the gateway From is the gateway; in its answers From is the client, as in the client's requests.
        let is_of_client = message.is_from_client == message.status.is_none();
        let (client, gateway) = match is_of_client {
            true => (message.from_tag.as_str(), message.to_tag.as_str()),
            false => (message.to_tag.as_str(), message.from_tag.as_str()),
        };
        let is_refusal = message.status.is_some_and(|status| status >= 300);
        match dialog.tags {
            None if !client.is_empty() && !gateway.is_empty() && !is_refusal => dialog.tags = Some((client, gateway)),
            Some(tags) if tags != (client, gateway) && !gateway.is_empty() && !is_refusal => {
                breach(format!("tags {tags:?} became {:?}", (client, gateway)));
            }
            _ => {}
        }
        if message.is_from_client || message.status.is_some() || message.method == "ACK" {
            continue;
        }
        let content = (message.method.as_str(), message.digest);
        match dialog.said.get(&message.cseq) {
            Some(known) if *known != content => breach(format!("CSeq {} was used for two things", message.cseq)),
            Some(_) => {}
            None => {
                if let Some(last) = dialog.last.filter(|last| message.cseq < *last) {
                    breach(format!("CSeq {} after {last}", message.cseq));
                }
                dialog.said.insert(message.cseq, content);
                dialog.last = dialog.last.max(Some(message.cseq));
            }
        }
    }
    for entry in &history.entries {
        if let What::Broke { user, rule, detail } = &entry.what
            && matches!(rule.as_str(), "CSeqBackwards" | "CSeqReused" | "LocalTagChanged")
        {
            breaches.push(Breach::at(entry.at_us, format!("user {user}: {detail}")));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};

    #[test]
    fn numbers_that_rise_skip_and_repeat_the_same_are_good() {
        let good = Golden::default().invite("a", "c", "g").info_in("a", 1, ("g", "c"), 7);
        holds(check, &good.info_in("a", 1, ("g", "c"), 7).kill(1).info_in("a", 9, ("g", "c"), 8));
    }

    #[test]
    fn another_tag_a_lower_number_and_a_number_used_twice_are_seen() {
        let begun = || Golden::default().invite("a", "c", "g").info_in("a", 5, ("g", "c"), 7);
        broken(check, &begun().info_in("a", 6, ("other", "c"), 8), "became");
        broken(check, &begun().info_in("a", 4, ("g", "c"), 8), "CSeq 4 after 5");
        broken(check, &begun().info_in("a", 5, ("g", "c"), 8), "two things");
    }
}
