// Which nodes and edges of a circuit are drawn: those that the thresholds and filters let through, nodes of a supernode
// as one. Nothing here touches the page.

export const DRAWN_EDGES = 600;

/** A hook point without its block: mlp_out of blocks.1.hook_mlp_out. */
export function siteKind(site) {
  const parts = site.split(".");
  return (parts[0] === "blocks" && parts.length > 2 ? parts.slice(2).join(".") : site).replaceAll("hook_", "");
}

/** A hook point in short: 1 mlp_out. */
export function siteName(site) {
  const parts = site.split(".");
  return (parts[0] === "blocks" && parts.length > 2 ? `${parts[1]} ` : "") + siteKind(site);
}

const blank = ({ length }) => (length > 3 ? `␣×${length}` : "␣".repeat(length));

/** Whitespace that one can see. */
export const readable = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "→").replace(/^ +| +$/g, blank);

/** Three significant digits, as the server writes them. */
export function number(value) {
  const size = Math.abs(value);
  const digits = size === 0 ? "0" : size < 1e-3 ? size.toExponential(1) : size < 999.5 ? size.toPrecision(3) : Math.round(size).toLocaleString("en");
  return `${value < 0 ? "−" : ""}${digits}`;
}

/** The same with a sign. */
export const signed = (value) => `${value > 0 ? "+" : ""}${number(value)}`;

/** Columns to one object for each node, once. */
export function nodesOf({ sites, nodes }) {
  return nodes.id.map((id, index) => ({
    index, id, kind: nodes.kind[index], row: nodes.site[index], site: sites[nodes.site[index]], layer: nodes.layer[index],
    position: nodes.position[index], effect: nodes.effect[index], activation: nodes.activation[index], name: nodes.name[index],
    said: nodes.said[index], promoted: nodes.promoted[index],
    words: [id, nodes.name[index], nodes.said[index], ...nodes.promoted[index]].join("\n").toLowerCase(),
  }));
}

/** Nodes that pass: logits always, as all effects are on them; `found` are those that also match the search. */
function passing(all, chosen) {
  const layer = chosen.layer === "" ? null : Number(chosen.layer);
  const kept = all.filter((node) => (Math.abs(node.effect) >= chosen.node_threshold || node.kind === "logit")
    && (layer === null || node.layer === layer || node.kind === "token" || node.kind === "logit")
    && (chosen.site === "" || siteKind(node.site) === chosen.site));
  const words = chosen.q.toLowerCase().split(/\s+/).filter(Boolean);
  return [kept, new Set(words.length ? kept.filter((node) => words.every((word) => node.words.includes(word))) : kept)];
}

/** What is drawn (`items`, `edges`), and what the table lists (`found`). */
export function sift(graph, all, chosen) {
  const [kept, found] = passing(all, chosen);
  const itemOf = new Array(all.length);
  const items = [];
  const inside = new Map(graph.supernodes.flatMap(({ name, nodes }) => nodes.map((id) => [id, name])));
  const groups = new Map();
  for (const node of kept) {
    const name = inside.get(node.id);
    let item = name === undefined ? undefined : groups.get(name);
    if (item) {
      item.members.push(node);
      item.effect += node.effect;
      item.faint &&= !found.has(node);
    } else {
      item = { ...node, faint: !found.has(node) };
      if (name !== undefined) {
        Object.assign(item, { id: `group:${name}`, kind: "group", name, said: "", promoted: [], members: [node] });
        groups.set(name, item);
      }
      items.push(item);
    }
    itemOf[node.index] = item;
  }
  return { kept, found: kept.filter((node) => found.has(node)), items, ...links(graph, chosen, itemOf) };
}

/** The strongest edges between items, those of the chosen one before all others; edges of supernodes added up. */
function links({ edges, nodes }, chosen, itemOf) {
  const single = [];
  const joined = new Map();
  let passed = 0;
  for (let i = 0; i < edges.weight.length; i++) {
    const weight = edges.weight[i];
    if (Math.abs(weight) < chosen.edge_threshold) break; // they come strongest first
    const source = itemOf[edges.source[i]];
    const target = itemOf[edges.target[i]];
    if (!source || !target || source === target) continue;
    passed++;
    const ends = { source, target, weight, ids: [nodes.id[edges.source[i]], nodes.id[edges.target[i]]] };
    if (!source.members && !target.members) {
      single.push(ends);
      continue;
    }
    const key = `${source.id}>${target.id}`;
    if (joined.has(key)) joined.get(key).weight += weight;
    else joined.set(key, ends);
  }
  const own = (edge) => edge.ids.includes(chosen.node) || edge.source.id === `group:${chosen.group}` || edge.target.id === `group:${chosen.group}`
    || (edge.ids[0] === chosen.source && edge.ids[1] === chosen.target);
  const strongest = [...single, ...joined.values()].sort((a, b) => own(b) - own(a) || Math.abs(b.weight) - Math.abs(a.weight));
  return { passed, edges: strongest.slice(0, DRAWN_EDGES).map((edge) => ({ ...edge, own: own(edge) })).reverse() };
}
