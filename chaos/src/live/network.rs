//! Namespaces for the voters, joined by the switch: 10.77.0.1 to 3 are the nodes, this process has the other addresses.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tun_rs::{DeviceBuilder, Layer};

use super::LiveError;
use super::outside::run;
use super::switch::{Action, Match, Switch};

pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
/// Nobody trusts this one.
pub const INTRUDER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 66);
/// The PBX has two, one a link.
pub const PBX: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 101), Ipv4Addr::new(10, 77, 0, 102)];

pub fn node(node: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, node as u8)
}

pub fn namespace(node: u32) -> String {
    format!("lp-{node}")
}

pub struct Network {
    switch: Switch,
}

impl Network {
    /// Must run inside namespaces of its own (see `outside::inside`); all of it vanishes with them.
    pub fn start(voters: u32, seed: u64) -> Result<Self, LiveError> {
        // What is made below /run/netns must not be seen outside.
        run("mkdir -p /run/netns")?;
        run("mount -t tmpfs tmpfs /run/netns")?;
        run("ip link set lo up")?;
        let mut ports = Vec::new();
        for port in 0..=voters {
            let device = DeviceBuilder::new().layer(Layer::L2).name(format!("lp{port}")).mtu(1500).build_async()?;
            ports.push(device);
            run(&format!("ip link set lp{port} address 02:4c:50:00:00:{port:02x}"))?;
        }
        for address in [CLIENTS, BALANCER, INTRUDER].into_iter().chain(PBX) {
            run(&format!("ip addr add {address}/24 dev lp0"))?;
        }
        run("ip link set lp0 up")?;
        for voter in 1..=voters {
            let name = namespace(voter);
            run(&format!("ip netns add {name}"))?;
            run(&format!("ip link set lp{voter} netns {name}"))?;
            run(&format!("ip -n {name} link set lo up"))?;
            run(&format!("ip -n {name} addr add {}/24 dev lp{voter}", node(voter)))?;
            run(&format!("ip -n {name} link set lp{voter} up"))?;
        }
        Ok(Self { switch: Switch::start(ports, seed) })
    }

    pub fn add(&self, which: Match, action: Action) -> (u64, Arc<AtomicU64>) {
        self.switch.add(which, action)
    }

    pub fn remove(&self, rule: u64) {
        self.switch.remove(rule);
    }

    /// Cuts every TCP connection of a node, both ends hearing of it: how many there were.
    pub fn reset(&self, node: u32) -> Result<usize, LiveError> {
        let killed = run(&format!("nsenter --net=/run/netns/{} ss -K -t -n -H state established", namespace(node)))?;
        Ok(killed.lines().count())
    }
}
