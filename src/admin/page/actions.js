// What an operator may have done here: each says beforehand what it will do.

import { order } from "./api.js";
import { by, el, fill, say } from "./dom.js";
import { count, gap, sentence } from "./words.js";

const OPERATOR = "lyncpin-operator";

/** Who would take the users. */
const heir = (cluster, own) => cluster.nodes.find((node) => node.role === "data" && node.name !== own);

function choices(cluster, own) {
  const here = cluster.nodes.find((node) => node.name === own);
  const service = here?.says?.service;
  if (!service) return [];
  const other = heir(cluster, own)?.name ?? null;
  const sessions = count(service.sessions, "session");
  const against = (cluster.ready_for_switchover?.reasons ?? []).map((why) => ({ level: "bad", text: sentence(`In the way: ${why}`) }));
  if (service.is_draining) {
    return [
      {
        id: "undrain",
        method: "DELETE",
        path: "/api/v1/drain",
        button: "Take users again",
        title: `Let ${own} take users again?`,
        says: [{ text: `${own} answers sign-ins and the balancer's health check again.` }, { text: "Sessions that the other node has stay there." }],
      },
    ];
  }
  const drain = {
    id: "drain",
    method: "POST",
    path: "/api/v1/drain",
    button: "Drain …",
    title: `Drain ${own}?`,
    yes: `Drain ${own}`,
    says: other
      ? [
          { text: `${other} takes over ${sessions}, one by one. Calls go on and nobody signs in again; each session pauses for some milliseconds.` },
          { text: `${own} then takes nobody in and shows red to the balancer, until you let it take users again. It can be stopped then.` },
          { text: `Until then ${other} is alone: its loss would be felt.` },
          ...against,
        ]
      : [{ text: `${own} takes nobody in any more and shows red to the balancer. ${sessions} stay here: there is no other node.` }],
  };
  if (!other) return [drain];
  const switchover = {
    id: "switchover",
    method: "POST",
    path: "/api/v1/switchover",
    button: "Switch over …",
    title: `Switch over to ${other}?`,
    yes: `Switch over to ${other}`,
    says: [
      { text: `${other} takes over ${sessions} of ${own}, one by one, and the leadership if ${own} has it.` },
      { text: "Calls go on and nobody signs in again; each session pauses for some milliseconds." },
      { text: `${own} goes on and takes users as before.` },
      ...against,
    ],
  };
  return [switchover, drain];
}

let opened = null;
/** What each button means now; the buttons themselves stay, and with them the focus. */
let current = new Map();

function done_words(done) {
  const moved = done.moved > 0 ? ` ${count(done.moved, "session")} moved.` : "";
  const stayed = done.stayed > 0 ? ` ${count(done.stayed, "session")} stayed.` : "";
  const pause = done.pause_max_ms !== null && done.moved > 0 ? ` The longest pause was ${gap(done.pause_max_ms)}.` : "";
  return `${sentence(done.done)}${moved}${stayed}${pause}`;
}

function open(choice) {
  opened = choice;
  say(by("confirm-title"), choice.title);
  fill(by("confirm-says"), choice.says.map(({ text, level }) => el("li", { "data-level": level }, text)));
  say(by("confirm-yes"), choice.yes ?? choice.button);
  outcome("", "");
  by("confirm-yes").hidden = false;
  by("confirm-yes").disabled = false;
  say(by("confirm-no"), "Leave it as it is");
  by("operator").disabled = false;
  by("operator").value = sessionStorage.getItem(OPERATOR) ?? "";
  by("confirm").showModal();
  by(by("operator").value ? "confirm-no" : "operator").focus();
}

function outcome(level, text) {
  by("confirm-outcome").dataset.level = level;
  say(by("confirm-outcome"), text);
}

async function carry_out(after) {
  const operator = by("operator").value.trim();
  if (!operator || !opened) return by("operator").focus();
  sessionStorage.setItem(OPERATOR, operator);
  by("confirm-yes").disabled = true;
  by("operator").disabled = true;
  outcome("busy", "It is being done …");
  try {
    outcome("ok", done_words(await order(opened.method, opened.path, operator)));
    by("confirm-yes").hidden = true;
  } catch (why) {
    outcome("bad", `It was not done: ${why.message}`);
    by("confirm-yes").disabled = false;
    by("operator").disabled = false;
  }
  say(by("confirm-no"), "Close");
  by("confirm-no").focus();
  after();
}

export function buttons(cluster, own) {
  const offered = choices(cluster, own);
  current = new Map(offered.map((choice) => [choice.id, choice]));
  const made = offered.map((choice) => el("button", { type: "button", id: choice.id, "data-act": choice.id }, choice.button));
  const had_focus = by("actions").contains(document.activeElement);
  fill(by("actions"), made);
  // The button that was used may be another one now.
  if (had_focus && !by("actions").contains(document.activeElement)) (by("actions").firstElementChild ?? by("main")).focus();
}

/** `after`: something may have changed. */
export function begin(after) {
  by("actions").addEventListener("click", (event) => {
    const choice = current.get(event.target.dataset?.act);
    if (choice) open(choice);
  });
  by("confirm-no").addEventListener("click", () => by("confirm").close());
  by("confirm-form").addEventListener("submit", (event) => {
    event.preventDefault();
    carry_out(after);
  });
  by("confirm").addEventListener("close", () => (by(opened?.id) ?? by("actions").firstElementChild ?? by("main")).focus());
}
