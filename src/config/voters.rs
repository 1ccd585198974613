//! What must hold between the voters of `[cluster]`.

use super::cluster::{Cluster, VoterRole};
use super::problem::Problem;
use super::section::Config;

pub(super) fn check(config: &Config, found: &mut Vec<Problem>) {
    let Cluster { voter, tls, accept_manual_failover, .. } = &config.cluster;
    if voter.is_empty() {
        return;
    }
    for (n, one) in voter.iter().enumerate() {
        let key = |name: &str| format!("cluster.voter[{n}].{name}");
        if !(1..=255).contains(&one.id) {
            found.push(
                Problem::fault("range", key("id"))
                    .value(one.id.to_string())
                    .allowed("1 to 255")
                    .remedy("choose another number"),
            );
        }
        if voter[..n].iter().any(|other| other.id == one.id) {
            found.push(
                Problem::fault("voter_twice", key("id"))
                    .value(one.id.to_string())
                    .allowed("another voter has this id already")
                    .remedy("give each voter a number of its own, never one that a node had before"),
            );
        }
        let port = one.address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if port.is_none_or(|(host, port)| host.is_empty() || port == 0) {
            found.push(
                Problem::fault("form", key("address"))
                    .value(format!("{:?}", one.address))
                    .allowed("host:port, for instance \"10.0.0.1:7400\"")
                    .remedy("name the address of this voter's cluster listener"),
            );
        }
        if voter[..n].iter().any(|other| other.address == one.address) {
            found.push(
                Problem::fault("voter_address_twice", key("address"))
                    .value(format!("{:?}", one.address))
                    .allowed("another voter listens there already")
                    .remedy("give each voter an address of its own"),
            );
        }
    }
    if !voter.iter().any(|one| one.id == config.node.id) {
        found.push(
            Problem::fault("not_a_voter", "node.id")
                .value(config.node.id.to_string())
                .allowed("one of the ids under [[cluster.voter]]")
                .remedy("add a [[cluster.voter]] for this node, or correct its id"),
        );
    }
    let data = voter.iter().filter(|one| one.role == VoterRole::Data).count();
    if data == 0 {
        found.push(
            Problem::fault("no_data_node", "cluster.voter")
                .allowed("at least one voter has the role \"data\"; a witness serves nobody")
                .remedy("give a voter role = \"data\""),
        );
    }
    if voter.len() == 2 {
        let says = "of two voters none can go on alone: when one dies, or the line between them, the other answers 503 until a \
                    person recovers it";
        match accept_manual_failover {
            false => found.push(Problem::fault("no_witness", "cluster.voter").value("2 voters").allowed(says).remedy(
                "add a third voter with role = \"witness\", or set accept_manual_failover = true in [cluster]",
            )),
            true => found.push(
                Problem::warning("manual_failover", "cluster.accept_manual_failover")
                    .value("true")
                    .allowed(says)
                    .remedy("add a third voter with role = \"witness\""),
            ),
        }
    }
    let files = [("cert", &tls.cert), ("key", &tls.key), ("ca", &tls.ca)];
    let is_local = voter.iter().all(|one| is_loopback(&one.address));
    if !is_local || files.iter().any(|(_, file)| file.is_some()) {
        for (name, _) in files.iter().filter(|(_, file)| file.is_none()) {
            found.push(
                Problem::fault("voters_without_tls", format!("cluster.tls.{name}"))
                    .allowed(
                        "between machines voters speak mutual TLS, with certificates of the cluster's own authority",
                    )
                    .remedy("name the file under [cluster.tls]"),
            );
        }
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
