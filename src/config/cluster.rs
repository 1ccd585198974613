//! `[cluster]`: the voters of a pair and how they reach each other.

use std::path::PathBuf;

use super::reader::settings;
use super::value::choice;

choice! {
    /// What a voter does beside voting.
    pub enum VoterRole {
        Data = "data",
        Witness = "witness",
    }
}

choice! {
    /// How fast silence is taken for a death.
    pub enum Pace {
        Default = "default",
        Lan = "lan",
        Wan = "wan",
    }
}

settings! {
    /// The pair and its witness. Without a [[cluster.voter]] this is a node alone, which keeps its records in memory.
    pub struct Cluster {
        /// The same on every voter, and another one than any other pair's.
        name: String = "lyncpin".to_owned();
        /// Every voter, this node among them, with the same entries on each.
        voter: Vec<Voter> = Vec::new();
        /// default: 50 ms heartbeats, 150 to 300 ms of silence; lan: 30 ms, 90 to 150 ms;
        /// wan: 150 ms, 500 to 1000 ms, for voters far apart or machines busy with other things.
        pace: Pace = Pace::Default;
        /// Two data nodes without a witness: when one dies, or the line between them, the other stops until a person acts.
        accept_manual_failover: bool = false;
        /// This node comes to a cluster that lives, under an id no node has had, and waits to be added.
        joins: bool = false;
        /// Certificates of the voters. Only when every voter is on this machine they may be left out.
        tls: ClusterTls = ClusterTls::default();
    }
}

settings! {
    /// One voter.
    pub struct Voter {
        /// Its [node] id.
        id: u32;
        /// host:port where it listens for the others.
        address: String;
        /// data: serves users; witness: the third vote.
        role: VoterRole = VoterRole::Data;
    }
}

settings! {
    /// Certificates between voters, of an authority of the cluster's own. Each holds the DNS name node-ID.lyncpin.internal.
    pub struct ClusterTls {
        /// Our certificate and its chain, PEM.
        cert: Option<PathBuf> = None;
        /// Its private key, PEM.
        key: Option<PathBuf> = None;
        /// The cluster's own authority, PEM.
        ca: Option<PathBuf> = None;
    }
}

impl Cluster {
    /// What the records call a voter.
    pub fn voter_name(id: u32) -> String {
        format!("node{id}")
    }
}
