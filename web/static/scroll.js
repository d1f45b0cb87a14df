// A table of any length in a box that scrolls: rows stand in windows of equal size, one tbody each, and only the window
// in view and the two beside it are in the page. Rows are 28 px high; what is not there yet is a gap of that height.

const ROW = 28;
const KEPT = 40;
const PAUSE = 50;

export function scrolling(box) {
  const table = box.querySelector("table");
  const size = Number(box.dataset.window);
  const total = Number(box.dataset.total);
  const last = Math.ceil(total / size) - 1;
  const place = document.querySelector("#features [data-place]");
  const plain = document.querySelector("#features [data-plain]");
  const [above, below] = [gap(), gap()];
  const kept = new Map();
  const shown = new Map();
  let loading = false;
  let settling;

  function gap() {
    const body = document.createElement("tbody");
    body.setAttribute("aria-hidden", "true");
    body.append(document.createElement("tr"));
    return body;
  }

  const rowsIn = (n) => Math.min(size, total - n * size);
  const stretch = (body, rows) => { body.hidden = rows === 0; body.firstChild.style.height = `${rows * ROW}px`; };

  function fetched(n) {
    if (!kept.has(n)) {
      if (kept.size >= KEPT) kept.delete(kept.keys().next().value);
      const address = new URL(box.dataset.rows, location.href);
      address.searchParams.set("from", n * size);
      const answer = fetch(address, { headers: { "HX-Request": "true" } }).then((r) => (r.ok ? r.text() : Promise.reject(r.status)));
      kept.set(n, answer.catch(() => { kept.delete(n); return undefined; }));
    }
    return kept.get(n);
  }

  async function fill([n, body]) {
    body.dataset.tried = "yes";
    const html = await fetched(n);
    if (html === undefined || !body.isConnected) return;
    const rows = document.createElement("tbody");
    rows.innerHTML = html;
    body.replaceWith(rows);
    shown.set(n, rows);
  }

  const inView = ([n]) => n * size * ROW < box.scrollTop + box.clientHeight && (n + 1) * size * ROW > box.scrollTop;
  const empty = () => [...shown].filter(([, body]) => body.hasAttribute("aria-hidden") && !body.dataset.tried);

  // One batch at a time, so that dragging through the list asks for where it stops and not for all it passed: what is in
  // view first, and when that has been drawn, what is beside it.
  async function load() {
    if (loading) return;
    loading = true;
    while (empty().length && box.isConnected) {
      if (!empty().some(inView)) await new Promise((done) => { setTimeout(done, PAUSE); });
      const seen = empty().filter(inView);
      await Promise.all((seen.length ? seen : empty().slice(0, 1)).map(fill));
    }
    loading = false;
  }

  function show() {
    const middle = Math.min(last, Math.max(0, Math.floor((box.scrollTop + box.clientHeight / 2) / ROW / size)));
    const wanted = [middle - 1, middle, middle + 1].filter((n) => n >= 0 && n <= last);
    if (wanted.every((n) => shown.has(n))) return;
    for (const [n, body] of shown) if (!wanted.includes(n)) { body.remove(); shown.delete(n); }
    for (const n of wanted) {
      if (!shown.has(n)) {
        const body = gap();
        stretch(body, rowsIn(n));
        shown.set(n, body);
      }
      table.insertBefore(shown.get(n), below);
    }
    stretch(above, wanted[0] * size);
    stretch(below, Math.max(0, total - (wanted.at(-1) + 1) * size));
    load();
  }

  function tell() {
    const first = Math.round(box.scrollTop / ROW);
    const visible = Math.floor((box.clientHeight - table.tHead.offsetHeight) / ROW);
    place.textContent = `${(first + 1).toLocaleString("en")}–${Math.min(total, first + visible).toLocaleString("en")}`;
    const address = new URL(location.href);
    if (first) address.searchParams.set("from", first);
    else address.searchParams.delete("from");
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  }

  function step(by) {
    const row = document.activeElement.closest?.("tr[aria-rowindex]");
    const next = row && table.contains(row) ? box.querySelector(`tr[aria-rowindex="${Number(row.getAttribute("aria-rowindex")) + by}"] a.row`) : null;
    next?.focus();
    return next;
  }

  box.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (by && !event.ctrlKey && !event.metaKey && !event.altKey && step(by)) event.preventDefault();
  });
  box.addEventListener("scroll", () => {
    show();
    clearTimeout(settling);
    settling = setTimeout(() => box.isConnected && tell(), 150);
  }, { passive: true });
  // Once the rows that came with the page have been drawn: laying out what is beside them would keep these waiting.
  new ResizeObserver(() => setTimeout(() => { if (box.isConnected) { show(); tell(); } })).observe(box);

  const given = table.tBodies[0];
  const first = Number(box.dataset.first) / size;
  shown.set(first, given);
  given.before(above);
  given.after(below);
  stretch(above, first * size);
  stretch(below, Math.max(0, total - (first + 1) * size));
  plain.hidden = true;
  if (box.dataset.from !== "0") box.scrollTop = Number(box.dataset.from) * ROW;
}
