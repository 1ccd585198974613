//! From a head's bytes to start line and headers (RFC 3261 §7).

use memchr::{memchr, memmem};

use super::header::HEADERS_BYTES_MAX;
use super::text::{has_stray_control, is_blank, is_token};
use super::{Headers, Malformed, StartLine};

/// Length of the head, its empty line included; `None` when the empty line is missing.
pub(super) fn head_bytes(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a head that ends with its empty line.
pub(super) fn head(head: &[u8], headers_max: usize) -> Result<(StartLine, Headers), Malformed> {
    if head.len() > HEADERS_BYTES_MAX {
        return Err(Malformed::TooManyHeaders { max: headers_max });
    }
    let text = std::str::from_utf8(head).map_err(|_| Malformed::NotUtf8)?;
    let mut lines = Lines { rest: text, number: 0 };
    let (first, number) = lines.next().ok_or(Malformed::StartLine)??;
    if has_stray_control(first.as_bytes()) {
        return Err(Malformed::Control { line: number });
    }
    let start = start_line(first)?;
    let mut headers = Headers::with_capacity(text.len() - first.len());
    let mut unfolded = String::new();
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        let (line, number) = line?;
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            // Only a fold of the start line arrives here: others are taken below.
            return Err(Malformed::LineEnd { line: number });
        }
        let mut whole = line;
        while let Some(Ok((next, next_number))) = lines.peek().copied() {
            if !next.starts_with([' ', '\t']) {
                break;
            }
            let more = next.trim_matches([' ', '\t']);
            if more.is_empty() {
                return Err(Malformed::LineEnd { line: next_number });
            }
            if unfolded.is_empty() {
                unfolded.push_str(line);
            }
            unfolded.truncate(unfolded.trim_end_matches([' ', '\t']).len());
            unfolded.push(' ');
            unfolded.push_str(more);
            lines.next();
        }
        if !unfolded.is_empty() {
            whole = &unfolded;
        }
        if headers.len() == headers_max {
            return Err(Malformed::TooManyHeaders { max: headers_max });
        }
        headers.append_line(whole, number)?;
        unfolded.clear();
    }
    Ok((start, headers))
}

/// Physical lines without their CRLF, counted from 1.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(&'a str, usize), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let bad = Malformed::LineEnd { line: self.number };
        let Some(feed) = memchr(b'\n', self.rest.as_bytes()) else {
            self.rest = "";
            return Some(Err(bad));
        };
        let (line, rest) = self.rest.split_at(feed + 1);
        self.rest = rest;
        let Some(line) = line.strip_suffix("\r\n").filter(|line| memchr(b'\r', line.as_bytes()).is_none()) else {
            return Some(Err(bad));
        };
        Some(Ok((line, self.number)))
    }
}

fn start_line(line: &str) -> Result<StartLine, Malformed> {
    let is_version = |text: &str| text.eq_ignore_ascii_case("SIP/2.0");
    if line.as_bytes().get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"SIP/")) {
        let (version, rest) = line.split_once(' ').ok_or(Malformed::StartLine)?;
        if !is_version(version) {
            return Err(Malformed::Version);
        }
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::StartLine);
        }
        let status = status.parse().map_err(|_| Malformed::StartLine)?;
        if !(100..700).contains(&status) {
            return Err(Malformed::StartLine);
        }
        return Ok(StartLine::Response { status, reason: reason.to_owned() });
    }
    let (method, rest) = line.split_once(' ').ok_or(Malformed::StartLine)?;
    let (uri, version) = rest.rsplit_once(' ').ok_or(Malformed::StartLine)?;
    let broken = |byte: u8| is_blank(byte) || byte < 0x20 || matches!(byte, 0x7f | b'<' | b'>' | b'"');
    if !is_token(method) || uri.is_empty() || uri.bytes().any(broken) {
        return Err(Malformed::StartLine);
    }
    if !is_version(version) {
        let is_sip = version.len() > 4 && version.as_bytes()[..4].eq_ignore_ascii_case(b"SIP/");
        return Err(if is_sip { Malformed::Version } else { Malformed::StartLine });
    }
    Ok(StartLine::Request { method: method.to_owned(), uri: uri.to_owned() })
}
