//! Every metric there is. Names end in their unit, counters in `_total`.

use super::Kind::{Counter, Gauge};
use super::{Metric, Sample, Scrape};
use crate::admin::{ClusterView, ServiceView, VoterView};
use crate::machine::effect::EndReason;
use crate::machine::profile::Profile;
use crate::machine::refusal::Refusal;

pub(super) const LIST: &[Metric] = &[
    Metric {
        name: "lyncpin_build_info",
        kind: Gauge,
        help: "The software.",
        samples: |scrape| vec![Sample::labelled("version", &scrape.node.version, 1)],
    },
    Metric {
        name: "lyncpin_up_seconds",
        kind: Gauge,
        help: "Since this process began.",
        samples: |scrape| vec![Sample::of(scrape.node.uptime_s)],
    },
    Metric {
        name: "lyncpin_ready",
        kind: Gauge,
        help: "1: users may come here. A witness has none.",
        samples: |scrape| of_service(scrape, |_| u64::from(scrape.is_ready)),
    },
    Metric {
        name: "lyncpin_sessions",
        kind: Gauge,
        help: "Sessions served here.",
        samples: |scrape| of_service(scrape, |service| service.sessions as u64),
    },
    Metric {
        name: "lyncpin_calls",
        kind: Gauge,
        help: "Calls in those sessions.",
        samples: |scrape| of_service(scrape, |service| service.calls as u64),
    },
    Metric {
        name: "lyncpin_flows",
        kind: Gauge,
        help: "SIP connections.",
        samples: |scrape| of_service(scrape, |service| service.flows as u64),
    },
    Metric {
        name: "lyncpin_draining",
        kind: Gauge,
        help: "1: it hands its users over.",
        samples: |scrape| of_service(scrape, |service| u64::from(service.is_draining)),
    },
    Metric {
        name: "lyncpin_sign_ins_total",
        kind: Counter,
        help: "Users signed in, by product.",
        samples: |scrape| counted(scrape, "sign_in", "client", &Profile::ALL.map(Profile::name)),
    },
    Metric {
        name: "lyncpin_sign_in_refusals_total",
        kind: Counter,
        help: "Sign-ins refused, by reason.",
        samples: |scrape| {
            let mut reasons = Refusal::ALL.map(Refusal::name).to_vec();
            reasons.extend(["bad_request", "draining", "full"]);
            counted(scrape, "sign_in_refused", "reason", &reasons)
        },
    },
    Metric {
        name: "lyncpin_services_total",
        kind: Counter,
        help: "Services that users asked of the PBX, by what became of them.",
        samples: |scrape| {
            let services = scrape.figures.services.iter();
            services
                .map(|(service, outcome, count)| Sample::labelled("service", service, *count).and("outcome", outcome))
                .collect()
        },
    },
    Metric {
        name: "lyncpin_events_total",
        kind: Counter,
        help: "Events of the PBX that sessions were told.",
        samples: |scrape| of_service(scrape, |_| scrape.figures.events),
    },
    Metric {
        name: "lyncpin_session_restarts_total",
        kind: Counter,
        help: "Session actors that died and were restarted from their records.",
        samples: |scrape| of_service(scrape, |_| value(scrape, "session", "died")),
    },
    Metric {
        name: "lyncpin_sessions_parked_total",
        kind: Counter,
        help: "Inputs that crashed a session three times and are refused since.",
        samples: |scrape| of_service(scrape, |_| value(scrape, "session", "parked")),
    },
    Metric {
        name: "lyncpin_session_happenings_total",
        kind: Counter,
        help: "What else happened to sessions: taken_over, given_up, not_committed, monitor_failed ...",
        samples: |scrape| {
            let all = counted(scrape, "session", "kind", &["taken_over", "given_up", "not_committed"]);
            let has_its_own =
                |sample: &Sample| sample.labels.iter().any(|(_, kind)| kind == "died" || kind == "parked");
            all.into_iter().filter(|sample| !has_its_own(sample)).collect()
        },
    },
    Metric {
        name: "lyncpin_session_ends_total",
        kind: Counter,
        help: "Sessions that ended, by reason.",
        samples: |scrape| counted(scrape, "session_end", "reason", &EndReason::ALL.map(EndReason::name)),
    },
    Metric {
        name: "lyncpin_handovers_total",
        kind: Counter,
        help: "Sessions handed over on purpose: given, taken, kept.",
        samples: |scrape| counted(scrape, "handover", "way", &["given", "taken", "kept"]),
    },
    Metric {
        name: "lyncpin_takeovers_total",
        kind: Counter,
        help: "Times this node took the sessions of a dead one over.",
        samples: |scrape| of_service(scrape, |_| value(scrape, "takeover", "begun")),
    },
    Metric {
        name: "lyncpin_takeover_last_seconds",
        kind: Gauge,
        help: "How long the last takeover took, until every session had begun here; 0: there was none.",
        samples: |scrape| {
            let mut samples = of_service(scrape, |_| scrape.figures.takeover_last_ms);
            samples.iter_mut().for_each(|sample| sample.value /= 1_000.0);
            samples
        },
    },
    Metric {
        name: "lyncpin_flow_ends_total",
        kind: Counter,
        help: "SIP connections that ended, by reason.",
        samples: |scrape| counted(scrape, "flow_end", "reason", FLOW_ENDS),
    },
    Metric {
        name: "lyncpin_connects_total",
        kind: Counter,
        help: "Connections to front ends that were tried and failed.",
        samples: |scrape| counted(scrape, "connect", "outcome", &["failed"]),
    },
    Metric {
        name: "lyncpin_sip_messages_total",
        kind: Counter,
        help: "SIP requests and responses taken, and refusals without a quorum.",
        samples: |scrape| counted(scrape, "sip", "kind", &["requests", "responses", "no_quorum"]),
    },
    Metric {
        name: "lyncpin_sip_sent_total",
        kind: Counter,
        help: "SIP requests sent.",
        samples: |scrape| counted(scrape, "sip_sent", "kind", &["requests"]),
    },
    Metric {
        name: "lyncpin_relayed_messages_total",
        kind: Counter,
        help: "Messages brought to, or taken for, the node that serves them.",
        samples: |scrape| counted(scrape, "relay", "way", &["sent", "taken", "again", "sign_in"]),
    },
    Metric {
        name: "lyncpin_link_up",
        kind: Gauge,
        help: "1: the CTI link serves.",
        samples: |scrape| {
            let up = |state: &str| u64::from(state == "up");
            scrape.links.iter().map(|link| Sample::labelled("link", &link.name, up(&link.state))).collect()
        },
    },
    Metric {
        name: "lyncpin_link_reconnects_total",
        kind: Counter,
        help: "Times the CTI link came up again.",
        samples: |scrape| {
            let reconnects = scrape.figures.link_reconnects.iter();
            reconnects.map(|(link, count)| Sample::labelled("link", link, *count)).collect()
        },
    },
    Metric {
        name: "lyncpin_link_changes_total",
        kind: Counter,
        help: "CTI links that came up or went down.",
        samples: |scrape| counted(scrape, "link", "to", &["up", "down"]),
    },
    Metric {
        name: "lyncpin_link_outstanding",
        kind: Gauge,
        help: "Services the PBX has not answered yet.",
        samples: |scrape| {
            let links = scrape.links.iter();
            links.map(|link| Sample::labelled("link", &link.name, link.outstanding as u64)).collect()
        },
    },
    Metric {
        name: "lyncpin_traces",
        kind: Gauge,
        help: "Users that operators follow now.",
        samples: |scrape| of_service(scrape, |_| scrape.figures.traces),
    },
    Metric {
        name: "lyncpin_trace_lost_total",
        kind: Counter,
        help: "Lines of traces, and copies for a HEP collector, that were dropped because they came too fast.",
        samples: |scrape| of_service(scrape, |_| scrape.figures.trace_lost),
    },
    Metric {
        name: "lyncpin_quorum_changes_total",
        kind: Counter,
        help: "A quorum was lost or found again.",
        samples: |scrape| counted(scrape, "quorum", "to", &["lost", "found"]),
    },
    Metric {
        name: "lyncpin_cluster_leader",
        kind: Gauge,
        help: "1: this node leads.",
        samples: |scrape| of_voter(scrape, |voter| u64::from(voter.leader == Some(voter.id))),
    },
    Metric {
        name: "lyncpin_cluster_may_act",
        kind: Gauge,
        help: "1: a quorum hears this node.",
        samples: |scrape| of_voter(scrape, |voter| u64::from(voter.may_act)),
    },
    Metric {
        name: "lyncpin_cluster_applied_index",
        kind: Gauge,
        help: "The last entry of the log that was applied.",
        samples: |scrape| of_voter(scrape, |voter| voter.applied.unwrap_or_default()),
    },
    Metric {
        name: "lyncpin_store_bytes",
        kind: Gauge,
        help: "The record store on disk.",
        samples: |scrape| of_voter(scrape, |voter| voter.disk_bytes),
    },
    Metric {
        name: "lyncpin_store_log_bytes",
        kind: Gauge,
        help: "The log in it that is not cut yet.",
        samples: |scrape| of_voter(scrape, |voter| voter.log_bytes),
    },
    Metric {
        name: "lyncpin_store_records",
        kind: Gauge,
        help: "Records remembered.",
        samples: |scrape| of_voter(scrape, |voter| voter.records as u64),
    },
    Metric {
        name: "lyncpin_cluster_voters",
        kind: Gauge,
        help: "Voters there should be.",
        samples: |scrape| scrape.cluster.iter().map(|cluster| Sample::of(cluster.nodes.len() as u64)).collect(),
    },
    Metric {
        name: "lyncpin_cluster_voters_connected",
        kind: Gauge,
        help: "Voters that answer, this one too.",
        samples: |scrape| {
            let answering =
                |cluster: &ClusterView| cluster.nodes.iter().filter(|node| node.says.is_some()).count() as u64;
            scrape.cluster.iter().map(|cluster| Sample::of(answering(cluster))).collect()
        },
    },
    Metric {
        name: "lyncpin_cluster_spare_failures",
        kind: Gauge,
        help: "Voters that may yet be lost.",
        samples: |scrape| scrape.cluster.iter().map(|cluster| Sample::of(cluster.spare_failures as u64)).collect(),
    },
    Metric {
        name: "lyncpin_cluster_lag_entries",
        kind: Gauge,
        help: "Entries a voter has yet to apply.",
        samples: |scrape| {
            let nodes = scrape.cluster.iter().flat_map(|cluster| &cluster.nodes);
            nodes.filter_map(|node| Some(Sample::labelled("voter", &node.name, node.lag?))).collect()
        },
    },
    Metric {
        name: "lyncpin_certificate_expiry_seconds",
        kind: Gauge,
        help: "Until the certificate in use expires, by what it is for; below 0: since it expired.",
        samples: |scrape| {
            let left = |(what_for, seconds): &(&str, i64)| Sample {
                labels: vec![("use", (*what_for).to_owned())],
                value: *seconds as f64,
            };
            scrape.figures.certificates.iter().map(left).collect()
        },
    },
];

