// What the node is asked, and what it tells by itself. The token lives in this tab alone.

const TOKEN = "lyncpin-token";
/** The node says something every three seconds, be it that there is nothing to say. */
const SILENCE_MS = 10000;
const ANSWER_MS = 8000;
const RETRY_MAX_MS = 5000;

/** 401 or 429: the token is missing, wrong, or was guessed too often. */
export class NotLetIn extends Error {}

/** An answer that is not what was asked for, in the node's own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function know(token) {
  sessionStorage.setItem(TOKEN, token);
}

export function forget() {
  sessionStorage.removeItem(TOKEN);
}

export const has_token = () => sessionStorage.getItem(TOKEN) !== null;

function headers(more) {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? more : { ...more, authorization: `Bearer ${token}` };
}

async function words_of(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error || text;
  } catch {
    return text || `the node answered ${response.status}`;
  }
}

/** Without credentials: the browser's own box for a password stays away. */
async function fetched(path, options) {
  const response = await fetch(path, { ...options, credentials: "omit", cache: "no-store", redirect: "error" });
  if (response.ok) return response;
  const why = await words_of(response);
  throw response.status === 401 || response.status === 429 ? new NotLetIn(why) : new Refused(response.status, why);
}

export async function ask(path) {
  const response = await fetched(path, { headers: headers({}), signal: AbortSignal.timeout(ANSWER_MS) });
  return response.json();
}

/** Something that changes the node. It may take as long as its users take to move. */
export async function order(method, path, operator) {
  const plain = operator.replace(/[^\x20-\x7e]/g, "?");
  const response = await fetched(path, { method, headers: headers({ "lyncpin-operator": plain }) });
  return response.json();
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The fields of one event of the stream (WHATWG HTML, server-sent events). */
function fields(block) {
  const found = { data: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at > 0) found[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
  }
  return found;
}

/**
 * Follows the node until the page is left. `heard(event)` for each event, `state("live" | "lost", since)` when the connection
 * comes or goes; a NotLetIn ends it and is thrown.
 */
export async function follow(heard, state) {
  let last = null;
  let retry_ms = 1000;
  for (let tries = 0; ; tries += 1) {
    const giving_up = new AbortController();
    let watchdog = setTimeout(() => giving_up.abort(), SILENCE_MS);
    try {
      const known = last === null ? {} : { "last-event-id": last };
      const response = await fetched("/api/v1/events", { headers: headers(known), signal: giving_up.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => giving_up.abort(), SILENCE_MS);
        tries = 0;
        state("live");
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const { id, data, retry } of blocks.map(fields)) {
          if (retry) retry_ms = Math.min(Number(retry) || retry_ms, RETRY_MAX_MS);
          if (data) heard(JSON.parse(data));
          if (id) last = id;
        }
      }
    } catch (why) {
      if (why instanceof NotLetIn) throw why;
    } finally {
      clearTimeout(watchdog);
    }
    state("lost");
    await pause(Math.min(retry_ms * (1 + tries / 2), RETRY_MAX_MS));
  }
}
