// Each CTI link, as every node has it.

import { el } from "./dom.js";
import { count, gap, sentence } from "./words.js";

const WORDS = { up: "up", down: "down", connecting: "connecting", authenticating: "logging in", syncing: "coming up", draining: "draining" };

const level = (state) => (state === "up" ? "ok" : state === "down" || state === "no answer" ? "bad" : "warn");

function mark(state) {
  return el("span.mark", { "data-level": level(state) }, el("span.dot", { "aria-hidden": "true" }), WORDS[state] ?? state);
}

/** What the other nodes say: they tell the names of those that are down. */
function there(node, name) {
  const service = node.says?.service;
  if (!service) return el("td", { "data-label": node.name }, el("span.quiet", {}, "no answer"));
  return el("td", { "data-label": node.name }, mark((service.links_down ?? []).includes(name) ? "down" : "up"));
}

function here(link, own) {
  const beat = link.heartbeat_rtt_ms === null ? null : el("span.quiet", {}, ` heartbeat ${gap(link.heartbeat_rtt_ms)}`);
  const made = [mark(link.state), link.state === "up" ? beat : null];
  if (link.state !== "up") {
    const next = link.next_try_in_ms === null ? "" : ` Next try in ${gap(Math.max(link.next_try_in_ms, 100))}.`;
    if (link.last_error || next) made.push(el("p.why", {}, `${link.last_error ? sentence(link.last_error) : ""}${next}`));
  }
  return el("td", { "data-label": own }, ...made);
}

export function head(cluster, own) {
  const others = cluster.nodes.filter((node) => node.role === "data" && node.name !== own);
  const names = ["Link", own, ...others.map((node) => node.name), "Carries"];
  return [el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))];
}

export function rows(links, cluster, own) {
  const others = cluster.nodes.filter((node) => node.role === "data" && node.name !== own);
  return links.map((link) => {
    const busy = link.recovering > 0 ? `, ${link.recovering} recovering` : "";
    return el(
      "tr",
      { "data-link": link.name },
      el("th", { scope: "row" }, link.name, el("span.address", {}, link.address)),
      here(link, own),
      ...others.map((node) => there(node, link.name)),
      el("td.number", { "data-label": "Carries" }, `${count(link.sessions, "session")}${busy}`),
    );
  });
}

export function says(links) {
  const up = links.filter((link) => link.state === "up").length;
  return `${up} of ${links.length} up at this node`;
}
