// The graph of a circuit on a canvas: thousands of nodes at once, which as elements of the page would take seconds. Shapes
// say what a node is, colours the sign, sizes and widths the strength. A click chooses; arrow keys walk along the nodes.

import { arrange } from "./circuit_layout.js";
import { meaning } from "./circuit_meaning.js";
import { readable, siteName, signed } from "./circuit_sift.js";
import { magnify, Zoom } from "./circuit_zoom.js";

const REACH = 5; // CSS pixels around a node or an edge that mean it
const STEPS = 20;
const [NARROWEST, SQUEEZED] = [20, 40]; // room that a label needs at all, and from which on it may be made narrower

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const along = (edge, t) => {
  const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t ** 2 * (1 - t), t ** 3];
  const middle = (edge.source.y + edge.target.y) / 2;
  return [(a + b) * edge.source.x + (c + d) * edge.target.x, a * edge.source.y + (b + c) * middle + d * edge.target.y];
};

function shape(pen, { kind, x, y, r }) {
  pen.beginPath();
  if (kind === "error") [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]].forEach(([dx, dy], i) => pen[i ? "lineTo" : "moveTo"](x + dx * r, y + dy * r));
  else if (kind === "logit") [[0, -1.2], [1.2, 0.9], [-1.2, 0.9]].forEach(([dx, dy], i) => pen[i ? "lineTo" : "moveTo"](x + dx * r, y + dy * r));
  else if (kind === "token") pen.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  else if (kind === "group") pen.roundRect(x - 1.6 * r, y - r, 3.2 * r, 2 * r, r / 2);
  else pen.arc(x, y, r, 0, 2 * Math.PI);
  pen.closePath();
}

export class Drawing {
  /** `choose` is told what is clicked: {node}, {group}, {source, target}, or {} for nothing; `pick` a node, with shift;
   * `moved` which part is in view. */
  constructor(canvas, { sites, tokens, view, choose, pick, say, moved }) {
    Object.assign(this, { canvas, sites, tokens, say, items: [], edges: [], picked: new Set() });
    this.zoom = new Zoom(canvas, document.querySelector("#zoom"), { view, box: () => this.box(), moved: (seen) => { this.fit(); moved(seen); } });
    new ResizeObserver(() => this.fit()).observe(canvas);
    document.addEventListener("theme", () => this.later());
    canvas.addEventListener("pointermove", (event) => this.hover(this.at(event)));
    canvas.addEventListener("pointerleave", () => this.hover({}));
    canvas.addEventListener("click", (event) => {
      if (this.zoom.dragged) return undefined;
      const { item, edge } = this.at(event);
      if (item && event.shiftKey) return pick(item);
      if (item) return choose(item.kind === "group" ? { group: item.name } : { node: item.id }, "click");
      return choose(edge ? { source: edge.ids[0], target: edge.ids[1] } : {}, "click");
    });
    canvas.addEventListener("keydown", (event) => {
      const item = this.walk(event.key);
      if (!item) return;
      event.preventDefault();
      event.stopPropagation();
      choose(item.kind === "group" ? { group: item.name } : { node: item.id });
    });
  }

  show({ items, edges }, chosen, picked) {
    Object.assign(this, { items, edges, chosen, picked, under: {} });
    this.fit();
  }

