//! Lyncpin: Remote Call Control for Lync that does not drop anybody.
//!
//! The folders are floors, and an import points down, or sideways inside one folder; `tests/tidy/` checks it.
//!
//! | floor | folders | what lives there |
//! |---|---|---|
//! | 0 words | [`sip`], [`csta`], [`config`], [`id`] | the trade's messages as data; no decision |
//! | 1 decisions | [`machine`] | `step(state, input, now) -> effects`: no clock, no I/O, no randomness |
//! | 2 edges | [`transport`], [`cti`], [`directory`], [`client`], [`store`], [`telemetry`], [`trace`], [`logging`], [`clock`] | bytes in and out, memory, time |
//! | 3 carriers | [`actor`], [`admin`], [`lab`] | carry out what the machines decide; hold no rule |
//! | 4 node | [`gateway`] | puts the parts together |
//! | 5 doors | [`cli`], `main.rs` | what a person starts |
//!
//! A request's way in: flow → `sip::stream` → book → session actor → `csta` → `machine::session` → `store` (commit)
//! → `Effect::Invoke` → link actor → `cti` → PBX. An event's way back is the same list read upwards, ending in an
//! INFO on the dialog.

// floor 0: words
pub mod config;
pub mod csta;
pub mod id;
pub mod mutant;
pub mod sip;
// floor 1: decisions
pub mod machine;
// floor 2: edges
pub mod client;
pub mod clock;
pub mod cti;
pub mod directory;
pub mod logging;
pub mod store;
pub mod telemetry;
pub mod trace;
pub mod transport;
// floor 3: carriers
pub mod actor;
pub mod admin;
pub mod lab;
// floor 4: the node
pub mod gateway;
// floor 5: doors
pub mod cli;
