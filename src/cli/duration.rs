//! Lengths of time as a person types them.

use std::time::Duration;

/// `90s`, `10m`, `2h`; a number alone is of seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 90s, 10m or 2h, not {text:?}");
    let (digits, unit_s) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().map_err(|_| expected())?;
    count.checked_mul(unit_s).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_minutes_and_hours_are_read_and_nothing_else() {
        assert_eq!(["45", "90s", "10m", "2h"].map(|text| parse(text).unwrap().as_secs()), [45, 90, 600, 7_200]);
        for wrong in ["", "m", "0", "-1m", "1.5h", "10 m", "10d", "99999999999999999999h"] {
            assert!(parse(wrong).is_err_and(|why| why.contains("10m")), "{wrong}");
        }
    }
}
