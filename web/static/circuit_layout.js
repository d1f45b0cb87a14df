// Where nodes stand: a row for each site, in the order in which the model computes them, from below; within a row by
// position where positions are kept apart, or else spread over its width, strongest first.

const LARGEST = 9;
const LABELLED = 44; // pixels that a node needs to be labelled

/** Places `items` (x, y, r) in a box; gives rows {name index, y, height} and columns {position, x, width}. */
export function arrange(items, { width, height, left, bottom }) {
  const used = [...new Set(items.map((item) => item.row))].sort((a, b) => a - b);
  const positions = [...new Set(items.map((item) => item.position).filter((p) => p !== null))].sort((a, b) => a - b);
  const columnOf = new Map(positions.map((position, i) => [position, i]));
  const n = Math.max(positions.length, 1);
  const [across, up] = [(width - left - 12) / n, (height - bottom - 8) / Math.max(used.length, 1)];
  const cells = new Map();
  for (const item of items) {
    const key = `${item.row} ${item.position}`;
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(item);
  }
  const largest = items.reduce((most, item) => Math.max(most, Math.abs(item.effect)), 0) || 1;
  const rowOf = new Map(used.map((row, i) => [row, i]));
  for (const cell of cells.values()) {
    const [{ row, position }] = cell;
    const alone = position === null && positions.length > 0;
    const wide = alone ? width - left - 12 : across;
    const from = left + (alone || !positions.length ? 0 : columnOf.get(position) * across);
    place(cell, from, height - bottom - (rowOf.get(row) + 1) * up, wide, up, largest);
  }
  return {
    rows: used.map((row, i) => ({ row, y: height - bottom - (i + 1) * up, height: up })),
    columns: positions.map((position, i) => ({ position, x: left + i * across, width: across })),
  };
}

function place(cell, x, y, wide, high, largest) {
  const inner = [Math.max(wide - 12, 8), Math.max(high - 10, 8)];
  const apart = Math.min(Math.sqrt((inner[0] * inner[1]) / cell.length), LABELLED * 2.5);
  const perLine = Math.max(Math.min(Math.floor(inner[0] / apart) || 1, cell.length), Math.ceil(cell.length / Math.max(Math.floor(inner[1] / apart), 1)));
  const lines = Math.ceil(cell.length / perLine);
  const [dx, dy] = [Math.min(inner[0] / perLine, LABELLED * 2.5), inner[1] / lines];
  const most = Math.max(Math.min(dx * 0.45, dy * 0.45, LARGEST), 1.5);
  cell.forEach((item, i) => {
    const [line, at] = [Math.floor(i / perLine), i % perLine];
    item.x = x + 6 + (at + 0.5) * dx;
    item.y = y + 5 + (line + 0.5) * dy;
    item.r = item.kind === "group" ? Math.max(most, 6) : Math.max(most * (0.45 + 0.55 * Math.sqrt(Math.abs(item.effect) / largest)), 1.2);
    item.room = Math.min(dx, dy * 2.2);
    if (lines === 1 && item.room >= LABELLED) item.y -= 4; // the label below it stays off the line
  });
}
