//! The laboratory: what stands in for the world when there is no PBX, no Lync and no balancer at hand.

pub mod balancer;
pub mod pbx;
pub mod users;
