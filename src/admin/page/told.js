// What has happened: the last takeover, who could not sign in, and the latest changes in one line each.

import { by, el, fill } from "./dom.js";
import { ago, count, gap, moment, reason_words, sentence } from "./words.js";

const REFUSALS_MAX = 20;
const LINES_MAX = 40;

const time = (at_ms) => el("time", { datetime: new Date(at_ms).toISOString() }, moment(at_ms));

/** The newest one that any node remembers. */
export function last_takeover(cluster) {
  const told = cluster.nodes.map((node) => node.says?.service?.last_takeover).filter(Boolean);
  return told.sort((one, other) => other.at_ms - one.at_ms)[0] ?? null;
}

function takeover_words({ is_planned, from, to, moved }) {
  const who = from ?? "a node";
  return is_planned ? `${who} gave ${count(moved, "session")} to ${to}` : `${who} was lost, ${to} took over ${count(moved, "session")}`;
}

export function takeover(last) {
  if (!last) return [el("p.quiet", {}, "None since the nodes were started.")];
  const stayed = last.stayed > 0 ? el("p.problem", {}, `${count(last.stayed, "session")} did not move.`) : null;
  const how = last.is_planned ? "the longest pause of a session" : "from the lost node's last word to the last session served again";
  return [
    el("p.gap", {}, el("b", {}, gap(last.gap_ms)), el("span", {}, how)),
    el("p", {}, sentence(takeover_words(last))),
    stayed,
    el("p.quiet", {}, time(last.at_ms), `, ${ago(last.at_ms)}`),
  ].filter(Boolean);
}

export function refusals(told) {
  if (told.length === 0) return [el("li.quiet", {}, "Nobody was refused at this node.")];
  return told.slice(0, REFUSALS_MAX).map((refusal) =>
    el(
      "li",
      {},
      el("p.who", {}, el("b", {}, refusal.user.replace(/^sips?:/, "") || "no user named"), time(refusal.at_ms)),
      el("p.why", {}, reason_words(refusal.reason)),
      el("p.remedy", {}, sentence(refusal.remedy)),
      refusal.client ? el("p.quiet", {}, refusal.client) : null,
    ),
  );
}

/** One line of what happened: how grave it is, and the words; null: not worth a line. */
function line(event) {
  switch (event.kind) {
    case "node":
      if (!event.is_answering) return ["bad", `${event.node} does not answer`];
      if (event.may_act === false) return ["bad", `${event.node} hears no quorum`];
      if (event.is_draining) return ["warn", `${event.node} is draining`];
      if (event.is_ready === false) return ["warn", `${event.node} takes no users: ${event.not_ready.join(", ")}`];
      return ["ok", event.role === "data" ? `${event.node} serves users` : `${event.node} votes`];
    case "leader":
      return event.leader ? ["ok", `${event.leader} leads, term ${event.term}`] : ["bad", "Nobody leads"];
    case "link": {
      const { name, state, last_error } = event.link;
      if (state === "up") return ["ok", `${name} is up at ${event.node}`];
      return state === "down" ? ["bad", `${name} is down at ${event.node}${last_error ? `: ${last_error}` : ""}`] : null;
    }
    case "refusal":
      return ["warn", `${event.refusal.user.replace(/^sips?:/, "")} was refused: ${reason_words(event.refusal.reason)}`];
    case "takeover":
      return [event.takeover.is_planned ? "ok" : "warn", `${takeover_words(event.takeover)}, ${gap(event.takeover.gap_ms)}`];
    case "sessions":
      return ["ok", `${count(event.changed, "change")} of sessions at once`];
    case "gap":
      return ["warn", "Some events were missed; everything was read again"];
    default:
      return null;
  }
}

const lines = [];

export function happened(event) {
  const told = line(event);
  if (!told || lines[0]?.words === told[1]) return;
  lines.unshift({ level: told[0], words: told[1], at_ms: Date.now() });
  lines.length = Math.min(lines.length, LINES_MAX);
  show();
}

export function show() {
  const none = el("li.quiet", {}, "Nothing since this page was opened.");
  const made = lines.map(({ level, words, at_ms }) =>
    el("li", { "data-level": level }, time(at_ms), el("span.dot", { "aria-hidden": "true" }), el("span", {}, sentence(words))),
  );
  fill(by("happened"), made.length ? made : [none]);
}
