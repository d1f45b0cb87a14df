// Zoom and pan of the graph. The wheel with ctrl (what a pinch on a trackpad sends, too), two fingers, buttons, + − 0;
// dragging and shift with arrow keys move. One finger and the wheel alone scroll the page as everywhere else.

const STEP = 1.4;
const LARGEST = 24;
const DRAGGED = 4; // CSS pixels from which on a press is no click
const STRIDE = 0.15; // of what is in view, by an arrow key

/** What an address says is in view: how much larger, and what is in the middle, as shares of the whole graph. */
export function readView(text) {
  const [zoom, x, y] = text.split("_").map(Number);
  return zoom > 1 && x >= 0 && y >= 0 ? bounded({ zoom, x, y }) : { zoom: 1, x: 0.5, y: 0.5 };
}

/** The same for an address; empty where all is in view. */
export const viewText = ({ zoom, x, y }) => (zoom > 1 ? [zoom.toFixed(2), x.toFixed(3), y.toFixed(3)].join("_") : "");

function bounded({ zoom, x, y }) {
  const scale = Math.min(Math.max(zoom, 1), LARGEST);
  const within = (value) => Math.min(Math.max(value, 0.5 / scale), 1 - 0.5 / scale);
  return { zoom: scale, x: within(x), y: within(y) };
}

/** Moves what `arrange` has placed in a box to where a view shows it. Nodes grow, but less than what is between them. */
export function magnify(items, { rows, columns }, { left, top, width, height }, { zoom, x, y }) {
  if (zoom === 1) return;
  const across = (at) => left + width / 2 + (at - left - x * width) * zoom;
  const down = (at) => top + height / 2 + (at - top - y * height) * zoom;
  for (const item of items) Object.assign(item, { x: across(item.x), y: down(item.y), r: item.r * zoom ** 0.4, room: item.room * zoom });
  for (const row of rows) Object.assign(row, { y: down(row.y), height: row.height * zoom });
  for (const column of columns) Object.assign(column, { x: across(column.x), width: column.width * zoom });
}

export class Zoom {
  /** `box` gives the part of the canvas that is zoomed {left, top, width, height}; `moved` is told of every new view. */
  constructor(canvas, buttons, { view, box, moved }) {
    Object.assign(this, { canvas, buttons, view, box, moved, dragged: false });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.by(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.grip(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.held = undefined; });
    for (const name of ["touchstart", "touchmove"]) canvas.addEventListener(name, (event) => this.pinch(event), { passive: false });
    canvas.addEventListener("touchend", () => { this.fingers = undefined; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    buttons.addEventListener("click", (event) => this.press(event.target.closest("[data-zoom]")?.dataset.zoom));
    this.tell();
  }

  /** Show this much. */
  set(view) {
    this.view = bounded(view);
    this.tell();
    this.moved(this.view);
  }

  tell() {
    this.buttons.querySelector("output").textContent = `${Math.round(this.view.zoom * 100)}%`;
    for (const name of ["out", "whole"]) this.buttons.querySelector(`[data-zoom=${name}]`).disabled = this.view.zoom === 1;
    this.buttons.querySelector("[data-zoom=in]").disabled = this.view.zoom === LARGEST;
  }

  /** Enlarge by a factor, what is at a place of the canvas (or in the middle) staying there. */
  by(factor, x, y) {
    const { left, top, width, height } = this.box();
    const [right, below] = [x === undefined ? 0 : (x - left) / width - 0.5, y === undefined ? 0 : (y - top) / height - 0.5];
    const zoom = Math.min(Math.max(this.view.zoom * factor, 1), LARGEST);
    const change = 1 / this.view.zoom - 1 / zoom;
    this.set({ zoom, x: this.view.x + right * change, y: this.view.y + below * change });
  }

  /** Move by CSS pixels. */
  move(right, down) {
    const [{ width, height }, { zoom, x, y }] = [this.box(), this.view];
    this.set({ zoom, x: x + right / width / zoom, y: y + down / height / zoom });
  }

  /** Move a place of the canvas into view, if it is not. */
  reveal({ x, y }) {
    const { left, top, width, height } = this.box();
    if (x >= left && x <= left + width && y >= top && y <= top + height) return;
    this.move(x - left - width / 2, y - top - height / 2);
  }

  press(which) {
    if (which === "whole") this.set({ zoom: 1, x: 0.5, y: 0.5 });
    else if (which) this.by(which === "in" ? STEP : 1 / STEP);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own zoom
    const which = { "+": "in", "=": "in", "-": "out", 0: "whole" }[event.key];
    const { width, height } = this.box();
    const step = event.shiftKey && { ArrowLeft: [-width, 0], ArrowRight: [width, 0], ArrowUp: [0, -height], ArrowDown: [0, height] }[event.key];
    if (!which && !step) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (step) this.move(step[0] * STRIDE, step[1] * STRIDE);
    else this.press(which);
  }

  grip(event) {
    this.dragged = false;
    if (event.pointerType !== "touch" && event.button === 0 && !event.shiftKey && this.view.zoom > 1) this.held = { x: event.offsetX, y: event.offsetY };
  }

  drag({ offsetX, offsetY, pointerId }) {
    if (!this.held) return;
    const [right, down] = [this.held.x - offsetX, this.held.y - offsetY];
    if (!this.dragged && Math.hypot(right, down) < DRAGGED) return;
    if (!this.dragged) this.canvas.setPointerCapture(pointerId);
    this.dragged = true;
    this.held = { x: offsetX, y: offsetY };
    this.move(right, down);
  }

  pinch(event) {
    if (event.touches.length !== 2) return;
    if (event.cancelable) event.preventDefault();
    const { left, top } = this.canvas.getBoundingClientRect();
    const [a, b] = event.touches;
    const now = { x: (a.clientX + b.clientX) / 2 - left, y: (a.clientY + b.clientY) / 2 - top, apart: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) };
    if (this.fingers) {
      this.by(now.apart / this.fingers.apart, now.x, now.y);
      this.move(this.fingers.x - now.x, this.fingers.y - now.y);
    }
    this.fingers = now;
  }
}
