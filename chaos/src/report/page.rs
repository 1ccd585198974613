//! The page around the picture.

use std::fmt::Write;

use super::{escaped, timeline};
use crate::check::{Breach, Finding};
use crate::history::{Done, Entry, FaultTurn, History, What};
use crate::verdict::{Outcome, Verdict};

/// Entries shown before and after the first breach.
const AROUND: usize = 25;
const BREACHES_SHOWN: usize = 4;

const STYLE: &str = include_str!("page.css");

pub fn page(history: &History, verdict: &Verdict) -> String {
    let (class, word, says) = match verdict.outcome {
        Outcome::Green => ("good", "Green", "every promise that this run could test was kept"),
        Outcome::Red => ("bad", "Red", "a promise was broken"),
        Outcome::Invalid => ("unsure", "Invalid", "too little was done to prove anything"),
    };
    let scenario = escaped(&verdict.scenario);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{word}: {scenario}, seed {}</title><style>{STYLE}</style></head><body><main>\
         <p class=\"kicker\">Lyncpin · chaos run</p>\
         <h1><span class=\"badge {class}\">{word}</span> {scenario} <small>seed {}</small></h1><p class=\"lead\">{}{says}.</p>",
        verdict.seed,
        verdict.seed,
        story(history),
    );
    page += "<section><p>A pair of gateways (node 1, node 2) and a witness, which only votes, let users of Lync control desk phones of a \
             PBX. They were broken on purpose while simulated users went on working. Two witnesses that never trust the gateways wrote \
             down what they saw: the users' own programs and the PBX. The promises below were judged from those notes alone.</p></section>";
    page += &tiles(verdict);
    if !verdict.invalid.is_empty() {
        let why: String = verdict.invalid.iter().map(|why| format!("<li>{}</li>", escaped(why))).collect();
        page += &format!("<section class=\"box unsure\"><h2>Why this run proves nothing</h2><ul>{why}</ul></section>");
    }
    page += &format!(
        "<section><h2>What happened</h2><div class=\"picture\">{}</div>{LEGEND}</section>",
        timeline::svg(history, verdict)
    );
    page += &promises(&verdict.findings);
    page += &pauses(history, verdict);
    if let Some((finding, breach)) = first_breach(&verdict.findings) {
        page += &around(history, finding, breach);
    }
    page += &again(history, verdict);
    page + "</main></body></html>\n"
}

const LEGEND: &str = "<p class=\"legend\"><i class=\"n1\"></i>node 1 <i class=\"n2\"></i>node 2 <i class=\"ok\"></i>done \
    <i class=\"refused\"></i>refused <i class=\"unknown\"></i>unknown <i class=\"pause\"></i>pause <i class=\"fault\"></i>fault \
    <i class=\"breach\"></i>first breach of a promise</p>";

/// What was done, in a sentence.
fn story(history: &History) -> String {
    let faults: Vec<String> = history
        .faults()
        .iter()
        .map(|fault| {
            let nodes: Vec<String> = fault.nodes.iter().map(u32::to_string).collect();
            let whom = if nodes.is_empty() { String::new() } else { format!(" (node {})", nodes.join(", ")) };
            format!("{}{whom} at {:.1} s", escaped(fault.kind.text()), fault.began_us as f64 / 1e6)
        })
        .collect();
    if faults.is_empty() { String::new() } else { format!("{} — ", faults.join("; ")) }
}

fn tiles(verdict: &Verdict) -> String {
    let operations = &verdict.operations;
    let worst = verdict.recoveries.iter().map(|recovery| recovery.max_ms).max();
    let broken = verdict.findings.iter().filter(|finding| !finding.breaches.is_empty()).count();
    let tested = verdict.findings.iter().filter(|finding| finding.observed > 0).count();
    let tiles = [
        (format!("{}", operations.acknowledged), "requests answered".to_owned()),
        (format!("{}/s", operations.per_s), "while things were broken".to_owned()),
        (format!("{}", operations.failed), "refused, and not done".to_owned()),
        (format!("{}", operations.unknown), "without a known end".to_owned()),
        (worst.map_or("–".to_owned(), |ms| format!("{ms} ms")), "longest pause of a user".to_owned()),
        (format!("{broken} of {tested}"), "tested promises broken".to_owned()),
    ];
    let tiles: String =
        tiles.iter().map(|(value, what)| format!("<div><b>{value}</b><span>{what}</span></div>")).collect();
    format!("<section class=\"tiles\">{tiles}</section>")
}