const FLOW_ENDS: &[&str] =
    &["closed_by_peer", "closed_by_us", "malformed", "head_timeout", "write_timeout", "too_slow", "broken"];

/// One sample of a node that serves users.
fn of_service(scrape: &Scrape, value: impl Fn(&ServiceView) -> u64) -> Vec<Sample> {
    scrape.node.service.iter().map(|service| Sample::of(value(service))).collect()
}

fn of_voter(scrape: &Scrape, value: impl Fn(&VoterView) -> u64) -> Vec<Sample> {
    scrape.node.voter.iter().map(|voter| Sample::of(value(voter))).collect()
}

/// The counters of a group, those known before they first count from 0 on.
fn counted(scrape: &Scrape, group: &str, label: &'static str, known: &[&'static str]) -> Vec<Sample> {
    if scrape.node.service.is_none() {
        return Vec::new();
    }
    let of_group = scrape.counters.iter().filter(|(found, _, _)| *found == group);
    let others = of_group.map(|(_, name, _)| *name).filter(|name| !known.contains(name));
    let names = known.iter().copied().chain(others);
    names.map(|name| Sample::labelled(label, name, value(scrape, group, name))).collect()
}

/// Of one counter; 0 before it first counts.
fn value(scrape: &Scrape, group: &str, name: &str) -> u64 {
    let found = scrape.counters.iter().find(|(of, found, _)| *of == group && *found == name);
    found.map_or(0, |(_, _, value)| *value)
}
