//! The contract: records, the changes to them, and why a change is refused.
//!
//! Invariants, whatever is proposed and in whatever order:
//!
//! 1. A record has one owner, a living incarnation; only the owner puts or deletes it.
//! 2. A record's version rises with every change to it, also over delete and re-creation: a version names one content
//!    for ever. A change that expects another version is refused.
//! 3. A claim has one holder. Records that hold the same claim name the same holder.
//! 4. A fenced incarnation never changes anything again, and owns nothing.
//! 5. A batch is applied whole or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One life of one node: granted by `Join`, rising, never granted twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the cluster remembers under one key. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub key: Arc<str>,
    pub owner: Incarnation,
    /// Drawn from one counter of the whole store, at least 1.
    pub version: u64,
    pub claims: Claims,
    pub body: Body,
}

/// One change. `expected` is the version the writer has seen; 0: there must be no such record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Creates the record for the writer, or replaces claims and body of the writer's own record.
    Put { writer: Incarnation, key: Arc<str>, expected: u64, claims: Claims, body: Body },
    /// Removes the writer's own record and its claims.
    Delete { writer: Incarnation, key: Arc<str>, expected: u64 },
    /// Makes the writer the owner of a record, whoever owned it; claims and body stay. The machine does not ask whether
    /// the old owner agrees: not to steal from a healthy owner is the caller's rule.
    Take { writer: Incarnation, key: Arc<str>, expected: u64 },
}

impl Change {
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Take { key, .. } => key,
        }
    }

    pub fn writer(&self) -> Incarnation {
        match self {
            Self::Put { writer, .. } | Self::Delete { writer, .. } | Self::Take { writer, .. } => *writer,
        }
    }
}

/// Why a command changed nothing: an outcome of the domain, not a failure of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The incarnation is fenced, or was never granted. The node stops acting and joins anew.
    #[error("incarnation {incarnation} is fenced")]
    Fenced { incarnation: Incarnation },
    /// Another living incarnation owns the record. The writer drops its copy and relays to the owner.
    #[error("the record belongs to incarnation {owner}")]
    NotOwner { owner: Incarnation },
    /// The record's version is another one; 0: there is none. The writer reads again and decides again.
    #[error("the record is at version {version}")]
    Stale { version: u64 },
    /// Another holder has the claim; `holder_key` is the first record, in order of keys, that holds it.
    #[error("{claim} is held by {holder}")]
    Claimed { claim: Arc<str>, holder: Arc<str>, holder_key: Arc<str> },
    /// Such an incarnation is not granted yet: to fence it now would mean nothing when it is.
    #[error("incarnation {incarnation} was never granted")]
    NotGranted { incarnation: Incarnation },
    /// An incarnation cannot be its own heir.
    #[error("incarnation {incarnation} cannot inherit from itself")]
    SelfHeir { incarnation: Incarnation },
    /// A limit of the store is passed; refused before it enters the log.
    #[error("{limit:?} passed")]
    TooLarge { limit: Limit },
}

/// What a change may not pass. Checked where a proposal comes in and not in the machine: a machine that judged by a
/// constant would differ between two versions of this crate that read the same log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    ChangesMax,
    KeyBytesMax,
    BodyBytesMax,
    ClaimsMax,
    /// Of a claim's name or holder.
    ClaimBytesMax,
}

impl Limit {
    pub const fn value(self) -> usize {
        match self {
            Self::ChangesMax => 1024,
            Self::KeyBytesMax => 256,
            Self::BodyBytesMax => 256 * 1024,
            Self::ClaimsMax => 64,
            Self::ClaimBytesMax => 512,
        }
    }

    /// The first limit that one of the changes passes.
    pub fn passed_by(changes: &[Change]) -> Option<Self> {
        let over = |size: usize, limit: Self| (size > limit.value()).then_some(limit);
        over(changes.len(), Self::ChangesMax).or_else(|| {
            changes.iter().find_map(|change| {
                let key = over(change.key().len(), Self::KeyBytesMax);
                let Change::Put { claims, body, .. } = change else { return key };
                let text = |claim: &Claim| over(claim.name.len().max(claim.holder.len()), Self::ClaimBytesMax);
                key.or_else(|| over(body.len(), Self::BodyBytesMax))
                    .or_else(|| over(claims.iter().len(), Self::ClaimsMax))
                    .or_else(|| claims.iter().find_map(text))
            })
        })
    }
}

/// A cluster-wide name and who holds it. Several records may hold one claim if they name the same holder (one user at
/// several computers shares a station); a claim held under the record's own key is exclusive (a dialog id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub name: Arc<str>,
    pub holder: Arc<str>,
}

/// A record's claims, in order of names, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Arc<str>, Arc<str>>", into = "BTreeMap<Arc<str>, Arc<str>>")]
pub struct Claims(Option<Arc<[Claim]>>);

impl Claims {
    /// (name, holder) pairs in any order; of two with the same name the later counts.
    pub fn new<N: Into<Arc<str>>, H: Into<Arc<str>>>(claims: impl IntoIterator<Item = (N, H)>) -> Self {
        claims.into_iter().map(|(name, holder)| (name.into(), holder.into())).collect::<BTreeMap<_, _>>().into()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Claim> {
        self.0.as_deref().unwrap_or_default().iter()
    }

    /// The same claims, with `key` standing in for every holder of that text: one allocation less for each.
    pub(crate) fn sharing(self, key: &Arc<str>) -> Self {
        if !self.iter().any(|claim| claim.holder == *key && !Arc::ptr_eq(&claim.holder, key)) {
            return self;
        }
        let share = |claim: &Claim| Claim {
            name: claim.name.clone(),
            holder: if claim.holder == *key { key.clone() } else { claim.holder.clone() },
        };
        Self(Some(self.iter().map(share).collect()))
    }

    pub fn holder(&self, name: &str) -> Option<&Arc<str>> {
        self.iter().find(|claim| *claim.name == *name).map(|claim| &claim.holder)
    }
}

impl From<BTreeMap<Arc<str>, Arc<str>>> for Claims {
    fn from(claims: BTreeMap<Arc<str>, Arc<str>>) -> Self {
        if claims.is_empty() {
            return Self(None);
        }
        Self(Some(claims.into_iter().map(|(name, holder)| Claim { name, holder }).collect()))
    }
}

impl From<Claims> for BTreeMap<Arc<str>, Arc<str>> {
    fn from(claims: Claims) -> Self {
        claims.iter().map(|claim| (claim.name.clone(), claim.holder.clone())).collect()
    }
}

/// A record's content: bytes the store never looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(Arc<[u8]>);

impl std::ops::Deref for Body {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<B: Into<Arc<[u8]>>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Body;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Body, E> {
                Ok(bytes.into())
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Body, E> {
                Ok(bytes.into())
            }
            // serde_json writes bytes as a list of numbers.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Body, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}
