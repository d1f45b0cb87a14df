// The table of nodes below the graph: what the filters let through, sorted by any column, 50 at a time. Its boxes choose
// nodes for a group; its links open a node as a click on the graph does.

import { meaning, meant } from "./circuit_meaning.js";
import { number, readable, siteName, signed } from "./circuit_sift.js";

const SIZE = 50;
const words = { name: (node) => node.name, kind: (node) => node.kind, said: meaning };
const numbers = { site: (node) => node.row, position: (node) => node.position ?? -1, effect: (node) => Math.abs(node.effect), activation: (node) => node.activation };

function cell(text, className = "") {
  return Object.assign(document.createElement("td"), { textContent: text, className });
}

export class NodeTable {
  /** `pick` is told of a box that is ticked; `address` gives a node's own. */
  constructor(table, { pick, address }) {
    Object.assign(this, { table, pick, address, nodes: [], picked: new Set(), by: "effect", falling: true, from: 0 });
    this.placed = table.tHead.querySelector('[data-sort="position"]') !== null;
    [this.earlier, this.later] = ["earlier", "later"].map((id) => document.getElementById(id));
    table.tHead.addEventListener("click", (event) => {
      const by = event.target.closest("[data-sort]")?.dataset.sort;
      if (by) this.sort(by, by === this.by ? !this.falling : by in numbers && by !== "site" && by !== "position");
    });
    this.earlier.addEventListener("click", () => this.turn(-SIZE));
    this.later.addEventListener("click", () => this.turn(SIZE));
    table.addEventListener("change", (event) => this.pick(this.nodes.find((node) => node.id === event.target.value)));
  }

  sort(by, falling) {
    Object.assign(this, { by, falling, from: 0 });
    for (const heading of this.table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
    this.table.tHead.querySelector(`[data-sort="${by}"]`).closest("th").setAttribute("aria-sort", falling ? "descending" : "ascending");
    this.fill();
  }

  turn(step) {
    this.from += step;
    this.fill();
    this.table.scrollIntoView({ block: "nearest" });
  }

  show(nodes, picked, chosen) {
    if (nodes.length !== this.nodes.length) this.from = 0;
    Object.assign(this, { nodes, picked, chosen });
    this.fill();
  }

  fill() {
    const sign = this.falling ? -1 : 1;
    const compare = this.by in words
      ? (a, b) => sign * words[this.by](a).localeCompare(words[this.by](b), undefined, { numeric: true })
      : (a, b) => sign * (numbers[this.by](a) - numbers[this.by](b));
    const shown = [...this.nodes].sort(compare).slice(this.from, this.from + SIZE);
    this.table.tBodies[0].replaceChildren(...shown.map((node) => this.row(node)));
    const last = this.from + shown.length;
    document.getElementById("listed").textContent = this.nodes.length > SIZE ? `${this.from + 1}–${last} of ${this.nodes.length.toLocaleString("en")}` : `${this.nodes.length}`;
    this.earlier.hidden = this.from === 0;
    this.later.hidden = last >= this.nodes.length;
  }

  row(node) {
    const row = document.createElement("tr");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: node.id, checked: this.picked.has(node.id) });
    box.setAttribute("aria-label", `Choose ${readable(node.name)} of ${node.site}`);
    const link = Object.assign(document.createElement("a"), { href: this.address(node.id), className: "token", textContent: readable(node.name) });
    link.dataset.node = node.id;
    if (node.id === this.chosen.node) link.setAttribute("aria-current", "true");
    const [first, second, last] = [cell(""), cell("", "who"), cell(meaning(node) ? "" : "–", "wide-only text")];
    first.append(box);
    second.append(link);
    last.append(meant(node));
    row.append(first, second, cell(siteName(node.site)), cell(node.kind, "wide-only"), ...(this.placed ? [cell(node.position ?? "", "number")] : []),
      cell(signed(node.effect), `number ${node.effect < 0 ? "down" : "up"}`), cell(number(node.activation), "number wide-only"), last);
    return row;
  }
}
