//! A pair on this machine, broken on purpose while users call: processes, a network of its own, disks of its own.
//!
//! `site` is what stands (nodes, witness, PBX, balancer, users), `plan` says what is done to it and when, `inject` does
//! it, `workload` is what the users do meanwhile, `notes` is where the witnesses write, and `conductor` leads through
//! the phases of a run.

mod account;
mod balancer;
mod conductor;
mod config;
mod damage;
mod disk;
mod doctor;
mod doors;
mod hostile;
mod inject;
mod load;
mod network;
mod notes;
mod observer;
mod outside;
mod plan;
mod population;
mod preload;
mod process;
mod site;
mod stalls;
mod storm;
mod switch;
mod watch;
mod workload;

pub use balancer::BalancerPart;
pub use conductor::{Live, run};
pub use doctor::Doctor;
pub use load::{Load, LoadReport};
pub use observer::ObserverPart;
pub use plan::{Plan, Profile, SCENARIOS, Step, Target};

use std::io;

/// The run could not be made; nothing is said about the product.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{command}: {says}")]
    Command { command: String, says: String },
    #[error("this machine cannot: {0}; `chaos doctor` tells more")]
    Unavailable(&'static str),
    #[error("the simulated PBX does not start: {0}")]
    Pbx(#[from] lyncpin::lab::pbx::StartError),
    #[error("the nodes do not serve within {0} s; see node*.log in the run's folder")]
    NeverServed(u64),
    #[error("{user} cannot sign in: {why}")]
    SignIn { user: String, why: lyncpin::client::SignInError },
    #[error("no such scenario: {0}; `chaos live --list` names them")]
    NoScenario(String),
    #[error("certificates: {0}")]
    Certificates(#[from] rcgen::Error),
}
