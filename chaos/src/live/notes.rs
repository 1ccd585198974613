//! Where the witnesses write: one clock, one list.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lyncpin::client::{self, Direction, FlowId, OperationResult, Tap};
use lyncpin::sip::Message as SipMessage;

use crate::history::{self, DIGEST_START, Done, Entry, Message, Operation, Phase, What, digest};

/// More entries than this make the run invalid.
const ENTRIES_MAX: usize = 4_000_000;

pub struct Notes {
    began: Instant,
    began_unix_us: u64,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    lost: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Notes {
    pub fn new() -> Arc<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (began, began_unix_us) = (Instant::now(), since.as_micros() as u64);
        Arc::new(Self { began, began_unix_us, book: Mutex::default() })
    }

    pub fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    pub fn at_us(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.began).as_micros() as u64
    }

    pub fn add(&self, what: What) {
        self.add_at(self.now_us(), what);
    }

    pub fn phase(&self, phase: Phase) {
        self.add(What::Phase { phase });
    }

    pub fn add_at(&self, at_us: u64, what: What) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match &what {
            What::Operation(operation) => match operation.result {
                Done::Ok | Done::Failed(0, _) => "ok",
                Done::Failed(..) => "refused",
                Done::Unknown(_) => "unknown",
            },
            What::Event { .. } => "events",
            What::Broke { .. } => "broken rules",
            What::Intruder { .. } => "intruders",
            _ => "",
        };
        *book.counts.entry(count).or_default() += 1;
        match book.entries.len() < ENTRIES_MAX {
            true => book.entries.push(Entry { at_us, what }),
            false => book.lost += 1,
        }
    }

    /// For the line of progress.
    pub fn count(&self, of: &'static str) -> u64 {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).counts.get(of).copied().unwrap_or(0)
    }

    /// All entries so far, and how many were lost.
    pub fn take(&self) -> (Vec<Entry>, u64) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut book.entries), book.lost)
    }

    fn of_client(&self, unix_us: u64) -> u64 {
        unix_us.saturating_sub(self.began_unix_us)
    }
}

/// `sip:user10001@contoso.com` and `tel:+142555510001;ext=10001` are both 10001, the device.
pub fn device_of(text: &str) -> String {
    if let Some((_, extension)) = text.split_once(";ext=") {
        return extension.chars().take_while(char::is_ascii_digit).collect();
    }
    let head = text.split('@').next().unwrap_or(text);
    let digits = head.chars().rev().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
    digits.collect::<Vec<_>>().into_iter().rev().collect()
}

/// `tel:+19000000001` and `+1900-000-0001` are the same digits.
pub fn digits_of(number: &str) -> String {
    number.split(';').next().unwrap_or(number).chars().filter(char::is_ascii_digit).collect()
}

/// The digits of a number that one operation alone dials; extensions are dialled by many.
pub fn own_number(number: &str) -> Option<String> {
    Some(digits_of(number)).filter(|digits| digits.starts_with("1900"))
}

impl client::History for Notes {
    fn note(&self, entry: client::Entry) {
        let user = device_of(&entry.user);
        match entry.what {
            client::What::Operation(operation) => {
                let dials = matches!(operation.op, "MakeCall" | "ConsultationCall");
                let result = match operation.result {
                    OperationResult::Ok => Done::Ok,
                    OperationResult::Unknown(why) => Done::Unknown(why),
                    OperationResult::Failed(why) => {
                        let status = why.strip_prefix("SIP ").and_then(|rest| rest.split(' ').next()?.parse().ok());
                        // Neither a status nor the switch's own refusal: it never left.
                        let status = status.unwrap_or(if why.starts_with(char::is_uppercase) { 0 } else { 1 });
                        Done::Failed(status, why)
                    }
                };
                self.add_at(
                    self.of_client(operation.end_us),
                    What::Operation(Operation {
                        user,
                        op: operation.op.to_owned(),
                        number: operation.target.filter(|_| dials).and_then(|target| own_number(&target)),
                        call: operation.call,
                        cseq: operation.cseq,
                        start_us: self.of_client(operation.start_us),
                        result,
                    }),
                );
            }
            client::What::Event { at_us, cseq, event, call, .. } => {
                self.add_at(self.of_client(at_us), What::Event { user, cseq, event: event.to_owned(), call });
            }
            client::What::Violation { at_us, violation } => {
                let (rule, detail) = (violation.name().to_owned(), format!("{violation:?}"));
                self.add_at(self.of_client(at_us), What::Broke { user, rule, detail });
            }
        }
    }
}

/// One front end's messages.
pub struct Wire {
    pub notes: Arc<Notes>,
    pub front_end: u64,
}

impl Tap for Wire {
    fn saw(&self, direction: Direction, flow: FlowId, message: &SipMessage) {
        let headers = &message.headers;
        let (Ok(call_id), Ok(cseq)) = (headers.call_id(), headers.cseq()) else { return };
        let tag = |address: Result<lyncpin::sip::NameAddr, _>| -> String {
            address.ok().and_then(|address| address.tag().map(str::to_owned)).unwrap_or_default()
        };
        self.notes.add(What::Message(Message {
            call_id: call_id.to_owned(),
            is_from_client: direction == Direction::Out,
            flow: self.front_end * 1_000_000 + flow.0,
            method: cseq.method.to_string(),
            cseq: cseq.number,
            status: message.status(),
            from_tag: tag(headers.from()),
            to_tag: tag(headers.to()),
            digest: digest(&message.body, DIGEST_START),
        }));
    }
}

/// The history as it is sealed.
pub fn seal(notes: &Notes, mut run: history::Run) -> history::History {
    let (entries, lost) = notes.take();
    run.lost += lost;
    history::History::new(run, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_its_line_are_one_device() {
        assert_eq!(device_of("sip:user10001@contoso.com"), "10001");
        assert_eq!(device_of("tel:+142555510001;ext=10001"), "10001");
        assert_eq!(device_of("10001"), "10001");
        assert_eq!(device_of("tel:+142555510001;ext=10001;x=2"), "10001");
        assert_eq!(digits_of("tel:+1900-000;isub=4"), "1900000");
    }
}
