//! Telephone numbers as clients, administrators and PBXs write them (RFC 3966, RFC 3261 §19.1.6).

/// Digits a number may hold. E.164 stops at 15; dial strings with service codes and account numbers are longer.
pub const DIGITS_MAX: usize = 64;
/// Bytes of text looked at; longer text is refused unread.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Why a text is no number. The session answers a command with `operation/invalidCalledDeviceID`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("holds no digit")]
    Empty,
    /// A vanity number: which digit a letter stands for differs from country to country, so nothing is guessed.
    #[error("holds the letter `{letter}` at character {at}; only digits, `*` and `#` can be dialled")]
    Letter { letter: char, at: usize },
    #[error("holds `{found}` at character {at}; only digits, `*`, `#`, a leading `+` and the separators `- . ( )` fit")]
    NotADigit { found: char, at: usize },
    #[error("has {digits} digits; at most {} are dialled", DIGITS_MAX)]
    TooManyDigits { digits: usize },
    #[error("is {bytes} bytes long; at most {} are read", TEXT_BYTES_MAX)]
    TooLong { bytes: usize },
    #[error("is a SIP address that holds no number")]
    NotANumber,
}

/// A number and the parameters that tell lines apart; separators are gone, the rest is as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tel {
    /// Digits, `*` and `#`; a global number begins with `+` and holds digits only.
    pub number: String,
    pub ext: Option<String>,
    /// In lower case. `None` for a global number, whose meaning needs no context.
    pub phone_context: Option<String>,
    /// Cisco's choice of an appearance: the device name.
    pub device: Option<String>,
    /// Cisco's choice of an appearance: the route partition.
    pub partition: Option<String>,
}

impl Tel {
    /// Reads `tel:`, `sip:` and `sips:` URIs and bare digits. Cuts the `v:` tail of old address books, undoes percent
    /// escapes, drops visual separators (RFC 3966 §5.1.1), blanks and invisible direction marks.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NumberError::TooLong { bytes: text.len() });
        }
        let text = text.trim();
        let (scheme, rest) = split_scheme(text);
        let (subscriber, in_sip) = match (scheme, rest.split_once('@')) {
            (Some("tel"), _) | (None, None) => (rest, false),
            (_, Some((user, _))) => (user, true),
            (Some(_), None) => return Err(NumberError::NotANumber),
        };
        let (number, params) = subscriber.split_once(';').unwrap_or((subscriber, ""));
        let offset = text.len() - rest.len();
        let number = digits(cut_v_tail(&unescape(number)), offset).map_err(|error| match error {
            NumberError::Letter { .. } | NumberError::NotADigit { .. } if in_sip => NumberError::NotANumber,
            other => other,
        })?;
        let mut tel = Self { number, ext: None, phone_context: None, device: None, partition: None };
        for param in params.split(';') {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            let value = unescape(value.trim());
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                "ext" => {
                    tel.ext = Some(value.chars().filter(|&c| !is_separator(c)).collect());
                    continue;
                }
                "phone-context" if tel.is_global() => continue,
                "phone-context" => {
                    tel.phone_context = Some(value.to_ascii_lowercase());
                    continue;
                }
                "device" => &mut tel.device,
                "partition" => &mut tel.partition,
                _ => continue,
            };
            *slot = Some(value);
        }
        for slot in [&mut tel.ext, &mut tel.phone_context, &mut tel.device, &mut tel.partition] {
            if slot.as_deref() == Some("") {
                *slot = None;
            }
        }
        Ok(tel)
    }

    /// Whether the number means the same everywhere.
    pub fn is_global(&self) -> bool {
        self.number.starts_with('+')
    }

    /// Whether both name one line: number, extension and context; which appearance of it is another question.
    pub fn is_same_line(&self, other: &Self) -> bool {
        self.number == other.number && self.ext == other.ext && self.phone_context == other.phone_context
    }

    /// The URI other parties are shown: number, extension and context, without the choice of an appearance.
    pub fn shown(&self) -> String {
        let mut uri = format!("tel:{}", self.number);
        for (name, value) in [("ext", &self.ext), ("phone-context", &self.phone_context)] {
            if let Some(value) = value {
                uri.push_str(&format!(";{name}={value}"));
            }
        }
        uri
    }
}

/// The scheme in lower case when it is one we read, and what follows it.
fn split_scheme(text: &str) -> (Option<&'static str>, &str) {
    for scheme in ["tel", "sips", "sip"] {
        if let Some((head, rest)) = text.split_once(':')
            && head.eq_ignore_ascii_case(scheme)
        {
            return (Some(scheme), rest);
        }
    }
    (None, text)
}

/// `5555551234v:41234`: the part after `v:` is an address book's private note.
fn cut_v_tail(number: &str) -> &str {
    match number.to_ascii_lowercase().find("v:") {
        Some(at) => &number[..at],
        None => number,
    }
}

