//! The latest events, and those who read them as they come. Neither waits for the other: a reader that does not keep up is
//! dropped, and resumes by the id of its last event, or is told that it missed some.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::Stream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::event::Event;

/// Events and bytes of them that a reader who comes back may still get.
const KEPT_MAX: usize = 1_024;
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Who follows at once.
pub const READERS_MAX: usize = 32;
/// Events that wait for one reader.
const WAITING_MAX: usize = 256;
/// A comment is sent when nothing else was for so long: whoever hears nothing for three of them has lost the node.
pub const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// A reader that lost the stream comes back after so long.
const RETRY_MS: u64 = 1_000;

/// Why somebody may not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    #[error("{READERS_MAX} readers follow this node already; close a page that nobody looks at, or try again later")]
    Full,
    #[error("this node is stopping; ask the other one")]
    Closed,
}

pub struct Journal {
    inner: Mutex<Inner>,
    came: Notify,
}

struct Inner {
    /// Other numbers than those of the node's former life, and of the times when nobody looked.
    life: u64,
    /// Of the next event; the first one has 1.
    next: u64,
    /// As they are written into the stream, oldest first; the last one is number `next - 1`.
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    readers: Vec<mpsc::Sender<Bytes>>,
    is_closed: bool,
}

impl Inner {
    fn id(&self, number: u64) -> String {
        format!("{:x}-{number}", self.life)
    }

    /// The events after the named one; `None`: some of them are gone, or it is not one of ours.
    fn since(&self, last: &str) -> Option<Vec<Bytes>> {
        let (life, number) = last.trim().split_once('-')?;
        let (life, number) = (u64::from_str_radix(life, 16).ok()?, number.parse::<u64>().ok()?);
        let missed = usize::try_from(self.next.checked_sub(number.checked_add(1)?)?).ok()?;
        if life != self.life || missed > self.kept.len() {
            return None;
        }
        Some(self.kept.iter().skip(self.kept.len() - missed).cloned().collect())
    }
}

/// One event as text/event-stream has it.
fn frame(event: &Event, id: Option<&str>) -> Bytes {
    // Err: never, every field can be written. JSON has no line ends of its own.
    let data = serde_json::to_string(event).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("{id}event: {}\ndata: {data}\n\n", event.kind()))
}

