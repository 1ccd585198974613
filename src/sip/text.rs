//! Character classes and the two splits every header shares (RFC 3261 §25.1).

/// `token`: methods, header names, parameter names.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Without the spaces and tabs around it; other white space is not SIP's.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whether a line holds a control byte other than HTAB that no backslash escapes; CR and LF cannot be escaped.
pub(super) fn has_stray_control(line: &[u8]) -> bool {
    let control = |byte: u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f;
    // The fold has no early exit, so that it is vectorised; almost every line stops here.
    if !line.iter().fold(false, |seen, &byte| seen | control(byte)) {
        return false;
    }
    let mut escaped = false;
    for &byte in line {
        if control(byte) && (!escaped || byte == b'\r' || byte == b'\n') {
            return true;
        }
        escaped = byte == b'\\' && !escaped;
    }
    false
}

/// Where `wanted` stands outside quoted strings and, when `brackets`, outside `<...>`; `None` also when a quote is open.
pub(super) fn find_outside(text: &str, wanted: u8, brackets: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut quoted, mut inside) = (false, false);
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' if !inside => quoted = !quoted,
            _ if quoted => {}
            byte if byte == wanted && !inside => return Some(at),
            b'<' if brackets => inside = true,
            b'>' if brackets => inside = false,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The elements of a comma list, trimmed, empty ones left out.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (element, tail) = match find_outside(text, b',', true) {
            Some(comma) => (&text[..comma], Some(&text[comma + 1..])),
            None => (text, None),
        };
        rest = tail;
        Some(trim(element))
    })
    .filter(|element| !element.is_empty())
}

/// `;a=b;c` without the leading `;`, cut into (name, value as written); the value is empty when there is none.
pub(super) fn params(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = (!text.is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (param, tail) = match find_outside(text, b';', false) {
            Some(semicolon) => (&text[..semicolon], Some(&text[semicolon + 1..])),
            None => (text, None),
        };
        rest = tail;
        Some(match param.find('=') {
            Some(equals) => (trim(&param[..equals]), trim(&param[equals + 1..])),
            None => (trim(param), ""),
        })
    })
}

/// A header parameter by name, without case; the first one counts.
pub(super) fn param<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    params(text).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether header parameters are `generic-param`s: a token name each, quotes closed (RFC 3261 §25.1).
pub(super) fn are_params(text: &str) -> bool {
    params(text).all(|(name, value)| {
        is_token(name)
            && match value.strip_prefix('"') {
                Some(rest) => closing_quote(rest).is_some_and(|end| end + 1 == rest.len()),
                None => !value.contains(['"', ' ', '\t', '<', '>', ',']),
            }
    })
}

/// Where the quoted string whose opening quote was taken off ends.
pub(super) fn closing_quote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// 1*DIGIT up to `max`, leading zeros allowed; `None` for a sign, a gap, nothing, or more than `max`.
pub(super) fn number(text: &str, max: u32) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = text.bytes().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    u32::try_from(value).ok().filter(|value| *value <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let value = r#""A, \"B" <sip:a,b@c>;x="1,2", <sip:d>,, e "#;
        assert_eq!(list(value).collect::<Vec<_>>(), [r#""A, \"B" <sip:a,b@c>;x="1,2""#, "<sip:d>", "e"]);
    }

    #[test]
    fn a_number_has_digits_only_and_a_bound() {
        assert_eq!(number("0009", 10), Some(9));
        assert_eq!(number("2147483647", 2_147_483_647), Some(2_147_483_647));
        for bad in ["", "+5", "-5", "5,5", "5 5", "2147483648", "4294967301", "18446744073709551616", "٣"] {
            assert_eq!(number(bad, 2_147_483_647), None, "{bad}");
        }
    }

    #[test]
    fn a_control_byte_counts_unless_a_backslash_escapes_it() {
        assert!(has_stray_control(b"a\x00b") && has_stray_control(b"\\\\\x00") && has_stray_control(b"\\\r"));
        assert!(!has_stray_control(b"\"\\\x07 \\\x00\"\tx"));
    }
}
