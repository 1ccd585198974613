//! I12: nobody without a right gets in: no effect, no session, no byte back.

use super::{Breach, Checked};
use crate::history::{History, What};

/// Fewer attempts prove nothing.
pub const ATTEMPTS_MIN: usize = 200;

pub fn check(history: &History) -> Checked {
    let (mut observed, mut breaches) = (0, Vec::new());
    for entry in &history.entries {
        let What::Intruder { manner, bytes_back, got_in } = &entry.what else { continue };
        observed += 1;
        if *got_in {
            breaches.push(Breach::at(entry.at_us, format!("an intruder got in: {manner}")));
        } else if *bytes_back > 0 {
            breaches.push(Breach::at(entry.at_us, format!("an intruder heard {bytes_back} bytes: {manner}")));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};

    #[test]
    fn silence_is_good_and_a_byte_is_not() {
        holds(check, &Golden::default().intruder(0, false));
        broken(check, &Golden::default().intruder(12, false), "heard 12 bytes");
        broken(check, &Golden::default().intruder(0, true), "got in");
    }
}
