// Whether all is well, in one sentence, and what is not. Decides, and draws nothing.

import { count, list, sentence } from "./words.js";

const is_data = (node) => node.role === "data";
const service = (node) => node.says?.service ?? null;

/** A node alone is a pair of one. */
export function as_cluster(node, cluster) {
  if (cluster) return cluster;
  const own = { id: 0, name: node.name, role: "data", address: "", lag: 0, says: node };
  const alone = { is_so: false, reasons: ["this node is alone"] };
  return { name: "", leader: 0, nodes: [own], is_alone: true, ready_for_switchover: alone, ready_for_upgrade: alone };
}

export function sessions_of(cluster) {
  return cluster.nodes.reduce((sum, node) => sum + (service(node)?.sessions ?? 0), 0);
}

/** Links that are down where others are up, each with the nodes that say so. */
function links_down(cluster) {
  const found = new Map();
  for (const node of cluster.nodes) {
    const told = service(node);
    if (!told || told.links_up === 0) continue;
    for (const link of told.links_down ?? []) found.set(link, [...(found.get(link) ?? []), node.name]);
  }
  return found;
}

/** Every problem: how grave it is, what it is, and what to do. */
function problems(cluster, own, links) {
  const found = [];
  const add = (level, what, remedy) => found.push({ level, what, remedy });
  const serving = cluster.nodes.filter((node) => service(node)?.is_ready);
  if (cluster.nodes.some(is_data) && serving.length === 0) {
    add("bad", "No node takes users", "Sign-ins and requests are answered 503 until one does.");
  }
  for (const node of cluster.nodes) {
    if (!node.says) {
      const remedy = is_data(node)
        ? "Its users belong to the other node. Start it again, or look at the log of its unit."
        : "Start it again: without it the next loss stops the pair.";
      add("warn", `${node.name} does not answer`, remedy);
    } else if (node.says.voter && !node.says.voter.may_act) {
      add("warn", `${node.name} hears no quorum`, "It carries nothing out until it does. Look at the network between the nodes.");
    }
    const told = service(node);
    if (told && !told.is_ready && node.says.voter?.may_act !== false) {
      const remedy = told.is_draining ? "Let it take users again, or stop it and finish what it was drained for." : "";
      add("warn", `${node.name} takes no users: ${list(told.not_ready)}`, remedy);
    }
    if (told && told.links > 0 && told.links_up === 0) {
      add("bad", `${node.name} reaches no PBX`, "Its users see their phones out of service. Look at the PBX and the way to it.");
    }
  }
  for (const [link, nodes] of links_down(cluster)) {
    const why = links.find(({ name, state, last_error }) => name === link && state !== "up" && last_error)?.last_error;
    const remedy = "Its users keep their sessions and see their phones out of service. Look at the PBX and the way to it.";
    add("warn", `${link} is down at ${list(nodes)}`, `${why ? `At ${own}: ${why}. ` : ""}${remedy}`);
  }
  const leader = cluster.nodes.find((node) => node.id === cluster.leader);
  if (!cluster.is_alone && !leader) {
    add("bad", "Nobody leads", "Nothing can be committed. Two of the three must run and reach each other.");
  }
  if (cluster.spare_failures === 0 && found.length === 0) {
    add("warn", "No further failure can be borne", "A voter is far behind the others; wait until it has caught up.");
  }
  return found;
}

/** `level`: ok, warn or bad; `title` and `says` for a person who has two seconds. */
export function verdict(cluster, own, links) {
  const found = problems(cluster, own, links);
  const level = found.some((one) => one.level === "bad") ? "bad" : found.length ? "warn" : "ok";
  const users = count(sessions_of(cluster), "session");
  const leader = cluster.nodes.find((node) => node.id === cluster.leader);
  const serving = cluster.nodes.filter((node) => service(node)?.is_ready).map((node) => node.name);
  const serve = serving.length ? `${list(serving)} ${serving.length > 1 ? "serve" : "serves"} ${users}.` : `${users} wait.`;
  if (cluster.is_alone) {
    const says = `${serve} There is no other node: its users sign in again when it is lost.`;
    return { level, title: title(level, found), says, problems: found };
  }
  const leads = leader ? `${leader.name} leads.` : "";
  const spare = cluster.spare_failures > 0 ? `${cluster.spare_failures === 1 ? "One more machine" : `${cluster.spare_failures} more machines`} may be lost.` : "No further loss can be borne.";
  return { level, title: title(level, found), says: [serve, leads, spare].filter(Boolean).join(" "), problems: found };
}

function title(level, found) {
  if (level === "ok") return "All is well";
  const gravest = found.find((one) => one.level === level);
  return sentence(gravest.what).replace(/\.$/, "");
}
