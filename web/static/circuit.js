// A circuit's page. Everything chosen on it is in its address: thresholds, filters, search, and the node, edge or supernode
// that is open. The graph comes once; what is drawn of it is decided here.

import { Drawing } from "./circuit_canvas.js";
import { announce, attend, fetchInto, idle, showGroup } from "./circuit_panel.js";
import { nodesOf, sift } from "./circuit_sift.js";
import { NodeTable } from "./circuit_table.js";
import { readView, viewText } from "./circuit_zoom.js";

const form = document.querySelector("#sieve");
const grouping = document.querySelector("#grouping");
const status = document.querySelector("#status");
const FILTERS = ["node_threshold", "edge_threshold", "influence", "layer", "site", "q", "view"];
const OPEN = ["node", "source", "target", "group"];
const chosen = {};
const picked = new Set();
const scales = {};
let [graph, all, drawing, table] = [];

const say = (text) => { status.textContent = text || idleWords; };
let idleWords = "";

function read() {
  const query = new URLSearchParams(location.search);
  for (const name of [...FILTERS, ...OPEN]) chosen[name] = query.get(name) ?? "";
  for (const name of ["node_threshold", "edge_threshold"]) chosen[name] = Math.max(Number(chosen[name]) || 0, 0);
  for (const name of ["influence", "layer", "site", "q"]) form.elements[name].value = chosen[name];
}

const address = (changes = {}) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...chosen, ...changes })) if (value) query.set(name, value);
  return `${location.pathname}${query.size ? `?${query}` : ""}`;
};
const ofNode = (node) => address({ node, source: "", target: "", group: "" });

/** Thresholds on a logarithmic scale, from the least there is to the largest. */
function scale(values) {
  const sizes = values.map(Math.abs).filter((size) => size > 0);
  const high = sizes.reduce((a, b) => Math.max(a, b), 0) || 1;
  return { low: Math.max(sizes.reduce((a, b) => Math.min(a, b), high), high * 1e-6), high };
}

function settle() {
  for (const name of ["node", "edge"]) {
    const [value, { low, high }] = [chosen[`${name}_threshold`], scales[name]];
    form.elements[`${name}_threshold`].value = value || "";
    form.elements[`${name}_slider`].value = value > low && high > low ? (1000 * Math.log(value / low)) / Math.log(high / low) : 0;
  }
}

function show() {
  const sifted = sift(graph, all, chosen);
  drawing.show(sifted, chosen, picked);
  table.show(sifted.found, picked, chosen);
  const more = graph.n_edges > graph.edges.weight.length ? `; of ${graph.n_edges.toLocaleString("en")}, the strongest ${graph.edges.weight.length.toLocaleString("en")} are here` : "";
  document.querySelector("#counts").textContent = `${sifted.kept.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} nodes, ${sifted.edges.length.toLocaleString("en")} of ${sifted.passed.toLocaleString("en")} edges drawn${more}`;
  idleWords = chosen.q ? `${sifted.found.length.toLocaleString("en")} nodes found` : sifted.kept.length ? "" : "No node is as strong as that: lower the threshold.";
  say("");
  grouping.hidden = !picked.size;
  document.querySelector("#picked").textContent = `${picked.size} node${picked.size === 1 ? "" : "s"} chosen`;
  const kept = new URLSearchParams(Object.entries(chosen).filter(([name, value]) => value && ["node_threshold", "edge_threshold", "influence"].includes(name)));
  const exported = document.querySelector("#export");
  exported.href = `${exported.href.split("?")[0]}${kept.size ? `?${kept}` : ""}`;
  document.dispatchEvent(new CustomEvent("threshold", { detail: Math.max(chosen.node_threshold, Number(form.elements.node_threshold.placeholder)) }));
}

/** Shows what is chosen in the panel; whether there is anything to see. */
async function open() {
  if (chosen.group) {
    const members = new Set(graph.supernodes.find(({ name }) => name === chosen.group)?.nodes);
    showGroup(chosen.group, all.filter((node) => members.has(node.id)), ofNode, () => change("DELETE", chosen.group));
    return true;
  }
  if (chosen.source && chosen.target) return fetchInto(`${form.dataset.edge}?${new URLSearchParams({ source: chosen.source, target: chosen.target })}`);
  if (chosen.node) return fetchInto(`${form.dataset.node}?${new URLSearchParams({ node: chosen.node })}`);
  idle();
  return false;
}

