//! Where a message on a stream ends: Content-Length, read from raw bytes before anything else is (RFC 3261 §18.3, §20.14).
//!
//! Read apart from the headers proper, so that a message whose headers are broken still has a known end and does not
//! take the flow with it. What another parser might take for a Content-Length, and we would not, is refused.

use memchr::memchr;

use super::stream::{Limits, StreamFault};
use super::text::{is_blank, is_token_byte, number};

/// Body bytes a complete head announces. Lines end in CRLF here, folds are not blank: the framer has seen to it.
pub(super) fn body_bytes(head: &[u8], limits: &Limits) -> Result<usize, StreamFault> {
    let mut declared = None;
    let mut has_type = false;
    let mut lines = Fields { rest: head };
    lines.next();
    for field in lines {
        let name_end =
            memchr(b':', field).unwrap_or_else(|| field.iter().position(|b| is_blank(*b)).unwrap_or(field.len()));
        let name = field[..name_end].trim_ascii_end();
        if folds(field).any(|fold| is_length(fold[..memchr(b':', fold).unwrap_or(0)].trim_ascii())) {
            return Err(StreamFault::Length);
        }
        if is_length(name) && field.get(name_end) == Some(&b':') {
            let value = std::str::from_utf8(&field[name_end + 1..]).map_err(|_| StreamFault::Length)?;
            let value = value.trim_matches([' ', '\t', '\r', '\n']);
            let bytes = number(value, i32::MAX as u32).ok_or(StreamFault::Length)? as usize;
            if declared.is_some_and(|declared| declared != bytes) {
                return Err(StreamFault::LengthsDiffer);
            }
            declared = Some(bytes);
        } else if name.eq_ignore_ascii_case(b"Content-Type") || name.eq_ignore_ascii_case(b"c") {
            has_type = true;
        } else if name.len() <= DISGUISE_BYTES_MAX {
            let plain: Vec<u8> = name.iter().copied().filter(|byte| is_token_byte(*byte)).collect();
            if is_length(&plain) {
                return Err(StreamFault::Length);
            }
        }
    }
    match declared {
        Some(bytes) if bytes > limits.body_bytes_max => Err(StreamFault::BodyTooLong { max: limits.body_bytes_max }),
        Some(bytes) => Ok(bytes),
        None if has_type => Err(StreamFault::LengthMissing),
        None => Ok(0),
    }
}

fn is_length(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l")
}

/// The continuation lines of a field.
fn folds(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split_inclusive(|byte| *byte == b'\n').skip(1)
}

/// A name longer than this is no disguised Content-Length: nobody skips that many bytes.
const DISGUISE_BYTES_MAX: usize = 64;

/// Header fields with their folds, CRLFs inside kept.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut end = 0;
        loop {
            end += memchr(b'\n', &self.rest[end..])? + 1;
            if !self.rest.get(end).is_some_and(|byte| is_blank(*byte)) {
                break;
            }
        }
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(field)
    }
}
