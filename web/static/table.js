// The table of features: clicking a bar of the density histogram filters by its range, and the filter field completes
// column names. Sorting, filtering and paging themselves are htmx attributes in the page.

htmx.config.historyCacheSize = 0;
htmx.config.refreshOnHistoryMiss = true;

const field = document.querySelector("#filter");
const list = document.querySelector("#suggest");
const columns = field?.dataset.columns.split(" ") ?? [];

document.addEventListener("bar", (event) => {
  const [low, high] = event.detail;
  field.value = `density >= ${Number(low.toPrecision(3))} and density < ${Number(high.toPrecision(3))}`;
  field.form.requestSubmit();
  document.querySelector("#features").scrollIntoView({ behavior: "smooth" });
});

// A filter that cannot be read comes back as 422 with the same fragment, which says why: show it.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status !== 422) return;
  event.detail.shouldSwap = true;
  event.detail.isError = false;
});

document.addEventListener("click", (event) => {
  const preset = event.target.closest("[data-filter]");
  if (preset) field.value = preset.dataset.filter;
});

function word() {
  return field.value.slice(0, field.selectionStart).match(/[a-z_]+$/)?.[0] ?? "";
}

function suggest() {
  const start = word();
  const found = start ? columns.filter((name) => name.startsWith(start) && name !== start) : [];
  list.hidden = !found.length;
  list.replaceChildren(...found.map((name, i) => {
    const item = Object.assign(document.createElement("li"), { textContent: name, role: "option" });
    item.setAttribute("aria-selected", i === 0);
    item.addEventListener("mousedown", (event) => { event.preventDefault(); complete(name); });
    return item;
  }));
}

function complete(name) {
  const at = field.selectionStart - word().length;
  field.setRangeText(name, at, field.selectionStart, "end");
  list.hidden = true;
}

function move(step) {
  const items = [...list.children];
  const now = items.findIndex((item) => item.getAttribute("aria-selected") === "true");
  items.forEach((item, i) => item.setAttribute("aria-selected", i === (now + step + items.length) % items.length));
}

field?.addEventListener("input", suggest);
field?.addEventListener("blur", () => { list.hidden = true; });
field?.addEventListener("keydown", (event) => {
  if (list.hidden) return;
  if (event.key === "ArrowDown") move(1);
  else if (event.key === "ArrowUp") move(-1);
  else if (event.key === "Tab") complete(list.querySelector('[aria-selected="true"]').textContent);
  else if (event.key === "Escape") list.hidden = true;
  else return;
  event.preventDefault();
});
