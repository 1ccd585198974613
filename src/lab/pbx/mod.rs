//! The simulated PBX: a call model, served as CSTA XML over TCP, with faults on demand and a history of all it did.

mod call;
mod calling;
mod check;
mod device;
mod joining;
mod model;
mod number;
mod routing;
mod settings;
mod talking;
mod view;

pub use call::{Call, Connection, Party, PartyKind};
pub use check::Inconsistent;
pub use device::{Device, Forward};
pub use model::{AddDevicesError, Applied, Due, Later, Model, ModelOptions, OutsideDoes, OutsideRule};
pub use number::{NumberPlan, PlanRule};
pub use settings::features;
pub use view::{CallView, DeviceView};
#[cfg(test)]
mod walk;