fn promises(findings: &[Finding]) -> String {
    let mut rows = String::new();
    for finding in findings {
        let (class, word) = match (finding.observed, finding.breaches.len()) {
            (_, 1) => ("bad", "broken once".to_owned()),
            (_, 2..) => ("bad", format!("broken {} times", finding.breaches.len())),
            (0, 0) => ("none", "not tested here".to_owned()),
            (_, 0) => ("good", "kept".to_owned()),
        };
        let breaches: String = finding
            .breaches
            .iter()
            .take(BREACHES_SHOWN)
            .map(|breach| {
                format!("<div class=\"why\">{:.3} s: {}</div>", breach.at_us as f64 / 1e6, escaped(&breach.what))
            })
            .collect();
        // Err: a string takes everything.
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{}{breaches}</td><td class=\"number\">{}</td><td class=\"{class}\">{word}</td></tr>",
            finding.id,
            escaped(&finding.title),
            finding.observed
        );
    }
    format!(
        "<section><h2>The promises</h2><table><thead><tr><th></th><th>promise</th><th class=\"number\">looked at</th><th>result</th>\
         </tr></thead><tbody>{rows}</tbody></table></section>"
    )
}

fn pauses(history: &History, verdict: &Verdict) -> String {
    if verdict.recoveries.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for recovery in &verdict.recoveries {
        let goal = recovery.goal_ms.map_or("none promised".to_owned(), |goal| format!("{goal} ms"));
        let class = match recovery.goal_ms {
            Some(goal) if recovery.p99_ms <= goal => "good",
            Some(_) => "unsure",
            None => "none",
        };
        // Err: a string takes everything.
        let _ = write!(
            rows,
            "<tr><td>{}</td><td class=\"number\">{:.1} s</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number {class}\">{}</td><td class=\"number\">{}</td><td class=\"number\">{goal}</td></tr>",
            escaped(recovery.kind.text()),
            recovery.began_us as f64 / 1e6,
            recovery.users,
            recovery.p50_ms,
            recovery.p90_ms,
            recovery.p99_ms,
            recovery.max_ms
        );
    }
    format!(
        "<section><h2>How long users waited</h2><p>The longest time each of {} users, who ask without a pause, had to wait for an answer \
         while a fault lasted, in milliseconds. A goal holds for 99 of 100 users on a machine of its own; this run allowed {} times that, \
         and what users wait here when nothing is broken.</p><table><thead><tr><th>fault</th><th class=\"number\">began</th>\
         <th class=\"number\">users</th><th class=\"number\">p50</th><th class=\"number\">p90</th><th class=\"number\">p99</th>\
         <th class=\"number\">max</th><th class=\"number\">goal (p99)</th></tr></thead><tbody>{rows}</tbody></table></section>",
        history.run.probers.len(),
        history.run.slack
    )
}

fn first_breach(findings: &[Finding]) -> Option<(&Finding, &Breach)> {
    let firsts = findings.iter().filter_map(|finding| Some((finding, finding.breaches.first()?)));
    firsts.min_by_key(|(_, breach)| breach.at_us)
}

