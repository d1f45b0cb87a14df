// The panel beside a circuit's graph: the chosen node, edge or supernode. Nodes and edges come from the server as they
// are; an edge can be tested from here.

import { meaning, meant } from "./circuit_meaning.js";
import { readable, siteName, signed } from "./circuit_sift.js";

const panel = document.querySelector("#panel");
const chosen = document.querySelector("#chosen");
const FAR = 0.6; // of the window: a heading below that has next to nothing of its card in view
let running;

/** Bring what has just been shown into view, if it is not; with `focus`, go there. */
export function attend(focus) {
  const heading = panel.querySelector("h2") ?? panel.firstElementChild;
  panel.scrollTop = 0;
  if (focus) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
  const { top } = heading.getBoundingClientRect();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (top < 0 || top > FAR * innerHeight) heading.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

/** Say what has just been shown to whoever hears the page. */
export function announce() {
  chosen.textContent = [...panel.querySelectorAll("h2, h2 + .aside, .ends dd")].map((part) => part.textContent).join(", ");
}

/** Show what the server says of a node or an edge; whether something new is shown. */
export async function fetchInto(address) {
  running?.abort();
  running = new AbortController();
  panel.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, signal: running.signal });
    const text = await answer.text();
    if (answer.ok) panel.innerHTML = text;
    else idle(answer.status === 404 ? "This circuit has no such node or edge." : "The server cannot say.");
  } catch (error) {
    if (error.name === "AbortError") return false;
    idle("The server does not answer. Is saebench serve still running?");
  }
  panel.removeAttribute("aria-busy");
  return true;
}

/** Say what can be done, or why nothing is shown. */
export function idle(text = panel.dataset.idle) {
  running?.abort();
  panel.removeAttribute("aria-busy");
  panel.replaceChildren(Object.assign(document.createElement("p"), { className: "muted", textContent: text }));
}

/** Show a supernode: its nodes, and a button that takes it apart. */
export function showGroup(name, nodes, address, ungroup) {
  running?.abort();
  const title = Object.assign(document.createElement("h2"), { textContent: name });
  const list = Object.assign(document.createElement("ul"), { className: "members" });
  for (const node of nodes) {
    const link = Object.assign(document.createElement("a"), { href: address(node.id), className: "token", textContent: readable(node.name) });
    link.dataset.node = node.id;
    const item = document.createElement("li");
    const about = Object.assign(document.createElement("span"), { className: "muted", textContent: ` ${siteName(node.site)}${meaning(node) ? " · " : ""}` });
    about.append(meant(node));
    item.append(link, about, Object.assign(document.createElement("span"), { className: `number ${node.effect < 0 ? "down" : "up"}`, textContent: signed(node.effect) }));
    list.append(item);
  }
  const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: "Ungroup" });
  button.addEventListener("click", ungroup);
  panel.replaceChildren(title, list, button);
}

/** Sort a table of the panel by a column; again, the other way round. */
panel.addEventListener("click", (event) => {
  const heading = event.target.closest(".sortable th");
  if (!heading) return;
  const table = heading.closest("table");
  const falling = heading.getAttribute("aria-sort") === "descending" ? false : heading.getAttribute("aria-sort") === "ascending" || heading.classList.contains("number");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const numeric = heading.classList.contains("number");
  const value = (row) => row.cells[heading.cellIndex].dataset.value;
  const compare = numeric ? (a, b) => Math.abs(value(a)) - Math.abs(value(b)) : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => (falling ? -1 : 1) * compare(a, b)));
});

panel.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches(".testing")) return;
  event.preventDefault();
  const [said, button, table] = [form.querySelector(".said"), form.querySelector("button"), panel.querySelector(".tested")];
  button.disabled = true;
  said.classList.remove("problem");
  said.textContent = "Running the model with and without the source…";
  const { source, target } = form.dataset;
  const answer = await fetch(form.getAttribute("action"), {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/json" },
    body: JSON.stringify({ source, target, examples: Number(form.elements.examples.value) }),
  }).catch(() => null);
  button.disabled = false;
  const found = await answer?.json().catch(() => null);
  if (!answer?.ok) {
    said.classList.add("problem");
    said.textContent = [found?.cause, found?.remedy].filter(Boolean).join(" ") || "The server does not answer. Is saebench serve still running?";
    return;
  }
  said.textContent = `On ${found.n} example${found.n === 1 ? "" : "s"}.`;
  table.hidden = false;
  const largest = Math.max(Math.abs(found.predicted), Math.abs(found.measured)) || 1;
  for (const row of table.rows) {
    const value = found[row.cells[1].dataset.of];
    row.cells[1].textContent = signed(value);
    const bar = row.querySelector("rect");
    const width = (50 * Math.abs(value)) / largest;
    bar.setAttribute("x", value < 0 ? -width : 0);
    bar.setAttribute("width", width);
    bar.setAttribute("class", value < 0 ? "negative" : "");
  }
});
