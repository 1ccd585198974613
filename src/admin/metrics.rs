//! Metrics in the text format of Prometheus. Which there are stands in one list, [`list`]; rules, dashboard and tests go by it.

mod list;

use std::fmt::Write;

use self::list::LIST;
use super::view::{ClusterView, LinkView, NodeView};

/// All that one answer to a scraper is made of.
pub struct Scrape {
    pub node: NodeView,
    pub cluster: Option<ClusterView>,
    pub links: Vec<LinkView>,
    pub counters: Vec<(&'static str, &'static str, u64)>,
    pub figures: Figures,
    pub is_ready: bool,
}

/// What a node tells its metrics alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Services the PBX was asked for users: service, outcome, count.
    pub services: Vec<(&'static str, &'static str, u64)>,
    /// Events of the PBX that sessions were told.
    pub events: u64,
    /// How long the last takeover took; 0: there was none.
    pub takeover_last_ms: u64,
    /// Traces of operators that run.
    pub traces: u64,
    /// Lines of traces and copies for a collector that were dropped.
    pub trace_lost: u64,
    /// Times a link came up beyond the first, by name.
    pub link_reconnects: Vec<(String, u64)>,
    /// Certificates in use: what for, and seconds from now until they expire, negative when they have.
    pub certificates: Vec<(&'static str, i64)>,
}

/// The name of every metric there may be.
pub fn names() -> impl Iterator<Item = &'static str> {
    LIST.iter().map(|metric| metric.name)
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// One metric: what a scraper is told of it, and where its samples come from.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// None, where a node has nothing to tell: a witness has no links.
    samples: fn(&Scrape) -> Vec<Sample>,
}

struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Sample {
    fn of(value: u64) -> Self {
        // Exact up to 2^53, as every sample of Prometheus is.
        Self { labels: Vec::new(), value: value as f64 }
    }

    fn labelled(label: &'static str, name: &str, value: u64) -> Self {
        Self::of(value).and(label, name)
    }

    fn and(mut self, label: &'static str, name: &str) -> Self {
        self.labels.push((label, name.to_owned()));
        self
    }
}

impl Scrape {
    pub fn text(&self) -> String {
        let mut page = String::new();
        for Metric { name, kind, help, samples } in LIST {
            let samples = samples(self);
            if samples.is_empty() {
                continue;
            }
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            // Err: a string takes everything.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for Sample { labels, value } in samples {
                let labels: Vec<String> =
                    labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
                let _ = match labels.is_empty() {
                    true => writeln!(page, "{name} {value}"),
                    false => writeln!(page, "{name}{{{}}} {value}", labels.join(",")),
                };
            }
        }
        page
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ServiceView;

    fn link(name: &str, state: &str) -> LinkView {
        LinkView {
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
        }
    }

    fn alone(service: Option<ServiceView>) -> Scrape {
        let node = NodeView {
            name: "node1".into(),
            version: "0.1.0".into(),
            feature_level_max: 1,
            uptime_s: 5,
            voter: None,
            service,
        };
        let (counters, figures) = (Vec::new(), Figures::default());
        Scrape { node, cluster: None, links: Vec::new(), counters, figures, is_ready: true }
    }

    fn serving() -> Option<ServiceView> {
        Some(ServiceView {
            is_ready: true,
            not_ready: Vec::new(),
            is_draining: false,
            sessions: 0,
            calls: 0,
            flows: 0,
            links_up: 1,
            links: 2,
            links_down: vec!["cm2".to_owned()],
            last_takeover: None,
        })
    }

    #[test]
    fn each_metric_has_one_head_before_its_samples() {
        let mut scrape = alone(serving());
        scrape.links = vec![link("cm\"1", "up"), link("cm2", "down")];
        scrape.counters = vec![("sign_in_refused", "line_unknown", 3), ("sign_in_refused", "user_unknown", 1)];
        scrape.figures.certificates = vec![("sip", -5)];
        scrape.figures.takeover_last_ms = 41;
        scrape.figures.services = vec![("MakeCall", "ok", 7), ("MakeCall", "refused", 1)];
        let text = scrape.text();
        assert!(text.contains("lyncpin_link_up{link=\"cm\\\"1\"} 1\nlyncpin_link_up{link=\"cm2\"} 0\n"), "{text}");
        assert!(text.contains("lyncpin_sign_in_refusals_total{reason=\"line_unknown\"} 3\n"), "{text}");
        assert!(text.contains("lyncpin_certificate_expiry_seconds{use=\"sip\"} -5\n"), "{text}");
        assert!(text.contains("lyncpin_takeover_last_seconds 0.041\n"), "{text}");
        assert!(text.contains("lyncpin_services_total{service=\"MakeCall\",outcome=\"refused\"} 1\n"), "{text}");
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

    #[test]
    fn a_counter_is_there_before_it_first_counts() {
        // `increase()` sees nothing of a counter whose first sample is 1.
        let text = alone(serving()).text();
        for sample in [
            "lyncpin_takeovers_total 0",
            "lyncpin_session_restarts_total 0",
            "lyncpin_sessions_parked_total 0",
            "lyncpin_events_total 0",
            "lyncpin_sign_in_refusals_total{reason=\"line_not_allowed\"} 0",
            "lyncpin_sign_ins_total{client=\"lync2013\"} 0",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
        }
    }

    #[test]
    fn a_witness_does_not_count_as_a_node_that_serves() {
        // It said `lyncpin_ready 1`, so that the sum over all voters was never 0 and LyncpinNobodyServes never fired.
        let text = alone(None).text();
        assert!(!text.contains("lyncpin_ready") && !text.contains("lyncpin_sessions"), "{text}");
        assert!(text.contains("lyncpin_build_info{version=\"0.1.0\"} 1\n"), "{text}");
    }
}
