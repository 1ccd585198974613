//! The simulated PBX: a call model, served as CSTA XML over TCP, with faults on demand and a history of all it did.
//!
//! `model` (with `calling`, `routing`, `talking`, `joining`, `settings`) decides what happens to calls; `board` holds it
//! together with sessions, monitors and faults under one lock; `server` and `flow` carry the bytes.

mod board;
mod call;
mod calling;
mod check;
mod control;
mod desk;
mod device;
mod fault;
mod flow;
mod history;
mod joining;
mod model;
mod number;
mod options;
mod routing;
mod serve;
mod server;
mod session;
mod settings;
mod talking;
mod view;
mod words;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub use board::Stats;
pub use call::{Call, Connection, Party, PartyKind};
pub use check::Inconsistent;
pub use control::{CallSeen, LINE_BYTES_MAX, LinkSeen, PAGE_MAX, PartySeen, Reply, Request, RequestError};
pub use device::{Device, Forward};
pub use fault::Faults;
pub use history::{Did, Entry, Happening, HistoryPage, SessionTurn};
pub use model::{AddDevicesError, Applied, Due, Later, Model, ModelOptions, OutsideDoes, OutsideRule};
pub use number::{NumberPlan, PlanRule};
pub use options::{DeviceRange, LinkOptions, PbxOptions, Snapshots, Unknown};
pub use server::{PbxLab, StartError};
pub use settings::features;
pub use view::{CallView, DeviceView};
