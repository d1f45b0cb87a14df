"""What tests of a circuit's page share: waiting for its graph, and where things stand on it."""

from typing import Any

from playwright.sync_api import Page, expect

# The page's own layout, asked for what the page draws at its address.
_PLACES = """async () => {
  const from = document.querySelector('script[src$="circuit.js"]').src.replace('circuit.js', '');
  const modules = ['circuit_sift.js', 'circuit_layout.js'].map((name) => import(from + name));
  const [{ nodesOf, sift }, { arrange }] = await Promise.all(modules);
  const query = new URLSearchParams(location.search);
  const names = ['q', 'layer', 'site', 'node', 'source', 'target', 'group'];
  const chosen = Object.fromEntries(names.map((name) => [name, query.get(name) ?? '']));
  for (const name of ['node_threshold', 'edge_threshold']) chosen[name] = Number(query.get(name));
  const graph = await (await fetch(document.querySelector('#sieve').dataset.graph)).json();
  const canvas = document.querySelector('#graph');
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [left, bottom] = [width < 500 ? 68 : 96, graph.tokens.length ? 24 : 4];
  const { items, edges } = sift(graph, nodesOf(graph), chosen);
  arrange(items, { width, height, left, bottom });
  const middle = ({ source: a, target: b, ids, weight }) => ({ ids, weight, x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  return {
    nodes: Object.fromEntries(items.map(({ id, x, y, r }) => [id, { x, y, r }])), edges: edges.map(middle),
    box: { left, width: width - left, height: height - bottom },
  };
}"""


def shown(page: Page) -> None:
    """Wait until the graph is drawn."""
    expect(page.locator("#graph[data-drawn=yes]")).to_be_visible()


def places(page: Page) -> dict[str, Any]:
    """Where nodes, by id, and the middles of edges stand on the canvas in CSS pixels, all of the graph in view; the box
    that they are in.
    """
    return page.evaluate(_PLACES)


def place(of: dict[str, float]) -> dict[str, float]:
    """A node or an edge as a position to click at."""
    return {"x": of["x"], "y": of["y"]}


def strongest_alone(found: dict[str, Any]) -> dict[str, Any]:
    """The strongest edge whose middle is far from every node, so that a click there means it."""
    lonely = [
        edge
        for edge in found["edges"]
        if all(abs(edge["x"] - node["x"]) + abs(edge["y"] - node["y"]) > 24 for node in found["nodes"].values())
    ]
    return max(lonely, key=lambda edge: abs(edge["weight"]))
