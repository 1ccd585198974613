//! A peer that writes whatever bytes it likes.

use std::net::SocketAddr;

use lyncpin::sip::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::rig::{PATIENCE, account};

/// One connection, and the answers read on it.
pub struct Raw {
    pub writer: OwnedWriteHalf,
    reader: OwnedReadHalf,
    unread: Vec<u8>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (reader, writer) = socket.into_split();
        Self { writer, reader, unread: Vec::new() }
    }

    /// An error is the far side's close, which the next read tells.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(PATIENCE, self.writer.write_all(bytes.as_ref())).await.expect("somebody reads");
    }

    /// The next message; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Message> {
        next(&mut self.reader, &mut self.unread).await
    }

    /// Says all of it and reads so many answers meanwhile.
    pub async fn flood(&mut self, bytes: impl AsRef<[u8]>, answers: usize) -> Vec<Message> {
        let Self { writer, reader, unread } = self;
        let reading = async {
            let mut all = Vec::new();
            while all.len() < answers {
                let message = next(reader, unread).await.expect("the flow stands");
                if message.status().is_some_and(|status| status >= 200) {
                    all.push(message);
                }
            }
            all
        };
        let (all, said) = tokio::join!(reading, writer.write_all(bytes.as_ref()));
        said.expect("the flow stands");
        all
    }

    /// The next final answer; requests of the gateway's own are passed over.
    pub async fn answer(&mut self) -> Option<Message> {
        loop {
            let message = self.next().await?;
            if message.status().is_some_and(|status| status >= 200) {
                return Some(message);
            }
        }
    }

    pub async fn status(&mut self) -> Option<u16> {
        self.answer().await?.status()
    }

    /// Says it and waits for the final answer.
    pub async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Option<u16> {
        self.say(bytes).await;
        self.status().await
    }

    /// Everything up to the end of the connection, which must come.
    pub async fn until_the_end(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await {
            all.push(message);
        }
        all
    }

    /// Whether the connection still works.
    pub async fn is_open(&mut self) -> bool {
        self.ask(options("still-open", "")).await == Some(200)
    }
}

/// Cuts by Content-Length alone: a refusal repeats fields that nobody can read.
async fn next(reader: &mut OwnedReadHalf, unread: &mut Vec<u8>) -> Option<Message> {
    loop {
        while unread.starts_with(b"\r\n") {
            unread.drain(..2);
        }
        if let Some(head) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&unread[..head]).into_owned();
            let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
            let total = head + 4 + length.parse::<usize>().unwrap();
            if unread.len() >= total {
                let message = unread.drain(..total).collect::<Vec<_>>().into();
                return Some(Message::parse(&message).unwrap_or_else(|why| panic!("{why}: {text}")));
            }
        }
        let mut bytes = [0; 16 * 1024];
        let read = timeout(PATIENCE, reader.read(&mut bytes)).await.expect("an answer or the end");
        match read {
            Ok(0) | Err(_) => return None,
            Ok(count) => unread.extend_from_slice(&bytes[..count]),
        }
    }
}

/// What one fresh connection is answered to these bytes, up to the gateway's close. With `hangs_up`, we close our
/// side first.
pub async fn one_shot(address: SocketAddr, bytes: impl AsRef<[u8]>, hangs_up: bool) -> Vec<Message> {
    let mut raw = Raw::connect(address).await;
    raw.say(bytes).await;
    if hangs_up {
        let _ = raw.writer.shutdown().await;
    }
    raw.until_the_end().await
}

pub fn statuses(messages: &[Message]) -> Vec<u16> {
    messages.iter().filter_map(Message::status).collect()
}

/// OPTIONS with `more` header lines, each ended by CRLF; without Content-Length.
pub fn options(call_id: &str, more: &str) -> String {
    format!(
        "OPTIONS sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.66:5060;branch=z9hG4bK{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:mallory@contoso.com>;tag=m1\r\nTo: <sip:rccgw@localhost>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n{more}\r\n"
    )
}

/// Whole, with Content-Length.
pub fn whole(mut head: String, body: &str) -> String {
    head.truncate(head.trim_end().len());
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub const CSTA: &str = "Content-Type: application/csta+xml\r\n";

pub fn status_request(line: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><RequestSystemStatus xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">\
         <extensions><privateData><private><lcs:line xmlns:lcs=\"http://schemas.microsoft.com/Lcs/2005/04/RCCExtension\">\
         {line}</lcs:line></private></privateData></extensions></RequestSystemStatus>"
    )
}

/// A dialog whose client end is written by hand.
pub struct HandMade {
    pub raw: Raw,
    pub user: String,
    pub line: String,
    pub call_id: String,
    pub to_tag: String,
    pub cseq: u32,
}

pub fn invite(user: &str, line: &str, call_id: &str, more: &str) -> String {
    let head = format!(
        "INVITE sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.66:5060;branch=z9hG4bKi{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: <{user}>;tag=m1;epid={call_id}\r\nTo: <sip:rccgw@localhost>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:10.0.0.66:5060>\r\nSupported: timer\r\nUser-Agent: UCCAPI/4.0.7577.314\r\n{CSTA}{more}"
    );
    whole(head, &status_request(line))
}

impl HandMade {
    /// Signs in as the user with this number; no monitor.
    pub async fn sign_in(address: SocketAddr, at: usize, call_id: &str) -> Self {
        let raw = Raw::connect(address).await;
        let options = account(at);
        let (user, line) = (options.user, options.line);
        let mut made = Self { raw, user, line, call_id: call_id.to_owned(), to_tag: String::new(), cseq: 1 };
        made.raw.say(invite(&made.user, &made.line, call_id, "")).await;
        let answer = made.raw.answer().await.expect("an answer");
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        made.to_tag = answer.headers.to().unwrap().tag().unwrap().to_owned();
        let ack = made.request("ACK", 1, "ACK", "", "");
        made.raw.say(ack).await;
        made
    }

    /// A request of the dialog, with whatever CSeq.
    pub fn request(
        &self,
        method: &str,
        cseq: impl std::fmt::Display,
        cseq_method: &str,
        more: &str,
        body: &str,
    ) -> String {
        let Self { user, call_id, to_tag, .. } = self;
        let head = format!(
            "{method} sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.66:5060;branch=z9hG4bKr{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <{user}>;tag=m1;epid={call_id}\r\nTo: <sip:rccgw@localhost>;tag={to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {cseq_method}\r\n{more}"
        );
        whole(head, body)
    }

    /// An INFO with the next CSeq.
    pub fn info(&mut self, body: &str) -> String {
        self.cseq += 1;
        self.request("INFO", self.cseq, "INFO", CSTA, body)
    }

    pub async fn ask(&mut self, body: &str) -> Message {
        let info = self.info(body);
        self.raw.say(info).await;
        self.raw.answer().await.expect("an answer")
    }

    pub async fn bye(mut self) {
        let bye = self.request("BYE", self.cseq + 1, "BYE", "", "");
        assert_eq!(self.raw.ask(bye).await, Some(200));
    }
}

pub fn service(name: &str, inside: &str) -> String {
    format!("<{name} xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">{inside}</{name}>")
}
