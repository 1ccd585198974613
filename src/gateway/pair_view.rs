//! The pair as an operator sees it: what every voter tells, put together and judged. The witness sees it the same way.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Instant;

use crate::admin::{Act, ClusterView, Desk, Done, Judgement, NodeView, NotDone, SeenNode, ServiceView};
use crate::store::pair::{FEATURE_LEVEL, Pair, Voice};

/// A voter this far behind is not counted as one that could go on.
const LAG_MAX: u64 = 10_000;

pub(super) fn node_view(name: &str, began: Instant, pair: Option<&Pair>, service: Option<ServiceView>) -> NodeView {
    NodeView {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_level_max: FEATURE_LEVEL,
        uptime_s: began.elapsed().as_secs(),
        voter: pair.map(Pair::status),
        service,
    }
}

pub(super) async fn cluster_view(pair: &Pair, own: NodeView) -> ClusterView {
    let (name, epoch) = pair.cluster();
    let status = pair.status();
    let mut told: BTreeMap<u64, Option<NodeView>> = pair
        .tellings()
        .await
        .into_iter()
        .map(|(id, told)| (id, told.and_then(|told| serde_json::from_slice(&told).ok())))
        .collect();
    told.insert(status.id, Some(own));
    let newest = told.values().flatten().filter_map(|node| node.voter.as_ref()?.last).max().unwrap_or_default();
    let nodes: Vec<SeenNode> = status
        .voters
        .iter()
        .map(|(id, voter)| {
            let says = told.remove(id).flatten();
            let applied = says.as_ref().and_then(|node| node.voter.as_ref()).and_then(|voter| voter.applied);
            SeenNode {
                id: *id,
                name: voter.name.clone(),
                role: voter.role.to_string(),
                address: voter.address.clone(),
                lag: says.is_some().then(|| newest.saturating_sub(applied.unwrap_or_default())),
                says,
            }
        })
        .collect();
    let spare_failures = spare_failures(&nodes);
    ClusterView {
        name,
        epoch,
        feature_level: status.feature_level,
        leader: status.leader,
        ready_for_switchover: Judgement::of(against_switchover(&nodes)),
        ready_for_upgrade: Judgement::of(against_upgrade(&nodes, spare_failures)),
        spare_failures,
        nodes,
    }
}

/// How many voters that could go on may be lost until no majority is left.
fn spare_failures(nodes: &[SeenNode]) -> usize {
    let good = nodes.iter().filter(|node| node.lag.is_some_and(|lag| lag <= LAG_MAX)).count();
    good.saturating_sub(nodes.len() / 2 + 1)
}

fn service(node: &SeenNode) -> Option<&ServiceView> {
    node.says.as_ref()?.service.as_ref()
}

fn against_switchover(nodes: &[SeenNode]) -> Vec<String> {
    let mut reasons = Vec::new();
    let data: Vec<&SeenNode> = nodes.iter().filter(|node| node.role == "data").collect();
    if data.len() < 2 {
        reasons.push("there is one node only that serves users".to_owned());
    }
    for node in data {
        match service(node) {
            None => reasons.push(format!("{} does not answer", node.name)),
            Some(service) => {
                let own = service.not_ready.iter().map(|why| format!("{}: {why}", node.name));
                reasons.extend(own);
                if service.links_up == 0 {
                    reasons.push(format!("{} has no CTI link that is up", node.name));
                }
            }
        }
        if let Some(lag) = node.lag.filter(|lag| *lag > LAG_MAX) {
            reasons.push(format!("{} is {lag} entries behind", node.name));
        }
    }
    reasons
}

fn against_upgrade(nodes: &[SeenNode], spare_failures: usize) -> Vec<String> {
    let mut reasons = against_switchover(nodes);
    for node in nodes.iter().filter(|node| node.role != "data" && node.says.is_none()) {
        reasons.push(format!("{} does not answer", node.name));
    }
    if spare_failures == 0 {
        reasons.push("no voter may be lost now: a node that is stopped for its upgrade would stop the pair".to_owned());
    }
    reasons
}

/// The node that can take this one's users.
pub(super) fn heir(cluster: &ClusterView, own: &str) -> Result<String, String> {
    let others = || cluster.nodes.iter().filter(|node| node.role == "data" && node.name != own);
    let is_ready = |node: &&SeenNode| {
        service(node).is_some_and(|service| service.is_ready && service.links_up > 0)
            && node.lag.is_some_and(|lag| lag <= LAG_MAX)
    };
    if let Some(heir) = others().find(is_ready) {
        return Ok(heir.name.clone());
    }
    let why: Vec<String> = others()
        .map(|node| match service(node) {
            None => format!("{} does not answer", node.name),
            Some(service) if service.links_up == 0 => format!("{} has no CTI link that is up", node.name),
            Some(service) => format!("{} is not ready: {}", node.name, service.not_ready.join(", ")),
        })
        .collect();
    Err(match why.is_empty() {
        true => "there is no other node that serves users".to_owned(),
        false => format!("no other node can take the users: {}", why.join("; ")),
    })
}

