//! What voters say to each other: frames on a stream, and the words in them.
//!
//! ```text
//! frame = length u32 | kind u8 | id u64 | body        length counts kind, id and body; big endian
//! ```
//!
//! A body is MessagePack with field names: a field a node does not know is skipped, a kind it does not know is answered
//! so, and nodes of two versions get along. The first frame in each direction is a [`Hello`].

use std::io;

use crate::membership::seat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Of a frame; an append of openraft's is cut below it.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a reader takes from a stream at once: many small frames are one call of the kernel.
pub const READ_BYTES: usize = 64 * 1024;
const HEAD_BYTES: usize = 9;
/// Of this form of frames and of what the kinds mean.
pub const PROTOCOL: u16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Hello = 1,
    Append = 2,
    Vote = 3,
    PreVote = 4,
    SnapshotBegin = 5,
    SnapshotChunk = 6,
    SnapshotEnd = 7,
    TransferLeader = 8,
    Propose = 9,
    ReadIndex = 10,
    /// The gateway's own word to the other node.
    Relay = 11,
    Status = 12,
    /// A change of who votes, to the leader.
    Membership = 13,
    /// The answer, under the question's id.
    Answer = 64,
    /// The answer to a kind that is not known here.
    NotKnown = 65,
    /// The answer when the work failed; the body says why.
    Failed = 66,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Hello,
        Self::Append,
        Self::Vote,
        Self::PreVote,
        Self::SnapshotBegin,
        Self::SnapshotChunk,
        Self::SnapshotEnd,
        Self::TransferLeader,
        Self::Propose,
        Self::ReadIndex,
        Self::Relay,
        Self::Status,
        Self::Membership,
        Self::Answer,
        Self::NotKnown,
        Self::Failed,
    ];

    pub fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// As it came: it may be one of a later version.
    pub kind: u8,
    pub id: u64,
    pub body: Vec<u8>,
}

/// Who speaks, and to whom he means to speak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u16,
    pub cluster_id: String,
    /// Of the cluster: one that was given up by force never speaks again.
    pub epoch: u64,
    pub from: u64,
    pub to: u64,
    /// The software's version, for people.
    #[serde(default)]
    pub version: String,
    /// What this node could do if all could.
    #[serde(default)]
    pub feature_level: u32,
    /// It means whoever has the seat of `to`, under whatever id: the word of one whose store is blank. It is asked nothing
    /// and may ask little.
    #[serde(default)]
    pub any: bool,
    /// Of one whose store is blank: drawn when its process began, so that those it begins a cluster with know it again.
    #[serde(default)]
    pub birth: u64,
    /// It takes part already, and did not begin with the one it speaks to: that one may have voted under its seat's id.
    #[serde(default)]
    pub has_state: bool,
    /// Set in the answer of one who does not want to speak.
    #[serde(default)]
    pub refusal: Option<String>,
}

impl Hello {
    /// Why the node `own` does not speak with the one that says this; `None`: it does.
    pub fn refused_by(&self, own: &Self) -> Option<String> {
        if self.protocol != own.protocol {
            return Some(format!("protocol {} here, {} there", own.protocol, self.protocol));
        }
        if self.cluster_id != own.cluster_id {
            return Some(format!("this is cluster {}, not {}", own.cluster_id, self.cluster_id));
        }
        // Who has nothing to say takes the epoch it finds.
        let is_blank = self.any || own.any;
        if self.epoch != own.epoch && !is_blank {
            return Some(format!("the cluster is in epoch {}, not {}", own.epoch, self.epoch));
        }
        let is_meant = self.to == own.from || (self.any && seat(self.to) == seat(own.from));
        if !is_meant {
            return Some(format!("this is node {}, not {}", own.from, self.to));
        }
        None
    }
}

pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("memory takes every message")
}

pub fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(body).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.to_string()))
}

pub fn frame(kind: Kind, id: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + HEAD_BYTES + body.len());
    bytes.extend(u32::try_from(HEAD_BYTES + body.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.push(kind as u8);
    bytes.extend(id.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The next frame; `None` at the end of the stream between two frames.
pub async fn read<R: AsyncRead + Unpin>(reader: &mut R, bytes_max: usize) -> io::Result<Option<Frame>> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut length = [0; 4];
    if reader.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length) as usize;
    if !(HEAD_BYTES..=bytes_max).contains(&length) {
        return Err(invalid(format!("a frame of {length} bytes; {HEAD_BYTES} to {bytes_max} are allowed")));
    }
    let mut head = [0; HEAD_BYTES];
    reader.read_exact(&mut head).await?;
    let id = head[1..].iter().fold(0, |id, byte| id << 8 | u64::from(*byte));
    // Grows with what arrives, not with what was announced.
    let mut body = Vec::new();
    let left = (length - HEAD_BYTES) as u64;
    if reader.take(left).read_to_end(&mut body).await? as u64 != left {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { kind: head[0], id, body }))
}

pub async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}