/** Open a node, an edge, a supernode, or nothing. What a `click` on the graph chose comes into view, what a `link` did
 * gets the focus, too; keys that walk along the graph leave both where they are. */
async function choose(what, by) {
  Object.assign(chosen, { node: "", source: "", target: "", group: "" }, what);
  history.pushState(null, "", address());
  show();
  drawing.reveal();
  if (!await open()) return;
  if (by) attend(by === "link");
  if (by !== "link") announce();
}

function pick(node) {
  for (const id of node.members ? node.members.map((member) => member.id) : [node.id]) if (!picked.delete(id)) picked.add(id);
  show();
}

/** Make a supernode (PUT) or take one apart (DELETE), and draw the graph anew. */
async function change(method, name, nodes) {
  const said = grouping.querySelector(".said");
  const body = nodes && JSON.stringify({ nodes });
  const answer = await fetch(form.dataset.group + encodeURIComponent(name), { method, body, headers: { accept: "application/json", ...(body && { "content-type": "application/json" }) } }).catch(() => null);
  if (!answer?.ok) {
    const problem = await answer?.json().catch(() => null);
    said.textContent = problem?.cause ?? "The server does not answer. Is saebench serve still running?";
    return;
  }
  said.textContent = "";
  picked.clear();
  grouping.reset();
  await load();
  choose(method === "PUT" ? { group: name } : {}, "link");
}

async function load() {
  const query = chosen.influence ? `?influence=${encodeURIComponent(chosen.influence)}` : "";
  const answer = await fetch(form.dataset.graph + query).catch(() => null);
  const found = await answer?.json().catch(() => null);
  if (!answer?.ok) throw new Error(found?.cause ?? "The graph cannot be fetched. Is saebench serve still running?");
  graph = found;
  all = nodesOf(graph);
  scales.node = scale(graph.nodes.effect);
  scales.edge = scale(graph.edges.weight);
}

let timer;
function remember() {
  clearTimeout(timer);
  timer = setTimeout(() => history.replaceState(null, "", address()), 250);
}

form.addEventListener("input", (event) => {
  const { name, value } = event.target;
  if (!graph || name === "influence") return;
  const [which] = name.split("_");
  if (name.endsWith("_slider")) {
    const { low, high } = scales[which];
    chosen[`${which}_threshold`] = Number(value) ? Number((low * (high / low) ** (value / 1000)).toPrecision(3)) : 0;
    form.elements[`${which}_threshold`].value = chosen[`${which}_threshold`] || "";
  } else if (name.endsWith("_threshold")) {
    chosen[name] = Math.max(Number(value) || 0, 0);
    const typed = value;
    settle();
    event.target.value = typed;
  } else chosen[name] = value;
  show();
  remember();
});
form.elements.influence.addEventListener("change", async (event) => {
  chosen.influence = event.target.value;
  history.replaceState(null, "", address());
  await load().then(() => { settle(); show(); }, (error) => say(error.message));
});
form.addEventListener("submit", (event) => event.preventDefault());
grouping.addEventListener("submit", (event) => {
  event.preventDefault();
  change("PUT", grouping.elements.name.value.trim(), [...picked]);
});
document.querySelector("#unpick").addEventListener("click", () => { picked.clear(); show(); });
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-node], a[data-source], [data-open-group]");
  if (!link || !graph || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { node, source, target, openGroup } = link.dataset;
  choose(openGroup ? { group: openGroup } : node ? { node } : { source, target }, "link");
});
addEventListener("popstate", () => {
  read();
  settle();
  drawing.zoom.set(readView(chosen.view));
  show();
  open();
});

read();
load().then(() => {
  const canvas = document.querySelector("#graph");
  const moved = (view) => { chosen.view = viewText(view); remember(); };
  drawing = new Drawing(canvas, { sites: graph.sites, tokens: graph.tokens, view: readView(chosen.view), choose, pick, say, moved });
  table = new NodeTable(document.querySelector("#nodes"), { pick, address: ofNode });
  settle();
  show();
  open();
}, (error) => say(error.message));
