// Puts the page together: reads what is, follows what changes, and says so when the node is lost.

import * as actions from "./actions.js";
import { NotLetIn, Refused, ask, follow, forget, has_token, know } from "./api.js";
import { by, el, fill, say } from "./dom.js";
import * as links from "./links.js";
import * as pair from "./pair.js";
import * as sessions from "./sessions.js";
import * as told from "./told.js";
import { as_cluster, verdict } from "./verdict.js";
import { duration, moment, sentence } from "./words.js";

/** Figures that are no event are read this often, and changes are gathered for so long. */
const READ_MS = 3000;
const GATHER_MS = 150;

const seen = { node: null, cluster: null, links: [], refusals: [], at_ms: 0 };
let lost_at_ms = null;
let reading = null;
let following = null;

/** Null where the node has none: one alone has no cluster. */
const or_none = (why) => {
  if (why instanceof Refused && why.status === 404) return null;
  throw why;
};

async function read() {
  const [node, cluster, link_list, refusals] = await Promise.all([
    ask("/api/v1/node"),
    ask("/api/v1/cluster").catch(or_none),
    ask("/api/v1/links"),
    ask("/api/v1/refusals"),
  ]);
  Object.assign(seen, { node, cluster: as_cluster(node, cluster), links: link_list, refusals, at_ms: Date.now() });
  show();
}

/** Soon; what comes until then is read with it. */
function read_soon(after_ms = GATHER_MS) {
  clearTimeout(reading);
  reading = setTimeout(async () => {
    try {
      await read();
    } catch (why) {
      if (why instanceof NotLetIn) return ask_for_token(why.message);
    }
    read_soon(READ_MS);
  }, after_ms);
}

function show_verdict() {
  const { cluster, node } = seen;
  const judged = verdict(cluster, node.name, seen.links);
  const is_lost = lost_at_ms !== null;
  const level = is_lost ? "lost" : judged.level;
  by("verdict").dataset.level = level;
  document.body.dataset.level = level;
  const title = is_lost ? `No connection to ${node.name}` : judged.title;
  say(by("verdict-title"), title);
  const since = moment(lost_at_ms ?? 0);
  const lost = `Since ${since}. What stands below is from ${moment(seen.at_ms)} and may be over. This page keeps trying; the other node's page, or lyncpin ctl there, may know more.`;
  say(by("verdict-says"), is_lost ? lost : judged.says);
  const problems = is_lost ? [] : judged.problems;
  fill(
    by("verdict-problems"),
    problems.map(({ level, what, remedy }) => {
      // The title has said it.
      const bold = problems.length > 1 ? el("b", {}, sentence(what)) : null;
      return bold || remedy ? el("li", { "data-level": level }, bold, bold ? ` ${remedy}` : remedy) : null;
    }),
  );
  document.title = `${{ ok: "✓", warn: "!", bad: "✗", lost: "?" }[level]} ${title}${cluster.name ? ` – ${cluster.name}` : ""} – Lyncpin`;
}

function show() {
  const { cluster, node } = seen;
  by("main").hidden = false;
  by("sign-in").hidden = true;
  say(by("place"), cluster.is_alone ? node.name : `${cluster.name}, seen from ${node.name}`);
  show_verdict();
  fill(by("nodes"), pair.nodes(cluster, node.name));
  say(by("pair-says"), pair.says(cluster));
  actions.buttons(cluster, node.name);
  const is_witness = node.service === null;
  by("witness-says").hidden = !is_witness;
  for (const part of document.querySelectorAll(".links-part, .sessions-part, .refusals-part")) part.hidden = is_witness;
  fill(by("links-head"), links.head(cluster, node.name));
  fill(by("links"), links.rows(seen.links, cluster, node.name));
  say(by("links-says"), links.says(seen.links));
  fill(by("takeover"), told.takeover(told.last_takeover(cluster)));
  fill(by("refusals"), told.refusals(seen.refusals));
  say(by("refusals-says"), `at ${node.name}`);
}

function connected(state) {
  const is_new = (state === "live") !== (lost_at_ms === null && by("connection").dataset.state === "live");
  lost_at_ms = state === "live" ? null : (lost_at_ms ?? Date.now());
  by("connection").dataset.state = state;
  show_connection();
  if (is_new && seen.node) show_verdict();
  if (is_new && state === "live") {
    read_soon(0);
    sessions.read(true);
  }
}

function show_connection() {
  const { state } = by("connection").dataset;
  if (state === "live") return say(by("connection"), "live");
  if (state === "lost") {
    const seconds = Math.floor((Date.now() - (lost_at_ms ?? Date.now())) / 1000);
    say(by("connection"), seconds < 1 ? "no connection, trying again" : `no connection for ${duration(seconds)}, trying again`);
  }
}

function heard(event) {
  told.happened(event);
  if (["session", "calls", "session_ended", "sessions"].includes(event.kind)) sessions.heard(event);
  else if (event.kind === "gap") sessions.read(true);
  if (!["calls", "session", "session_ended", "hello"].includes(event.kind)) read_soon();
}

async function begin() {
  following = follow(heard, connected);
  try {
    await following;
  } catch (why) {
    ask_for_token(why.message);
  }
}

function ask_for_token(why) {
  clearTimeout(reading);
  by("main").hidden = true;
  by("sign-in").hidden = false;
  by("connection").dataset.state = "asked";
  say(by("connection"), "token needed");
  say(by("sign-in-problem"), has_token() ? sentence(why) : "");
  forget();
  document.title = "Token needed – Lyncpin";
  by("token").value = "";
  by("token").focus();
}

by("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  know(by("token").value.trim());
  begin();
});
actions.begin(() => read_soon(0));
sessions.begin();
told.show();
setInterval(show_connection, 1000);
begin();
