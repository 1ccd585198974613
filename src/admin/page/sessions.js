// Sessions and their calls: a bounded list, kept up to date by events, read again when too much changed.

import { ask } from "./api.js";
import { by, el, say } from "./dom.js";
import { call_word, client_word, count } from "./words.js";

const ROWS = 15;
const MORE = 50;
const ROWS_MAX = 515;
/** With calls only: so many sessions are looked through. */
const LOOKED_MAX = 2000;
/** The list is read again this often at most. */
const READ_MS = 2000;
const CHANGED_MS = 1500;

const rows = new Map();
let total = 0;
let like = "";
let only_calls = false;
let rows_max = ROWS;
let reading = null;
let is_dirty = false;
let read_at = 0;

function row(session, is_new) {
  const calls = session.calls.map((state) => el("span.call", { "data-call": state }, call_word(state)));
  const user = session.user.replace(/^sips?:/, "");
  const out = session.is_out_of_service ? el("span.call", { "data-call": "fail" }, "out of service") : null;
  const made = el(
    "tr",
    { "data-session": session.id },
    el("th", { scope: "row", title: session.user }, user, el("span.address", {}, client_word(session.client))),
    el("td", { "data-label": "Phone", title: session.line }, session.device),
    el("td.calls", { "data-label": "Calls" }, ...calls, out, calls.length || out ? null : el("span.quiet", {}, "none")),
    el("td", { "data-label": "Node" }, session.node),
    el("td", { "data-label": "Link" }, session.link),
  );
  if (is_new) {
    made.classList.add("changed");
    setTimeout(() => made.classList.remove("changed"), CHANGED_MS);
  }
  return made;
}

const is_wanted = (session) => {
  const text = [session.user, session.device, session.line].join("\n").toLowerCase();
  return text.includes(like.toLowerCase()) && (!only_calls || session.calls.length > 0);
};

function put(session, is_new) {
  const was = rows.get(session.id);
  const made = row(session, is_new);
  rows.set(session.id, { session, made });
  if (was) was.made.replaceWith(made);
  else by("sessions").append(made);
}

function remove(id) {
  rows.get(id)?.made.remove();
  rows.delete(id);
}

function tell() {
  const shown = rows.size;
  by("sessions").closest("table").hidden = shown === 0;
  by("more").hidden = shown < rows_max || rows_max >= ROWS_MAX || (!only_calls && shown >= total);
  if (total === 0) say(by("sessions-says"), like ? "Nobody like that is signed in" : "Nobody is signed in");
  else if (only_calls) say(by("sessions-says"), `${shown} with calls, of ${count(total, "session")}`);
  else if (shown < total) say(by("sessions-says"), `First ${shown} of ${total.toLocaleString("en")}`);
  else say(by("sessions-says"), count(total, "session"));
}

/** The first of those that are wanted; calls are looked for in more of them than are shown. */
async function read_now() {
  const max = only_calls ? LOOKED_MAX : rows_max;
  const told = await ask(`/api/v1/sessions?like=${encodeURIComponent(like)}&max=${max}`);
  const wanted = told.sessions.filter(is_wanted).slice(0, rows_max);
  total = told.total;
  const ids = new Set(wanted.map((session) => session.id));
  [...rows.keys()].filter((id) => !ids.has(id)).forEach(remove);
  let before = null;
  for (const session of wanted) {
    const was = rows.get(session.id);
    if (!was || JSON.stringify(was.session) !== JSON.stringify(session)) put(session, false);
    const { made } = rows.get(session.id);
    if ((before ? before.nextElementSibling : by("sessions").firstElementChild) !== made) {
      if (before) before.after(made);
      else by("sessions").prepend(made);
    }
    before = made;
  }
  tell();
}

/** Reads the list again, now or as soon as that may be. Err: the node does not answer, which is told elsewhere. */
export function read(is_urgent = false) {
  is_dirty = true;
  if (is_urgent) read_at = 0;
  if (reading) return;
  const later = Math.max(0, read_at + READ_MS - Date.now());
  reading = setTimeout(async () => {
    is_dirty = false;
    read_at = Date.now();
    await read_now().catch(() => {});
    reading = null;
    if (is_dirty) read();
  }, later);
}

export function heard(event) {
  const known = rows.get(event.id ?? event.session?.id);
  if (event.kind === "session" && known && is_wanted(event.session)) put(event.session, true);
  else if (event.kind === "calls" && known) put({ ...known.session, calls: event.calls }, true);
  else read();
}

export function begin() {
  let typing = null;
  by("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      like = by("search").value.trim();
      read(true);
    }, 200);
  });
  by("only-calls").addEventListener("change", () => {
    only_calls = by("only-calls").checked;
    read(true);
  });
  by("more").addEventListener("click", () => {
    rows_max = Math.min(rows_max + MORE, ROWS_MAX);
    read(true);
  });
  by("search-form").addEventListener("submit", (event) => event.preventDefault());
}
