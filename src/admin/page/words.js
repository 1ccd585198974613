// The API's names in plain words.

const CALLS = {
  connected: "talking",
  alerting: "ringing",
  hold: "on hold",
  initiated: "dialling",
  queued: "queued",
  fail: "failed",
  null: "cleared",
};

const REASONS = {
  no_client_license: "The user has no licence here.",
  station_in_use_by_another_user: "Another user is signed in at this phone.",
  line_unknown: "Nobody here has this line.",
  line_not_allowed: "This line is not one of the user's.",
  user_unknown: "This user is not known here.",
  user_ambiguous: "More than one entry fits this user.",
  bad_request: "The request was not one a client signs in with.",
};

const CLIENTS = {
  lcs2005: "LCS 2005",
  ocs2007: "OCS 2007",
  ocs2007r2: "OCS 2007 R2",
  lync2010: "Lync 2010",
  lync2013: "Lync 2013",
  sfb2015: "Skype for Business",
  generic: "other client",
};

export const call_word = (state) => CALLS[state] ?? state;
export const client_word = (name) => CLIENTS[name] ?? name;
export const reason_words = (reason) => REASONS[reason] ?? `${reason.replaceAll("_", " ")}.`;

/** "1 session", "2 sessions". */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Begins as a sentence does, unless with the name of a thing ("node2"), and ends as one. */
export function sentence(text) {
  const begun = /^\S*[\d@:]/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** "a", "a and b", "a, b and c". */
export function list(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

const STEPS = [
  [86400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** "3 hours". */
export function duration(seconds) {
  const [size, name] = STEPS.find(([size]) => seconds >= size) ?? [1, "second"];
  return count(Math.floor(seconds / size), name);
}

/** "41 ms", "1.3 s". */
export function gap(ms) {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** "03:12:40", and the day if it was not today. */
export function moment(at_ms) {
  const at = new Date(at_ms);
  const is_today = at.toDateString() === new Date().toDateString();
  return is_today ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
}

/** "just now", "5 minutes ago". */
export function ago(at_ms) {
  const seconds = (Date.now() - at_ms) / 1000;
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}
