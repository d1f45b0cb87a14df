// The map of decoder directions on a canvas: 65,000 points at once, which plotly draws only with WebGL, and that needs
// the page to allow eval. Wheel or + and − zoom, dragging moves, hovering says what a point is, a click opens it.

const LIGHTEST = -5; // log10 of the density that is drawn palest
const REACH = 12; // CSS pixels within which a point is meant

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

class PointMap {
  constructor(canvas, { points }) {
    this.canvas = canvas;
    this.points = points;
    this.order = points.x.map((_, i) => i).sort((a, b) => (points.density[a] ?? 0) - (points.density[b] ?? 0));
    this.status = canvas.parentElement.querySelector(".status");
    this.idle = this.status.textContent;
    this.fit();
    new ResizeObserver(() => this.fit()).observe(canvas);
    document.addEventListener("theme", () => this.draw());
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { this.grip = { x: event.offsetX, y: event.offsetY, moved: false }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => (this.grip ? this.drag(event) : this.point(event)));
    canvas.addEventListener("pointerup", (event) => { const { moved } = this.grip ?? {}; this.grip = null; if (!moved) this.open(event); });
    canvas.addEventListener("pointerleave", () => this.say(-1));
    canvas.addEventListener("keydown", (event) => {
      const factor = { "+": 1.4, "=": 1.4, "-": 1 / 1.4 }[event.key];
      if (factor) this.zoom(factor, this.width / 2, this.height / 2);
      if (event.key === "0") this.fit();
    });
  }

  /** All points in view. */
  fit() {
    const { x, y } = this.points;
    const ratio = devicePixelRatio || 1;
    [this.width, this.height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    [this.canvas.width, this.canvas.height] = [this.width * ratio, this.height * ratio];
    const bounds = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
    const [[left, right], [bottom, top]] = [bounds(x), bounds(y)];
    this.scale = Math.min((this.width - 24) / (right - left || 1), (this.height - 24) / (top - bottom || 1));
    this.dx = this.width / 2 - ((left + right) / 2) * this.scale;
    this.dy = this.height / 2 + ((bottom + top) / 2) * this.scale;
    this.draw();
  }

  across(i) { return this.points.x[i] * this.scale + this.dx; }
  down(i) { return this.dy - this.points.y[i] * this.scale; }

  draw() {
    const ratio = devicePixelRatio || 1;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const [dead, active] = [colour("--faint"), colour("--active")];
    const size = Math.max(1.5, Math.min(5, 180 / Math.sqrt(this.order.length)));
    for (const i of this.order) {
      const [across, down, density] = [this.across(i), this.down(i), this.points.density[i]];
      if (across < -size || down < -size || across > this.width + size || down > this.height + size) continue;
      pen.fillStyle = density === 0 ? dead : active;
      pen.globalAlpha = density === 0 ? 0.5 : density === undefined ? 0.6 : 0.2 + 0.75 * Math.min(Math.max(1 - Math.log10(density) / LIGHTEST, 0), 1);
      pen.fillRect(across - size / 2, down - size / 2, size, size);
    }
    pen.globalAlpha = 1;
    if (this.shown >= 0) {
      pen.strokeStyle = colour("--accent");
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.arc(this.across(this.shown), this.down(this.shown), size / 2 + 4, 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  zoom(factor, across, down) {
    this.dx = across - (across - this.dx) * factor;
    this.dy = down - (down - this.dy) * factor;
    this.scale *= factor;
    this.draw();
  }

  drag({ offsetX, offsetY }) {
    const [across, down] = [offsetX - this.grip.x, offsetY - this.grip.y];
    if (!this.grip.moved && Math.hypot(across, down) < 4) return;
    this.dx += across;
    this.dy += down;
    this.grip = { x: offsetX, y: offsetY, moved: true };
    this.draw();
  }

  nearest({ offsetX, offsetY }) {
    let [found, least] = [-1, REACH ** 2];
    for (let i = 0; i < this.points.x.length; i++) {
      const away = (this.across(i) - offsetX) ** 2 + (this.down(i) - offsetY) ** 2;
      if (away < least) [found, least] = [i, away];
    }
    return found;
  }

  point(event) { this.say(this.nearest(event)); }

  say(i) {
    if (i === this.shown) return;
    this.shown = i;
    const { said, density } = this.points;
    const often = density[i] === 0 ? "dead" : density[i] === undefined ? "" : `fires on ${Number((100 * density[i]).toPrecision(2))}% of tokens`;
    this.status.textContent = i < 0 ? this.idle : [`${i}`, said[i], often].filter(Boolean).join(" · ");
    this.canvas.style.cursor = i < 0 ? "" : "pointer";
    this.draw();
  }

  open(event) {
    const i = this.nearest(event);
    if (i >= 0) location.assign(this.canvas.dataset.feature.replace("{feature}", i));
  }
}

/** Draw every map on the page that is not drawn yet. */
async function begin() {
  for (const canvas of document.querySelectorAll("canvas[data-points]:not([data-drawn])")) {
    canvas.dataset.drawn = "";
    const answer = await fetch(canvas.dataset.points).catch(() => null);
    if (!answer?.ok) {
      canvas.parentElement.querySelector(".status").textContent = (await answer?.json().catch(() => null))?.cause ?? "The map cannot be fetched.";
      continue;
    }
    new PointMap(canvas, await answer.json());
    canvas.dataset.drawn = "yes";
  }
}

document.addEventListener("htmx:afterSettle", begin);
begin();
