// Keys that work on every page, the two dialogs they open, copying of commands, and prefetching of linked features.

const typing = (target) => target.matches("input, textarea, select, [contenteditable]");
const link = (name) => document.querySelector(`a[data-key="${name}"]:not([aria-disabled="true"])`);

function open(id) {
  const dialog = document.getElementById(id);
  if (!dialog || dialog.open) return;
  dialog.showModal();
  dialog.querySelector("input")?.select();
}

const ACTIONS = {
  ArrowLeft: () => link("previous")?.click(),
  ArrowRight: () => link("next")?.click(),
  "/": () => {
    const field = document.querySelector("#filter");
    if (field) field.focus();
    else link("search")?.click();
  },
  t: () => document.querySelector("#live-text")?.focus(),
  g: () => open("go"),
  "?": () => open("keys"),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && typing(event.target)) event.target.blur();
  if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const action = ACTIONS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("click", async (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) open(opener.dataset.open);
  if (event.target.matches("dialog")) event.target.close();
  const copier = event.target.closest("[data-copy]");
  if (!copier) return;
  await navigator.clipboard.writeText(copier.dataset.copy);
  copier.textContent = "copied";
  setTimeout(() => { copier.textContent = "copy"; }, 1500);
});

// Without a secure context (another host over http) there is no clipboard: the command can still be selected.
if (!navigator.clipboard) document.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = true; });

document.querySelector("#go form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = event.target.elements.feature.value.trim();
  if (/^\d+$/.test(wanted)) location.href = event.target.dataset.base.replace("{feature}", Number(wanted));
});

const fetched = new Set();
function prefetch(anchor) {
  if (!anchor || fetched.has(anchor.href)) return;
  fetched.add(anchor.href);
  document.head.append(Object.assign(document.createElement("link"), { rel: "prefetch", href: anchor.href }));
}

document.addEventListener("mouseover", (event) => prefetch(event.target.closest?.("a[data-prefetch]")));
addEventListener("load", () => ["next", "previous"].forEach((name) => prefetch(link(name))));