fn is_separator(c: char) -> bool {
    let is_direction_mark = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    matches!(c, '-' | '.' | '(' | ')') || c.is_whitespace() || is_direction_mark || c == '\u{feff}'
}

/// `at` in errors counts characters of the text from 1, `offset` characters stand before the number.
fn digits(text: &str, offset: usize) -> Result<String, NumberError> {
    let mut number = String::new();
    for (at, found) in text.chars().enumerate().map(|(at, c)| (offset + at + 1, c)) {
        match found {
            '0'..='9' => number.push(found),
            '*' | '#' if !number.starts_with('+') => number.push(found),
            '+' if number.is_empty() => number.push(found),
            c if is_separator(c) => {}
            letter if letter.is_alphabetic() => return Err(NumberError::Letter { letter, at }),
            found => return Err(NumberError::NotADigit { found, at }),
        }
    }
    match number.trim_start_matches('+').len() {
        0 => Err(NumberError::Empty),
        digits if digits > DIGITS_MAX => Err(NumberError::TooManyDigits { digits }),
        _ => Ok(number),
    }
}

/// Percent escapes undone (RFC 3986 §2.1); what is no escape or no UTF-8 stays as written.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tel(text: &str) -> Tel {
        Tel::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn number(text: &str) -> String {
        tel(text).number
    }

    #[test]
    fn every_spelling_a_client_sends_is_read() {
        // RFC 3966 §3 and what Lync, Communicator and old address books are known to send.
        for text in [
            "tel:+14255550101",
            "TEL:+1-425-555-0101",
            "tel:+1 (425) 555.0101",
            "+14255550101",
            "sip:+14255550101@contoso.com;user=phone",
            "sips:%2B14255550101@contoso.com:5061;user=phone",
            "sip:+1-425-555-0101;ext=5101@contoso.com;user=phone",
            "tel:+14255550101;phone-context=dialstring",
            "tel:+14255550101;isub=12;ext=5101",
            "tel:+14255550101v:41234",
            "  tel:\u{202a}+14255550101\u{202c} ",
        ] {
            assert_eq!(number(text), "+14255550101", "{text}");
        }
        assert_eq!(number("tel:*21*5102%23;phone-context=dialstring"), "*21*5102#");
        assert_eq!(number("5102"), "5102");
        assert_eq!(number("5102@contoso.com"), "5102");
    }

    #[test]
    fn parameters_that_tell_lines_apart_are_kept() {
        let line = tel("tel:73124;Phone-Context=DialString;DEVICE=SEP001122334455;partition=BE_BRS_INT");
        assert_eq!(line.phone_context.as_deref(), Some("dialstring"));
        assert_eq!(line.device.as_deref(), Some("SEP001122334455"));
        assert_eq!(line.partition.as_deref(), Some("BE_BRS_INT"));
        assert_eq!(line.shown(), "tel:73124;phone-context=dialstring");
        assert_eq!(tel("tel:+14255550101;ext=51-01;device=").shown(), "tel:+14255550101;ext=5101");
    }

    #[test]
    fn what_is_no_number_is_refused_with_its_place() {
        assert_eq!(Tel::parse("tel:1-800-FLOWERS"), Err(NumberError::Letter { letter: 'F', at: 11 }));
        assert_eq!(Tel::parse("1+2"), Err(NumberError::NotADigit { found: '+', at: 2 }));
        assert_eq!(Tel::parse("tel:+1425*"), Err(NumberError::NotADigit { found: '*', at: 10 }));
        assert_eq!(Tel::parse("tel:"), Err(NumberError::Empty));
        assert_eq!(Tel::parse("tel:+"), Err(NumberError::Empty));
        assert_eq!(Tel::parse("tel:()-"), Err(NumberError::Empty));
        assert_eq!(Tel::parse("sip:alice@contoso.com"), Err(NumberError::NotANumber));
        assert_eq!(Tel::parse("sip:contoso.com"), Err(NumberError::NotANumber));
        assert_eq!(Tel::parse(&"1".repeat(65)), Err(NumberError::TooManyDigits { digits: 65 }));
        assert_eq!(Tel::parse(&"1".repeat(64)).map(|tel| tel.number.len()), Ok(64));
        assert_eq!(Tel::parse(&"-".repeat(2000)), Err(NumberError::TooLong { bytes: 2000 }));
        assert!(matches!(Tel::parse("tel:٤٢٥"), Err(NumberError::NotADigit { .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_reading_twice_changes_nothing(text in "(tel:|sip:|)[-+0-9a-z.()@;=% *#é]{0,40}") {
            if let Ok(first) = Tel::parse(&text) {
                let again = Tel::parse(&first.number).expect("digits are a number");
                proptest::prop_assert_eq!(again.number, first.number);
            }
        }
    }
}
