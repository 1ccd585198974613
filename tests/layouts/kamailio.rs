//! Behind Kamailio as a SIP proxy, with the files of `deploy/kamailio`. The front ends keep their connections; it is the proxy
//! that finds a node sick and sends a request that was not answered to the other one.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use futures_util::future::join_all;
use lyncpin::client::FrontEnd;

use crate::front_end::front_end;
use crate::pair::{NodeOptions, Pair, free_address};
use crate::part::{Part, shipped};
use crate::scenario::{Proxy, behind};

/// Kamailio tells front ends from nodes by their addresses.
const FRONT_ENDS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

struct Kamailio {
    part: Part,
    address: SocketAddr,
    nodes: [String; 2],
}

impl Proxy for Kamailio {
    const NAME: &str = "kamailio";
    const USERS: usize = 16;
    const TALKING: usize = 8;

    fn nodes() -> NodeOptions<'static> {
        NodeOptions {
            scheme: "tcp",
            sip: "trusted_peers = [\"127.0.0.1\"]\nkeepalive_s = 0".into(),
            sections: String::new(),
            voter: None,
        }
    }

    async fn start(pair: &Pair) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let nodes = [1, 2].map(|id| pair.sip(id).to_string());
        let list = folder.path().join("dispatcher.list").display().to_string();
        let text = shipped(
            "kamailio/dispatcher.list",
            &[("192.0.2.31:5065", nodes[0].clone()), ("192.0.2.32:5065", nodes[1].clone())],
        );
        fs::write(&list, text).unwrap();
        let text = shipped(
            "kamailio/kamailio.cfg",
            &[
                ("tcp:192.0.2.30:5065", format!("tcp:{address}")),
                ("192.0.2.10/32,192.0.2.11/32", "127.0.0.2/32".into()),
                ("192.0.2.31/32,192.0.2.32/32", "127.0.0.1/32".into()),
                ("/etc/kamailio/dispatcher.list", list),
                ("unix:/run/kamailio/kamailio_ctl", format!("unix:{}", folder.path().join("ctl").display())),
                // The example's own advice to the nodes.
                ("192.0.2.30", "127.0.0.1".into()),
            ],
        );
        fs::write(folder.path().join("kamailio.cfg"), text).unwrap();
        let part = Part::start("kamailio", folder, |folder| {
            let file = |name: &str| folder.join(name).display().to_string();
            let fixed = ["-DD", "-E", "-Y"].map(str::to_owned);
            let (runs, files) = (file(""), ["-f".into(), file("kamailio.cfg"), "-P".into(), file("pid")]);
            fixed.into_iter().chain([runs]).chain(files).collect()
        });
        let kamailio = Self { part, address, nodes };
        for id in 1..=2 {
            kamailio.until_up(id).await;
        }
        kamailio
    }

    async fn front_ends(&self) -> Vec<FrontEnd> {
        join_all((0..2).map(|_| front_end(FRONT_ENDS, self.address))).await
    }

    /// Whether its OPTIONS find a node well: active, and being asked.
    fn is_up(&self, id: u32) -> bool {
        let socket = format!("unix:{}", self.part.folder().join("ctl").display());
        let Ok(told) = Command::new("kamcmd").args(["-s", &socket, "dispatcher.list"]).output() else { return false };
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let node = format!("sip:{};", self.nodes[id as usize - 1]);
        let flags = told.split("URI: ").find(|entry| entry.starts_with(&node));
        flags.is_some_and(|entry| entry.contains("FLAGS: AP"))
    }
}

#[test]
fn behind_kamailio_a_node_is_killed_and_nobody_signs_in_again() {
    behind::<Kamailio>(async |site| {
        for (round, victim) in [1, 2, 1].into_iter().enumerate() {
            site.kill(round, victim).await;
        }
        let is_kept = |front_end: &FrontEnd| front_end.flows_lost() == 0;
        assert!(site.front_ends.iter().all(is_kept), "the proxy keeps the connections");
    });
}

#[test]
fn behind_kamailio_a_frozen_nodes_users_go_on_at_the_other_one() {
    behind::<Kamailio>(async |site| {
        site.freeze(1).await;
        site.thaw(1).await;
    });
}

#[test]
fn behind_kamailio_the_nodes_are_restarted_by_turns_and_nobody_signs_in_again() {
    behind::<Kamailio>(async |site| {
        for (round, id) in [1, 2, 1, 2].into_iter().enumerate() {
            site.restart(round, id).await;
        }
    });
}
