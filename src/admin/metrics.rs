//! Metrics in the text format of Prometheus: names end in their unit, counters in `_total`.

use std::fmt::Write;

use super::view::{ClusterView, LinkView, NodeView};

/// Counter groups of the node and what they are called outside: group, metric, label, help.
const COUNTERS: &[(&str, &str, &str, &str)] = &[
    ("sign_in", "lyncpin_sign_ins_total", "client", "Users signed in, by product."),
    ("sign_in_refused", "lyncpin_sign_in_refusals_total", "reason", "Sign-ins refused, by reason."),
    ("session", "lyncpin_session_happenings_total", "kind", "What happened to sessions: died, taken_over, parked ..."),
    ("session_end", "lyncpin_session_ends_total", "reason", "Sessions that ended, by reason."),
    ("flow_end", "lyncpin_flow_ends_total", "reason", "SIP connections that ended, by reason."),
    ("link", "lyncpin_link_changes_total", "to", "CTI links that came up or went down."),
    ("relay", "lyncpin_relayed_messages_total", "way", "Messages brought to, or taken for, the node that serves them."),
    ("quorum", "lyncpin_quorum_changes_total", "to", "A quorum was lost or found again."),
    ("sip", "lyncpin_sip_messages_total", "kind", "SIP requests and responses taken, and refusals without a quorum."),
    ("sip_sent", "lyncpin_sip_sent_total", "kind", "SIP requests sent."),
    ("connect", "lyncpin_connects_total", "outcome", "Connections to front ends that were tried."),
    ("handover", "lyncpin_handovers_total", "way", "Sessions handed over on purpose: given, taken, kept."),
];

pub struct Scrape {
    pub node: NodeView,
    pub cluster: Option<ClusterView>,
    pub links: Vec<LinkView>,
    pub counters: Vec<(&'static str, &'static str, u64)>,
    pub is_ready: bool,
}

impl Scrape {
    pub fn text(&self) -> String {
        let mut page = Page(String::new());
        page.one("lyncpin_build_info", "gauge", "The software.", &[("version", &self.node.version)], 1);
        page.one("lyncpin_up_seconds", "gauge", "Since this process began.", &[], self.node.uptime_s);
        page.one("lyncpin_ready", "gauge", "1: users may come here.", &[], u64::from(self.is_ready));
        if let Some(service) = &self.node.service {
            page.one("lyncpin_sessions", "gauge", "Sessions served here.", &[], service.sessions as u64);
            page.one("lyncpin_calls", "gauge", "Calls in those sessions.", &[], service.calls as u64);
            page.one("lyncpin_flows", "gauge", "SIP connections.", &[], service.flows as u64);
            page.one("lyncpin_draining", "gauge", "1: it hands its users over.", &[], u64::from(service.is_draining));
        }
        self.links(&mut page);
        self.cluster(&mut page);
        for (group, metric, label, help) in COUNTERS {
            let of_group = self.counters.iter().filter(|(found, _, _)| found == group);
            let mut first = true;
            for (_, name, value) in of_group {
                if std::mem::take(&mut first) {
                    page.head(metric, "counter", help);
                }
                page.sample(metric, &[(label, name)], *value);
            }
        }
        page.0
    }

    fn links(&self, page: &mut Page) {
        if self.links.is_empty() {
            return;
        }
        page.head("lyncpin_link_up", "gauge", "1: the CTI link serves.");
        for link in &self.links {
            page.sample("lyncpin_link_up", &[("link", &link.name)], u64::from(link.state == "up"));
        }
        page.head("lyncpin_link_connects_total", "counter", "Connections of the CTI link made or tried.");
        for link in &self.links {
            page.sample("lyncpin_link_connects_total", &[("link", &link.name)], link.generation);
        }
        page.head("lyncpin_link_outstanding", "gauge", "Services the PBX has not answered yet.");
        for link in &self.links {
            page.sample("lyncpin_link_outstanding", &[("link", &link.name)], link.outstanding as u64);
        }
    }

    fn cluster(&self, page: &mut Page) {
        if let Some(voter) = &self.node.voter {
            let leads = voter.leader == Some(voter.id);
            page.one("lyncpin_cluster_leader", "gauge", "1: this node leads.", &[], u64::from(leads));
            page.one("lyncpin_cluster_may_act", "gauge", "1: a quorum hears this node.", &[], u64::from(voter.may_act));
            let applied = voter.applied.unwrap_or_default();
            page.one("lyncpin_cluster_applied_index", "counter", "Entries of the log applied.", &[], applied);
            page.one("lyncpin_store_bytes", "gauge", "The record store on disk.", &[], voter.disk_bytes);
            page.one("lyncpin_store_log_bytes", "gauge", "The log in it that is not cut yet.", &[], voter.log_bytes);
            page.one("lyncpin_store_records", "gauge", "Records remembered.", &[], voter.records as u64);
        }
        if let Some(cluster) = &self.cluster {
            let connected = cluster.nodes.iter().filter(|node| node.says.is_some()).count() as u64;
            page.one("lyncpin_cluster_voters", "gauge", "Voters there should be.", &[], cluster.nodes.len() as u64);
            page.one("lyncpin_cluster_voters_connected", "gauge", "Voters that answer, this one too.", &[], connected);
            let spare = cluster.spare_failures as u64;
            page.one("lyncpin_cluster_spare_failures", "gauge", "Voters that may yet be lost.", &[], spare);
            page.head("lyncpin_cluster_lag_entries", "gauge", "Entries a voter has yet to apply.");
            for node in &cluster.nodes {
                if let Some(lag) = node.lag {
                    page.sample("lyncpin_cluster_lag_entries", &[("voter", &node.name)], lag);
                }
            }
        }
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Err: a string takes everything.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.head(name, kind, help);
        self.sample(name, labels, value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_one_head_before_its_samples() {
        let link = |name: &str, state: &str| LinkView {
            name: name.to_owned(),
            address: String::new(),
            state: state.to_owned(),
            generation: 2,
            last_error: None,
            next_try_in_ms: None,
            sessions: 0,
            monitors: 0,
            recovering: 0,
            outstanding: 0,
            heartbeat_rtt_ms: None,
        };
        let node = NodeView {
            name: "node1".into(),
            version: "0.1.0".into(),
            feature_level_max: 1,
            uptime_s: 5,
            voter: None,
            service: None,
        };
        let scrape = Scrape {
            node,
            cluster: None,
            links: vec![link("cm\"1", "up"), link("cm2", "down")],
            counters: vec![("sign_in_refused", "line_unknown", 3), ("sign_in_refused", "user_unknown", 1)],
            is_ready: true,
        };
        let text = scrape.text();
        assert!(text.contains("lyncpin_link_up{link=\"cm\\\"1\"} 1\nlyncpin_link_up{link=\"cm2\"} 0\n"), "{text}");
        assert!(text.contains("lyncpin_sign_in_refusals_total{reason=\"line_unknown\"} 3\n"), "{text}");
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let mut once = heads.clone();
        once.sort();
        once.dedup();
        assert_eq!(heads.len(), once.len(), "{text}");
        for sample in text.lines().filter(|line| !line.starts_with('#')) {
            let name = sample.split(['{', ' ']).next().unwrap();
            assert!(heads.iter().any(|head| head.split(' ').nth(2) == Some(name)), "{sample}");
        }
    }
}
