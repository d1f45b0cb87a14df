// The threshold chosen for the graph, marked on the curves: at the number of nodes that the features' curve has there.

import { pin } from "./figures.js";

let threshold = 0;

function mark(plot) {
  const features = plot.data?.find((trace) => trace.name === "features");
  if (!features || !plot._fullLayout?.xaxis) return;
  const points = features.customdata.map(([at], i) => ({ at, x: features.x[i], y: features.y[i] })).sort((a, b) => a.at - b.at);
  const upper = points.findIndex(({ at }) => at >= threshold);
  const [low, high] = upper <= 0 ? [points.at(upper), points.at(upper)] : [points[upper - 1], points[upper]];
  const share = high.at > low.at ? (threshold - low.at) / (high.at - low.at) : 0;
  const line = pin(plot, Math.exp(Math.log(low.x) * (1 - share) + Math.log(high.x) * share));
  if (line) line.firstChild.textContent = (low.y * (1 - share) + high.y * share).toFixed(2);
}

const marked = () => document.querySelectorAll(".curves-strip .plot").forEach(mark);

document.addEventListener("threshold", ({ detail }) => { threshold = detail; marked(); });
const waiting = setInterval(() => {
  const plots = [...document.querySelectorAll(".curves-strip .plot")];
  if (!plots.every((plot) => plot.dataset.drawn)) return;
  clearInterval(waiting);
  for (const plot of plots) plot.on("plotly_afterplot", () => mark(plot));
  marked();
}, 100);
