//! I4: at rest the clients' calls are the PBX's calls, within 5 s of healing.

use super::{Breach, Checked};
use crate::history::{History, Phase, What};

const WITHIN_US: u64 = 5_000_000;

pub fn check(history: &History) -> Checked {
    let compared: Vec<_> = history
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Compared { users, differ } => Some((entry.at_us, *users, differ)),
            _ => None,
        })
        .collect();
    let Some((last_us, users, differ)) = compared.last() else { return (0, Vec::new()) };
    let told = |differ: &crate::history::Difference| {
        format!("user {} shows {:?}, the PBX has {:?}", differ.user, differ.client, differ.pbx)
    };
    let mut breaches: Vec<Breach> = differ.iter().map(|one| Breach::at(*last_us, told(one))).collect();
    let healed_us = history.faults().iter().filter_map(|fault| fault.healed_us).max();
    let begun_us = healed_us.into_iter().chain(history.phase_at(Phase::Healing)).max();
    let agreed_us = compared.iter().find(|(at_us, _, differ)| begun_us <= Some(*at_us) && differ.is_empty());
    if let (Some(begun), Some((agreed, ..))) = (begun_us, agreed_us)
        && agreed - begun > WITHIN_US
    {
        breaches.push(Breach::at(*agreed, format!("all agree only {} ms after healing", (agreed - begun) / 1000)));
    }
    (compared.len() * users, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};

    #[test]
    fn a_difference_that_goes_away_in_time_is_good() {
        holds(check, &Golden::default().kill(1).healed(1).compared(&["10001"]).wait_ms(900).compared(&[]));
    }

    #[test]
    fn a_ghost_that_stays_or_goes_late_is_seen() {
        broken(check, &Golden::default().kill(1).healed(1).compared(&["10001"]), "user 10001 shows");
        let late = Golden::default().kill(1).healed(1).wait_ms(5_100).compared(&[]);
        broken(check, &late, "after healing");
    }
}