pub(super) async fn backup(pair: &Pair) -> Result<Vec<u8>, NotDone> {
    pair.backup().await.map_err(|why| NotDone::Failed(why.to_string()))
}

pub(super) async fn act(pair: &Pair, own: NodeView, act: Act) -> Result<Done, NotDone> {
    let failed = |why: std::io::Error| NotDone::Failed(why.to_string());
    match act {
        Act::AddVoter { id, address, is_witness } => {
            pair.add_voter(id, &address, is_witness).await.map_err(failed)?;
            Ok(Done::told(format!("voter {id} has caught up and votes")))
        }
        Act::RemoveVoter { id } => {
            if pair.status().voters.len() <= 1 {
                return Err(NotDone::Refused("the last voter cannot be removed".to_owned()));
            }
            pair.remove_voter(id).await.map_err(failed)?;
            Ok(Done::told(format!("voter {id} is let go for ever")))
        }
        Act::RaiseFeatureLevel => {
            let cluster = cluster_view(pair, own).await;
            let silent: Vec<&str> =
                cluster.nodes.iter().filter(|node| node.says.is_none()).map(|node| node.name.as_str()).collect();
            if !silent.is_empty() {
                let why = format!("{} does not answer, and may be of an older version", silent.join(", "));
                return Err(NotDone::Refused(why));
            }
            let common = cluster.nodes.iter().filter_map(|node| Some(node.says.as_ref()?.feature_level_max)).min();
            let level = pair.raise(common.unwrap_or_default()).await.map_err(failed)?;
            Ok(Done::told(format!("the cluster is at feature level {level}")))
        }
        Act::Restore { bytes } => {
            let records = pair.restore(&bytes).await.map_err(|why| NotDone::Refused(why.to_string()))?;
            Ok(Done::told(format!("{records} records restored")))
        }
        Act::Drain | Act::Undrain | Act::Switchover | Act::Reload => {
            Err(NotDone::Refused("a witness serves nobody".to_owned()))
        }
    }
}

/// Tells other nodes what a desk says of its node, as long as there is one.
pub(super) struct Teller<D>(pub Weak<D>);

impl<D: Desk> Voice for Teller<D> {
    fn tell(&self) -> Vec<u8> {
        // Err: never, every field can be written.
        self.0.upgrade().map(|desk| serde_json::to_vec(&desk.node()).unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, role: &str, lag: Option<u64>, not_ready: &[&str]) -> SeenNode {
        let service = (role == "data").then(|| ServiceView {
            is_ready: not_ready.is_empty(),
            not_ready: not_ready.iter().map(ToString::to_string).collect(),
            is_draining: false,
            sessions: 0,
            calls: 0,
            flows: 0,
            links_up: 1,
            links: 1,
            links_down: Vec::new(),
            last_takeover: None,
        });
        let says = lag.map(|_| NodeView {
            name: format!("node{id}"),
            version: String::new(),
            feature_level_max: 1,
            uptime_s: 0,
            voter: None,
            service,
        });
        SeenNode { id, name: format!("node{id}"), role: role.into(), address: String::new(), lag, says }
    }

    #[test]
    fn with_all_there_one_may_be_lost_and_both_journeys_may_begin() {
        let nodes = [node(1, "data", Some(0), &[]), node(2, "data", Some(3), &[]), node(3, "witness", Some(9), &[])];
        assert_eq!(spare_failures(&nodes), 1);
        assert_eq!((against_switchover(&nodes), against_upgrade(&nodes, 1)), (vec![], vec![]));
    }

    #[test]
    fn a_silent_witness_leaves_the_switchover_and_forbids_the_upgrade() {
        let nodes = [node(1, "data", Some(0), &[]), node(2, "data", Some(0), &[]), node(3, "witness", None, &[])];
        assert_eq!(spare_failures(&nodes), 0);
        assert_eq!(against_switchover(&nodes), Vec::<String>::new());
        let reasons = against_upgrade(&nodes, 0);
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons[0].contains("node3 does not answer"), "{reasons:?}");
    }

    #[test]
    fn each_reason_against_a_switchover_is_told() {
        let nodes = [
            node(1, "data", Some(0), &[]),
            node(2, "data", Some(LAG_MAX + 1), &["it is draining"]),
            node(3, "witness", Some(0), &[]),
        ];
        let reasons = against_switchover(&nodes);
        assert_eq!(reasons, ["node2: it is draining", "node2 is 10001 entries behind"]);
        assert_eq!(spare_failures(&nodes), 0, "one that far behind could not go on");
    }
}
