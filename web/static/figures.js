// Figures: Python says what is drawn (`<script type="application/json">` beside each `.plot`, or its `data-figure` in a
// part that htmx brings, which drops scripts), the page says in which colours. Each trace names its colour by role in `meta`,
// or a variable of the page; axes, text and hover take the page's own.

const LEAST = 11; // CSS pixels between two names on an axis, below which they would run into each other

// Where nothing can hover, the bar of tools would always lie on the figure, and dragging is for scrolling the page.
const TOUCH = matchMedia("(hover: none)").matches;
const CONFIG = { displaylogo: false, responsive: true, displayModeBar: TOUCH ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"] };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function dressed(figure, width, hidden) {
  const role = { active: colour("--active"), negative: colour("--negative"), accent: colour("--accent"), muted: colour("--muted") };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 11, color: colour("--muted") };
  const data = figure.data.map((trace) => {
    const shade = role[trace.meta] ?? (colour(`--${trace.meta}`) || role.accent);
    if (trace.type === "heatmap") return { ...trace, colorscale: [[0, colour("--sunken")], [1, shade]] };
    return { ...trace, visible: !hidden.includes(trace.meta), marker: { ...trace.marker, color: shade }, line: { ...trace.line, color: shade } };
  });
  const layout = {
    ...figure.layout,
    font,
    dragmode: TOUCH ? false : figure.layout.dragmode,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line-strong"), font: { ...font, color: colour("--text") } },
  };
  layout.shapes = figure.layout.shapes?.map((shape) => ({ ...shape, line: { ...shape.line, color: colour("--text") } }));
  if (width < LEAST * layout.xaxis?.ticktext?.length) layout.xaxis = { ...layout.xaxis, showticklabels: false };
  for (const name of ["xaxis", "xaxis2", "yaxis"].filter((one) => layout[one])) {
    layout[name] = { ...layout[name], gridcolor: colour("--line"), linecolor: colour("--line-strong"), tickcolor: colour("--line-strong") };
  }
  return [data, layout];
}

async function draw(plot) {
  const figure = JSON.parse(plot.dataset.figure ?? plot.nextElementSibling.textContent);
  await Plotly.react(plot, ...dressed(figure, plot.clientWidth, plot.dataset.hidden?.split(" ") ?? []), CONFIG);
  if (plot.dataset.drawn) return;
  plot.dataset.drawn = "yes";
  plot.on("plotly_click", ({ points: [point] }) => plot.dispatchEvent(new CustomEvent("bar", { bubbles: true, detail: point.customdata })));
}

export const drawAll = () => document.querySelectorAll(".plot").forEach(draw);

/** Mark `value` on a figure's x axis with a thin line; no value, no line. */
export function pin(plot, value) {
  let line = plot.querySelector(".pin");
  if (value === undefined) return line?.remove();
  const axis = plot._fullLayout?.xaxis;
  if (!axis) return undefined;
  if (!line) {
    line = Object.assign(document.createElement("div"), { className: "pin", innerHTML: "<span></span>" });
    plot.append(line);
  }
  const across = axis.d2p(value);
  line.style.left = `${axis._offset + across}px`;
  line.style.height = `${plot._fullLayout.yaxis._length + plot._fullLayout.yaxis._offset}px`;
  line.classList.toggle("left", across > axis._length * 0.7);
  line.firstChild.textContent = Number(value).toPrecision(3);
  return line;
}

drawAll();
document.addEventListener("theme", drawAll);
document.addEventListener("htmx:load", ({ target }) => target.querySelectorAll?.(".plot:not([data-drawn])").forEach(draw));
