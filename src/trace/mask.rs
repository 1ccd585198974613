//! Numbers of people, as they may be shown to whoever did not ask for them. Lengths stay what they are, so that a masked
//! message is still a message.

/// Digits shown at the end of a number.
const SHOWN: usize = 2;
/// A number of so many digits is an extension, and tells little.
const SHORT: usize = 4;

/// Elements whose digits are no numbers of people.
const KEPT: &[&str] = &["callID", "monitorCrossRefID", "crossRefIdentifier", "correlatorData", "sessionID"];

/// All digits but the last two; a short number stays.
pub fn masked(number: &str) -> String {
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let mut seen = 0;
    number
        .chars()
        .map(|c| {
            if !c.is_ascii_digit() {
                return c;
            }
            seen += 1;
            if digits > SHORT && seen + SHOWN <= digits { 'x' } else { c }
        })
        .collect()
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || "+-.() ".contains(c)
}

/// The longest beginning of `text` that may be a number.
fn number_of(text: &str) -> &str {
    let end = text.find(|c| !is_of_number(c)).unwrap_or(text.len());
    text[..end].trim_end()
}

/// The head of a SIP message: numbers of URIs and of display names. Addresses, tags and Call-IDs stay.
pub fn masked_head(head: &str) -> String {
    let mut out = String::with_capacity(head.len());
    let mut rest = head;
    while let Some(c) = rest.chars().next() {
        let after = ["tel:", "ext=", "phone-context=", "sips:", "sip:", "\""]
            .into_iter()
            .find(|word| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)));
        let Some(word) = after else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let (spelled, behind) = rest.split_at(word.len());
        let number = number_of(behind);
        let follows = &behind[number.len()..];
        let is_number = match word {
            // A host is no number: there is a user only before an `@`.
            "sip:" | "sips:" => {
                let end = follows.find(|c: char| c.is_whitespace() || "<>,\"".contains(c)).unwrap_or(follows.len());
                follows[..end].contains('@')
            }
            "\"" => follows.starts_with('"'),
            _ => true,
        };
        out.push_str(spelled);
        rest = behind;
        if is_number {
            out.push_str(&masked(number));
            rest = follows;
        }
    }
    out
}

/// A CSTA document: digits between tags, but for those of calls and monitors.
pub fn masked_xml(xml: &str) -> String {
    let mut out = String::with_capacity(xml.len());
    let mut is_kept = false;
    let mut is_in_tag = false;
    for piece in xml.split_inclusive(['<', '>']) {
        // `tag>` or `text<`; a text may hold a `>`, and the last piece ends with neither.
        let tag = piece.strip_suffix('>').filter(|_| is_in_tag);
        is_in_tag = piece.ends_with('<');
        if let Some(tag) = tag {
            let name = tag.split([' ', '/', '\t', '\r', '\n']).next().unwrap_or_default();
            let local = name.rsplit(':').next().unwrap_or_default();
            is_kept = KEPT.contains(&local);
            out.push_str(piece);
        } else if is_kept {
            out.push_str(piece);
        } else {
            put_masked(piece, &mut out);
        }
    }
    out
}

/// Each number of a text by itself.
fn put_masked(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..start]);
        let number = number_of(&rest[start..]);
        out.push_str(&masked(number));
        rest = &rest[start + number.len()..];
    }
    out.push_str(rest);
}

/// A whole SIP message.
pub(super) fn masked_message(text: &str) -> String {
    match text.split_once("\r\n\r\n") {
        Some((head, body)) => format!("{}\r\n\r\n{}", masked_head(head), masked_xml(body)),
        None => masked_head(text),
    }
}