  fit() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
    if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
    const left = width < 500 ? 68 : 96;
    this.frame = { width, height, left, bottom: this.tokens.length ? 24 : 4 };
    Object.assign(this.frame, arrange(this.items, this.frame));
    magnify(this.items, this.frame, this.box(), this.zoom.view);
    this.later();
  }

  /** Move what is chosen into view, if it is not. */
  reveal() {
    const item = this.items.find((one) => this.isChosen(one));
    if (item) this.zoom.reveal(item);
  }

  /** The part of the canvas that nodes are in. */
  box() {
    const { left, width, height, bottom } = this.frame;
    return { left, top: 0, width: width - left, height: height - bottom };
  }

  later() {
    this.asked ??= requestAnimationFrame(() => { this.asked = undefined; this.draw(); });
  }

  draw() {
    const pen = this.canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.frame.width, this.frame.height);
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    this.shades = Object.fromEntries(["active", "negative", "muted", "text", "line", "accent", "ground", "faint"].map((name) => [name, colour(`--${name}`)]));
    this.drawFrame(pen);
    const { left, top, width, height } = this.box();
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width, height);
    pen.clip();
    this.drawEdges(pen);
    this.drawNodes(pen);
    pen.restore();
    this.canvas.dataset.drawn = "yes";
  }

  drawFrame(pen) {
    const { width, left, rows, columns, height, bottom } = this.frame;
    pen.strokeStyle = this.shades.line;
    pen.fillStyle = this.shades.muted;
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    let last = -Infinity;
    for (const row of [...rows].reverse()) {
      if (row.y > height - bottom || row.y + row.height < 0) continue;
      pen.beginPath();
      pen.moveTo(left, Math.round(row.y) + 0.5);
      pen.lineTo(width, Math.round(row.y) + 0.5);
      pen.stroke();
      const middle = (Math.max(row.y, 0) + Math.min(row.y + row.height, height - bottom)) / 2;
      if (middle - last < 12) continue; // a label for as many rows as there is room for
      last = middle;
      pen.fillText(siteName(this.sites[row.row]), 2, middle, left - 6);
    }
    pen.textAlign = "center";
    let end = -Infinity;
    for (const column of this.tokens.length ? columns : []) {
      const text = readable(this.tokens[column.position] ?? String(column.position));
      const middle = column.x + column.width / 2;
      const half = Math.min(pen.measureText(text).width, column.width) / 2;
      if (middle - half < end + 4 || middle - half < left || middle + half > width) continue;
      end = middle + half;
      pen.fillText(text, middle, height - bottom / 2, column.width);
    }
  }

  drawEdges(pen) {
    const largest = this.edges.reduce((most, edge) => Math.max(most, Math.abs(edge.weight)), 0) || 1;
    const [thin, thick] = this.edges.length > 200 ? [0.4, 2.2] : [0.6, 4.4];
    const focused = this.edges.some((edge) => edge.own);
    for (const edge of this.edges) {
      const faint = edge.source.faint || edge.target.faint;
      const lit = this.under?.edge === edge || (edge.ids[0] === this.chosen.source && edge.ids[1] === this.chosen.target);
      pen.globalAlpha = lit ? 1 : edge.own ? 0.85 : focused || faint ? 0.07 : this.edges.length > 200 ? 0.3 : 0.4;
      pen.strokeStyle = edge.weight < 0 ? this.shades.negative : this.shades.active;
      pen.lineWidth = thin + thick * Math.sqrt(Math.abs(edge.weight) / largest) + (lit ? 1 : 0);
      const middle = (edge.source.y + edge.target.y) / 2;
      pen.beginPath();
      pen.moveTo(edge.source.x, edge.source.y);
      pen.bezierCurveTo(edge.source.x, middle, edge.target.x, middle, edge.target.x, edge.target.y);
      pen.stroke();
    }
  }

  drawNodes(pen) {
    const ends = new Set(this.edges.filter((edge) => edge.own).flatMap((edge) => [edge.source, edge.target]));
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const item of this.items) {
      const mine = this.isChosen(item);
      pen.globalAlpha = item.faint ? 0.12 : ends.size && !ends.has(item) && !mine ? 0.35 : 0.95;
      pen.fillStyle = item.kind === "group" ? this.shades.ground : item.effect < 0 ? this.shades.negative : this.shades.active;
      shape(pen, item);
      pen.fill();
      if (item.kind === "group") {
        pen.strokeStyle = item.effect < 0 ? this.shades.negative : this.shades.active;
        pen.lineWidth = 2;
        pen.stroke();
      }
      if (mine || this.picked.has(item.id) || this.under?.item === item) {
        pen.globalAlpha = 1;
        pen.strokeStyle = this.picked.has(item.id) ? this.shades.text : this.shades.accent;
        pen.lineWidth = 2;
        shape(pen, { ...item, r: item.r + 3 });
        pen.stroke();
      }
      const named = item.kind === "token" && this.tokens.length; // below its column already
      if (!item.faint && !named && (item.room >= NARROWEST || item.kind === "group")) this.label(pen, item);
    }
  }

  label(pen, item) {
    const name = readable(item.name);
    const text = name.length > 18 ? `${name.slice(0, 17)}…` : name;
    const room = Math.max(item.room, item.kind === "group" ? 90 : 0) - 4;
    if (room < SQUEEZED && pen.measureText(text).width > room) return; // in less room it could not be read
    pen.fillStyle = item.kind === "group" ? this.shades.text : this.shades.muted;
    pen.fillText(text, item.x, item.y + item.r + 2, room);
  }

  isChosen(item) {
    return this.chosen.group ? item.kind === "group" && item.name === this.chosen.group
      : item.id === this.chosen.node || item.members?.some((node) => node.id === this.chosen.node);
  }

  at({ offsetX, offsetY }) {
    const { left, height } = this.box();
    if (offsetX < left - REACH || offsetY > height + REACH) return {};
    let [item, least] = [undefined, Infinity];
    for (const one of this.items) {
      const away = Math.hypot(one.x - offsetX, one.y - offsetY) - one.r;
      if (away < REACH && away < least) [item, least] = [one, away];
    }
    return item ? { item } : { edge: this.edgeAt(offsetX, offsetY) };
  }

  edgeAt(x, y) {
    let [found, least] = [undefined, REACH ** 2];
    for (const edge of this.edges) {
      if (y < Math.min(edge.source.y, edge.target.y) - REACH || y > Math.max(edge.source.y, edge.target.y) + REACH) continue;
      let before = [edge.source.x, edge.source.y];
      for (let i = 1; i <= STEPS; i++) {
        const now = along(edge, i / STEPS);
        const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
        const t = Math.min(Math.max(((x - before[0]) * dx + (y - before[1]) * dy) / (dx * dx + dy * dy || 1), 0), 1);
        const away = (before[0] + t * dx - x) ** 2 + (before[1] + t * dy - y) ** 2 - (edge.own ? 4 : 0);
        if (away < least) [found, least] = [edge, away];
        before = now;
      }
    }
    return found;
  }

  hover(under) {
    if (under.item === this.under?.item && under.edge === this.under?.edge) return;
    this.under = under;
    this.canvas.style.cursor = under.item || under.edge ? "pointer" : this.zoom.view.zoom > 1 ? "grab" : "";
    this.say(under.item ? this.words(under.item) : under.edge ? `${this.short(under.edge.source)} → ${this.short(under.edge.target)} · weight ${signed(under.edge.weight)}` : "");
    this.later();
  }

  short(item) {
    return item.kind === "group" ? item.name : `${siteName(this.sites[item.row])} ${readable(item.name)}`;
  }

  words(item) {
    const many = item.members ? ` · ${item.members.length} nodes` : item.position === null ? "" : ` · position ${item.position}`;
    return [`${this.short(item)}${many}`, `effect ${signed(item.effect)}`, meaning(item)].filter(Boolean).join(" · ");
  }

  /** The item that an arrow key leads to from the chosen one, or the first there is. */
  walk(key) {
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(key) || !this.items.length) return undefined;
    const now = this.items.find((item) => this.isChosen(item));
    if (!now) return this.items.reduce((best, item) => (Math.abs(item.effect) > Math.abs(best.effect) ? item : best));
    const [rows, step] = [this.frame.rows.map(({ row }) => row), { ArrowUp: 1, ArrowDown: -1 }[key]];
    if (step) {
      const next = rows[rows.indexOf(now.row) + step];
      const there = this.items.filter((item) => item.row === next);
      return there.length ? there.reduce((best, item) => (Math.abs(item.x - now.x) < Math.abs(best.x - now.x) ? item : best)) : now;
    }
    const beside = this.items.filter((item) => item.row === now.row).sort((a, b) => a.x - b.x || a.y - b.y);
    const at = beside.indexOf(now) + (key === "ArrowRight" ? 1 : -1);
    return beside[Math.min(Math.max(at, 0), beside.length - 1)];
  }
}
