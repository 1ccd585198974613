// The nodes beside each other: who leads, who owns how much, whose lease holds.

import { el } from "./dom.js";
import { count, duration, list, sentence } from "./words.js";

/** Entries on their way while users are busy. */
const LAG_USUAL = 100;

/** What it does, in one word or two, and how good that is. */
function state(node) {
  const service = node.says?.service;
  if (!node.says) return ["bad", "does not answer"];
  if (node.says.voter && !node.says.voter.may_act) return ["bad", "hears no quorum"];
  if (!service) return ["ok", "votes"];
  if (service.is_draining) return ["warn", "draining"];
  return service.is_ready ? ["ok", "serves users"] : ["warn", "takes no users"];
}

const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

function facts(node, cluster, latest) {
  const { says } = node;
  const { voter, service } = says;
  const made = [];
  if (voter) {
    made.push(fact("Role", voter.leader === voter.id ? `leads, term ${voter.term}` : "follows"));
    made.push(fact("Lease", voter.may_act ? "holds" : "has run out"));
    made.push(fact("Log", (node.lag ?? 0) > LAG_USUAL ? `${count(node.lag, "entry", "entries")} behind` : "caught up"));
  }
  if (service) made.push(fact("CTI links", `${service.links_up} of ${service.links} up`));
  if (service) made.push(fact("SIP connections", service.flows.toLocaleString("en")));
  made.push(fact("Version", says.version === latest ? says.version : `${says.version}, not the newest here`));
  if (voter?.incarnation !== null && voter?.incarnation !== undefined) made.push(fact("Life", `no. ${voter.incarnation}`));
  made.push(fact("Runs for", duration(says.uptime_s)));
  return el("dl.facts", {}, ...made);
}

function column(node, cluster, own, latest) {
  const [level, word] = state(node);
  const service = node.says?.service;
  const leads = node.says !== null && cluster.leader === node.id && !cluster.is_alone;
  const tags = [leads ? "leads" : "", node.name === own ? "this page" : ""].filter(Boolean);
  const heading = el("h3", {}, el("span.node-name", {}, node.name), ...tags.map((tag) => el("span.tag", {}, tag)));
  const figures = service
    ? el(
        "p.figures",
        {},
        el("span.figure", {}, el("b", {}, service.sessions.toLocaleString("en")), service.sessions === 1 ? "session" : "sessions"),
        el("span.figure", {}, el("b", {}, service.calls.toLocaleString("en")), service.calls === 1 ? "call" : "calls"),
      )
    : null;
  const role = node.role === "data" ? null : el("p.quiet", {}, "Witness: gives the third vote, serves nobody.");
  const silent = node.says ? null : el("p.quiet", {}, node.address ? `Last known at ${node.address}.` : "");
  return el(
    "article.node",
    { "data-level": level, "data-node": node.name },
    heading,
    el("p.state", {}, el("span.dot", { "aria-hidden": "true" }), word),
    figures,
    role,
    silent,
    node.says ? facts(node, cluster, latest) : null,
  );
}

export function nodes(cluster, own) {
  const versions = cluster.nodes.map((node) => node.says?.version).filter(Boolean);
  const latest = versions.sort((one, other) => one.localeCompare(other, "en", { numeric: true })).at(-1);
  return cluster.nodes.map((node) => column(node, cluster, own, latest));
}

/** Whether a planned journey may begin, and why not. */
export function says(cluster) {
  if (cluster.is_alone) return "";
  const { ready_for_switchover: switchover, ready_for_upgrade: upgrade } = cluster;
  if (switchover.is_so && upgrade.is_so) return "Ready for a switchover and for an upgrade.";
  const against = switchover.is_so ? upgrade.reasons : switchover.reasons;
  const what = switchover.is_so ? "Ready for a switchover, not for an upgrade" : "Not ready for a switchover";
  return sentence(`${what}: ${list(against)}`);
}
