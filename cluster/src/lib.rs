//! A store of fenced records: what a node must remember, and who may change it. It knows no telephony.
//!
//! [`record`] is the contract, [`machine`] the deterministic machine that keeps it, [`store`] the way in for the
//! gateway, [`envelope`] the form a record's body travels in.
//!
//! The machine's rules are few and do not change when the gateway's rules change: a rule change therefore needs no
//! lock-step upgrade, and data that panics the gateway's rules costs one session on one node, never every node.

pub mod apply;
pub mod backup;
pub mod envelope;
pub mod image;
pub mod log;
pub mod machine;
pub mod membership;
pub mod memory;
pub mod mutant;
pub mod node;
pub mod peer;
pub mod raft;
pub mod record;
pub mod records;
pub mod recover;
pub mod replica;
pub mod runtime;
pub mod standing;
pub mod store;
pub mod wire;

pub use envelope::{EnvelopeError, Unknown};
pub use machine::{Command, Machine, Reply, Snapshot};
pub use memory::MemoryStore;
pub use record::{Body, Change, Claim, Claims, Incarnation, Limit, Record, Refusal};
pub use store::{CommitError, FencedStore, Member, Notice, Pending, Watch, Watched};