/// What both witnesses saw just before and after.
fn around(history: &History, finding: &Finding, breach: &Breach) -> String {
    let user = breach
        .what
        .split_once("user ")
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let is_about = |entry: &&Entry| match user_of(&entry.what) {
        Some(about) => user.as_deref().is_none_or(|user| user == about),
        None => matches!(
            entry.what,
            What::Phase { .. } | What::Process { .. } | What::Health { .. } | What::Fault { .. } | What::Notice { .. }
        ),
    };
    let told: Vec<&Entry> = history.entries.iter().filter(is_about).collect();
    let at = told.partition_point(|entry| entry.at_us < breach.at_us);
    let mut rows = String::new();
    for entry in &told[at.saturating_sub(AROUND)..(at + AROUND).min(told.len())] {
        let (who, what) = sentence(&entry.what);
        let class = if entry.at_us == breach.at_us { " class=\"here\"" } else { "" };
        // Err: a string takes everything.
        let _ = write!(
            rows,
            "<tr{class}><td class=\"number\">{:.3} s</td><td>{who}</td><td>{}</td></tr>",
            entry.at_us as f64 / 1e6,
            escaped(&what)
        );
    }
    let whom =
        user.filter(|user| !user.is_empty()).map_or(String::new(), |user| format!(" (user {user} and the nodes)"));
    format!(
        "<section><h2>Around the first breach: {}</h2><p class=\"why\">{:.3} s: {}</p><p>What was seen just before and after{whom}.</p>\
         <table class=\"log\"><tbody>{rows}</tbody></table></section>",
        finding.id,
        breach.at_us as f64 / 1e6,
        escaped(&breach.what)
    )
}

fn user_of(what: &What) -> Option<&str> {
    match what {
        What::SignedIn { user, .. } | What::SignedOut { user } | What::Event { user, .. } => Some(user),
        What::Broke { user, .. } | What::Told { user, .. } => Some(user),
        What::Operation(operation) => Some(&operation.user),
        What::Asked(asked) => asked.user.as_deref(),
        _ => None,
    }
}

/// Who saw it, and what it was.
fn sentence(what: &What) -> (&'static str, String) {
    match what {
        What::Phase { phase } => ("conductor", format!("phase: {phase:?}")),
        What::Process { node, life, turn } => ("conductor", format!("process of node {node}, life {life}: {turn:?}")),
        What::Health { node, serves } => {
            ("watcher", format!("node {node} {}", if *serves { "serves" } else { "does not serve" }))
        }
        What::Fault { name, nodes, turn, .. } => match turn {
            FaultTurn::Bit(proof) => ("conductor", format!("{} took effect: {proof}", name.text())),
            turn => ("conductor", format!("{} at nodes {nodes:?}: {turn:?}", name.text())),
        },
        What::Notice { node, shown, how, .. } => (
            "watcher",
            format!("node {node}: the fault {}: {how}", if *shown { "shows" } else { "is seen to be over" }),
        ),
        What::SignedIn { user, .. } => ("client", format!("{user} signed in")),
        What::SignedOut { user } => ("client", format!("{user} signs out")),
        What::Operation(operation) => {
            let result = match &operation.result {
                Done::Ok => "ok".to_owned(),
                Done::Failed(_, why) => format!("refused: {why}"),
                Done::Unknown(why) => format!("unknown: {why}"),
            };
            let number = operation.number.as_deref().unwrap_or_default();
            (
                "client",
                format!("{} asked {} {number} (CSeq {}): {result}", operation.user, operation.op, operation.cseq),
            )
        }
        What::Event { user, event, call, cseq } => {
            ("client", format!("{user} heard {event} of call {call} (CSeq {cseq})"))
        }
        What::Broke { user, detail, .. } => ("client", format!("{user}: the gateway broke a rule: {detail}")),
        What::Asked(asked) => {
            let done = if asked.was_done { "done" } else { "refused" };
            ("PBX", format!("node {} (life {}) asked {}: {done}", asked.node, asked.life, asked.service))
        }
        What::Told { user, event, call } => ("PBX", format!("told {user}: {event} of call {call}")),
        other => ("", format!("{other:?}")),
    }
}

fn again(history: &History, verdict: &Verdict) -> String {
    let options: String = history
        .run
        .options
        .iter()
        .map(|(name, value)| format!("<tr><td>{}</td><td>{}</td></tr>", escaped(name), escaped(value)))
        .collect();
    format!(
        "<section><h2>Again</h2><p>The same faults at the same times, to the same nodes:</p><pre>{}</pre>\
         <table class=\"log\"><tbody>{options}</tbody></table></section>",
        escaped(&verdict.replay)
    )
}