impl Journal {
    /// `life`: a number that no former life of this node had.
    pub fn new(life: u64) -> Self {
        let inner =
            Inner { life, next: 1, kept: VecDeque::new(), kept_bytes: 0, readers: Vec::new(), is_closed: false };
        Self { inner: Mutex::new(inner), came: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the event and gives it to every reader that has room; one that has none is dropped.
    pub fn tell(&self, event: &Event) {
        let mut inner = self.lock();
        let id = inner.id(inner.next);
        let told = frame(event, Some(&id));
        inner.next += 1;
        inner.kept_bytes += told.len();
        inner.kept.push_back(told.clone());
        while inner.kept.len() > KEPT_MAX || inner.kept_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = inner.kept.pop_front() else { break };
            inner.kept_bytes -= oldest.len();
        }
        inner.readers.retain(|reader| reader.try_send(told.clone()).is_ok());
    }

    /// What follows the event `last`, or what comes from now on. Dropping the stream ends it.
    ///
    /// `hello` is told to a reader that begins.
    pub fn read(&self, last: Option<&str>, hello: &Event) -> Result<impl Stream<Item = Bytes> + use<>, NotRead> {
        let mut inner = self.lock();
        inner.readers.retain(|reader| !reader.is_closed());
        if inner.is_closed {
            return Err(NotRead::Closed);
        }
        if inner.readers.len() >= READERS_MAX {
            return Err(NotRead::Full);
        }
        let newest = inner.id(inner.next - 1);
        let mut first = vec![Bytes::from(format!("retry: {RETRY_MS}\n\n"))];
        match last.map(|last| inner.since(last)) {
            None => first.push(frame(hello, Some(&newest))),
            Some(Some(missed)) => first.extend(missed),
            Some(None) => {
                let why =
                    "more has happened since than is remembered, or the node has begun anew: read everything again";
                first.push(frame(&Event::Gap { why: why.to_owned() }, Some(&newest)));
            }
        }
        let (give, taken) = mpsc::channel(WAITING_MAX);
        inner.readers.push(give);
        drop(inner);
        self.came.notify_one();
        let state = (VecDeque::from(first), taken);
        Ok(futures_util::stream::unfold(state, |(mut first, mut taken)| async move {
            if let Some(one) = first.pop_front() {
                return Some((one, (first, taken)));
            }
            let told = match timeout(KEEP_ALIVE, taken.recv()).await {
                Ok(told) => told?,
                Err(_) => Bytes::from_static(b": nothing new\n\n"),
            };
            Some((told, (first, taken)))
        }))
    }

    pub fn is_read(&self) -> bool {
        let mut inner = self.lock();
        inner.readers.retain(|reader| !reader.is_closed());
        !inner.readers.is_empty()
    }

    /// Resolves when somebody reads.
    pub async fn until_read(&self) {
        while !self.is_read() {
            self.came.notified().await;
        }
    }

    /// Nobody has looked for a while, and nobody looks on: what was told is forgotten, and who comes back is told of a gap.
    pub fn forget(&self) {
        let mut inner = self.lock();
        inner.life = inner.life.wrapping_add(1);
        (inner.next, inner.kept_bytes) = (1, 0);
        inner.kept = VecDeque::new();
    }

    /// Ends every stream, and begins none any more.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.readers.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, StreamExt};
    use tokio::task::unconstrained;

    use super::*;

    fn hello() -> Event {
        Event::Hello { node: "node1".into(), version: "0".into() }
    }

    fn ended(n: u64) -> Event {
        Event::SessionEnded { id: n.to_string() }
    }

    /// What is there now, without waiting; and whether the stream is over.
    fn take(stream: impl Stream<Item = Bytes>) -> (Vec<String>, bool) {
        let mut stream = pin!(stream);
        let mut all = Vec::new();
        loop {
            match unconstrained(stream.next()).now_or_never() {
                Some(Some(one)) => all.push(String::from_utf8(one.to_vec()).unwrap()),
                Some(None) => return (all, true),
                None => return (all, false),
            }
        }
    }

    fn numbers(frames: &[String]) -> Vec<u64> {
        let of = |frame: &String| frame.lines().next()?.rsplit_once('-')?.1.parse().ok();
        frames.iter().filter(|frame| frame.contains("session_ended")).filter_map(of).collect()
    }

    #[tokio::test]
    async fn a_reader_that_comes_back_gets_what_it_missed_and_no_more() {
        let journal = Journal::new(0xab);
        let stream = journal.read(None, &hello()).unwrap();
        journal.tell(&ended(1));
        let (frames, is_over) = take(stream);
        assert_eq!(frames[0], "retry: 1000\n\n");
        let said = "id: ab-0\nevent: hello\ndata: {\"kind\":\"hello\",\"node\":\"node1\",\"version\":\"0\"}\n\n";
        assert_eq!(frames[1], said);
        assert_eq!(frames[2], "id: ab-1\nevent: session_ended\ndata: {\"kind\":\"session_ended\",\"id\":\"1\"}\n\n");
        assert!(!is_over && frames.len() == 3, "{frames:?}");
        (2..=5).for_each(|n| journal.tell(&ended(n)));
        let resumed = |last| take(journal.read(Some(last), &hello()).unwrap()).0;
        assert_eq!(numbers(&resumed("ab-2")), [3, 4, 5]);
        assert_eq!(resumed("ab-5").len(), 1, "nothing was missed");
        assert_eq!(numbers(&resumed("ab-0")), [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn a_gap_is_told_and_may_be_gone_on_from() {
        let journal = Journal::new(1);
        let last_of = |last: &str| {
            let (frames, _) = take(journal.read(Some(last), &hello()).unwrap());
            assert_eq!(frames.len(), 2, "{last}: {frames:?}");
            frames[1].clone()
        };
        (1..=KEPT_MAX as u64 + 2).for_each(|n| journal.tell(&ended(n)));
        let newest = KEPT_MAX + 2;
        for gone in ["1-1", "2-1026", "1-1027", "1-18446744073709551615", "", "-", "x-1", "1-", "0"] {
            let told = last_of(gone);
            assert!(
                told.starts_with(&format!("id: 1-{newest}\nevent: gap\ndata: {{\"kind\":\"gap\"")),
                "{gone}: {told}"
            );
        }
        let (frames, _) = take(journal.read(Some("1-2"), &hello()).unwrap());
        assert_eq!(numbers(&frames).len(), KEPT_MAX, "the oldest one that is remembered follows this one");
        journal.forget();
        assert!(last_of("1-1026").starts_with("id: 2-0\nevent: gap"));
        journal.tell(&ended(1));
        let (frames, _) = take(journal.read(Some("2-0"), &hello()).unwrap());
        assert_eq!(numbers(&frames), [1]);
    }

    #[tokio::test]
    async fn who_does_not_read_is_dropped_and_nobody_waits_for_it() {
        let journal = Journal::new(1);
        let slow = journal.read(None, &hello()).unwrap();
        let mut good = Box::pin(journal.read(None, &hello()).unwrap());
        let mut heard = 0;
        for n in 1..=WAITING_MAX as u64 + 1 {
            journal.tell(&ended(n));
            while let Some(Some(one)) = unconstrained(good.next()).now_or_never() {
                heard += usize::from(one.starts_with(b"id: 1-") && !one.starts_with(b"id: 1-0"));
            }
        }
        assert_eq!(heard, WAITING_MAX + 1);
        assert_eq!(journal.lock().readers.len(), 1);
        let (frames, is_over) = take(slow);
        assert_eq!((numbers(&frames).len(), is_over), (WAITING_MAX, true));
    }

    #[tokio::test]
    async fn readers_and_what_is_kept_for_them_are_bounded() {
        let journal = Journal::new(1);
        let long = Event::Gap { why: "x".repeat(KEPT_BYTES_MAX / 8) };
        (0..100).for_each(|_| journal.tell(&long));
        assert!(journal.lock().kept_bytes <= KEPT_BYTES_MAX && journal.lock().kept.len() == 7);
        let mut streams: Vec<_> = (0..READERS_MAX).map(|_| journal.read(None, &hello()).unwrap()).collect();
        assert_eq!(journal.read(None, &hello()).err(), Some(NotRead::Full));
        streams.pop();
        streams.push(journal.read(None, &hello()).unwrap());
        journal.close();
        assert_eq!(journal.read(None, &hello()).err(), Some(NotRead::Closed));
        assert!(streams.into_iter().all(|stream| take(stream).1), "every stream is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_with_nothing_to_say_says_so() {
        let journal = Journal::new(1);
        let mut stream = Box::pin(journal.read(None, &hello()).unwrap());
        for _ in 0..2 {
            stream.next().await;
        }
        assert_eq!(stream.next().await.as_deref(), Some(&b": nothing new\n\n"[..]));
    }
}
