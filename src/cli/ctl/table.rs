//! Tables for people.

use std::io::{self, Write};

use crate::admin::{ClusterView, Judgement, LinkView, NodeView, RefusalView, SessionView};

/// Rows under a head, in columns as wide as they must be.
fn table(out: &mut impl Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "  {}", padded.join("  ").trim_end())
    };
    line(&mut head.iter().copied())?;
    rows.iter().try_for_each(|row| line(&mut row.iter().map(String::as_str)))
}

pub fn status(out: &mut impl Write, node: &NodeView, cluster: Option<&ClusterView>) -> io::Result<()> {
    let Some(cluster) = cluster else {
        writeln!(out, "{} is alone (version {}, up {})\n", node.name, node.version, duration(node.uptime_s))?;
        return table(out, HEAD_ALONE, &[alone(node)]);
    };
    writeln!(
        out,
        "Cluster {}, epoch {}, feature level {}; asked: {}\n",
        cluster.name, cluster.epoch, cluster.feature_level, node.name
    )?;
    let rows: Vec<Vec<String>> = cluster
        .nodes
        .iter()
        .map(|seen| {
            let says = seen.says.as_ref();
            let voter = says.and_then(|says| says.voter.as_ref());
            let service = says.and_then(|says| says.service.as_ref());
            let state = match (says, service) {
                (None, _) => "no answer".to_owned(),
                (Some(_), Some(service)) if service.is_draining => "draining".to_owned(),
                (Some(_), Some(service)) if service.is_ready => "serves".to_owned(),
                (Some(_), Some(service)) => service.not_ready.join(", "),
                (Some(_), None) => "votes".to_owned(),
            };
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            vec![
                seen.id.to_string(),
                seen.name.clone(),
                seen.role.clone(),
                state,
                if cluster.leader == Some(seen.id) { "leader" } else { "" }.to_owned(),
                or_dash(voter.map(|voter| if voter.may_act { "yes" } else { "NO" }.to_owned())),
                or_dash(service.map(|service| service.sessions.to_string())),
                or_dash(service.map(|service| service.calls.to_string())),
                or_dash(service.map(|service| format!("{}/{}", service.links_up, service.links))),
                or_dash(seen.lag.map(|lag| lag.to_string())),
                or_dash(voter.map(|voter| bytes(voter.disk_bytes))),
                or_dash(says.map(|says| says.version.clone())),
                or_dash(says.map(|says| duration(says.uptime_s))),
            ]
        })
        .collect();
    let head =
        ["ID", "NODE", "ROLE", "STATE", "LEADS", "LEASE", "SESSIONS", "CALLS", "LINKS", "LAG", "DISK", "VERSION", "UP"];
    table(out, &head, &rows)?;
    writeln!(out)?;
    match cluster.spare_failures {
        0 => writeln!(out, "Not one more voter may be lost.")?,
        1 => writeln!(out, "One more voter may be lost.")?,
        spare => writeln!(out, "{spare} more voters may be lost.")?,
    }
    judged(out, "a switchover", &cluster.ready_for_switchover)?;
    judged(out, "an upgrade", &cluster.ready_for_upgrade)
}

fn judged(out: &mut impl Write, what: &str, judgement: &Judgement) -> io::Result<()> {
    if judgement.is_so {
        return writeln!(out, "Ready for {what}.");
    }
    writeln!(out, "NOT ready for {what}:")?;
    judgement.reasons.iter().try_for_each(|reason| writeln!(out, "  - {reason}"))
}

const HEAD_ALONE: &[&str] = &["STATE", "SESSIONS", "CALLS", "LINKS", "CONNECTIONS"];

fn alone(node: &NodeView) -> Vec<String> {
    let Some(service) = &node.service else { return Vec::new() };
    let state = if service.is_ready { "serves".to_owned() } else { service.not_ready.join(", ") };
    let links = format!("{}/{}", service.links_up, service.links);
    vec![state, service.sessions.to_string(), service.calls.to_string(), links, service.flows.to_string()]
}

pub fn sessions(out: &mut impl Write, sessions: &[SessionView], total: usize) -> io::Result<()> {
    let row = |session: &SessionView| {
        vec![
            session.user.clone(),
            session.device.clone(),
            session.line.clone(),
            session.node.clone(),
            session.link.clone(),
            session.client.clone(),
            if session.is_out_of_service { "out of service" } else { "in service" }.to_owned(),
            if session.calls.is_empty() { "-".to_owned() } else { session.calls.join(", ") },
        ]
    };
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    table(out, &["USER", "DEVICE", "LINE", "NODE", "LINK", "CLIENT", "PHONE", "CALLS"], &rows)?;
    writeln!(out, "\n{} of {total} sessions", sessions.len())
}

pub fn links(out: &mut impl Write, links: &[LinkView]) -> io::Result<()> {
    let row = |link: &LinkView| {
        vec![
            link.name.clone(),
            link.address.clone(),
            link.state.clone(),
            link.sessions.to_string(),
            link.monitors.to_string(),
            link.recovering.to_string(),
            link.outstanding.to_string(),
            link.heartbeat_rtt_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
            link.generation.to_string(),
            link.last_error.clone().filter(|_| link.state != "up").unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = links.iter().map(row).collect();
    let head =
        ["LINK", "ADDRESS", "STATE", "SESSIONS", "MONITORS", "RECOVERING", "OPEN", "HEARTBEAT", "TRIES", "TROUBLE"];
    table(out, &head, &rows)
}

pub fn refusals(out: &mut impl Write, refusals: &[RefusalView]) -> io::Result<()> {
    if refusals.is_empty() {
        return writeln!(out, "Nobody was refused since this node began.");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let row = |refusal: &RefusalView| {
        let ago = now_ms.saturating_sub(refusal.at_ms) / 1000;
        vec![format!("{} ago", duration(ago)), refusal.user.clone(), refusal.reason.clone(), refusal.remedy.clone()]
    };
    let rows: Vec<Vec<String>> = refusals.iter().map(row).collect();
    table(out, &["WHEN", "USER", "REASON", "WHAT TO DO"], &rows)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let rows = [vec!["a".to_owned(), "jürgen".to_owned()], vec!["long cell".to_owned(), String::new()]];
        table(&mut out, &["ONE", "TWO"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  ONE        TWO\n  a          jürgen\n  long cell\n");
    }

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!([59, 61, 7_300, 90_000].map(duration), ["59 s", "1 min", "2 h 1 min", "1 d 1 h"]);
        assert_eq!([2_048, 5 << 20].map(bytes), ["2 KiB", "5 MiB"]);
    }
}
