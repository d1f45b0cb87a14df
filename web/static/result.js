// What a page computes is asked for once the page is there, and put where `data-result` says. Links with `data-refresh`
// ask for another part of it without leaving the page; the address in the bar is that of what is shown.

import { drawAll } from "./figures.js";

const place = document.querySelector("[data-result]");
let running;

async function load(address) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  place.setAttribute("aria-busy", "true");
  if (!place.childElementCount) place.innerHTML = '<p class="computing" role="status"></p>';
  const said = place.querySelector(".computing");
  if (said) said.textContent = place.dataset.doing;
  const slow = setTimeout(() => { if (said) said.textContent = `${place.dataset.doing} The first time, the model is opened, which takes some seconds.`; }, 2000);
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, signal });
    place.innerHTML = await answer.text();
    drawAll();
  } catch (error) {
    if (error.name === "AbortError") return;
    place.innerHTML = '<p class="problem">The server does not answer. Is saebench serve still running?</p>';
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) place.removeAttribute("aria-busy");
  }
}

place?.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-refresh]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  load(link.dataset.refresh);
});
document.querySelector("form.ask")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const query = new URLSearchParams(new FormData(event.target));
  history.pushState(null, "", `${new URL(event.target.action).pathname}?${query}`);
  load(`${place.dataset.from}?${query}`);
});
addEventListener("popstate", () => location.reload());
document.addEventListener("bar", (event) => {
  const pattern = place?.querySelector("[data-feature-pattern]")?.dataset.featurePattern;
  if (pattern) location.href = pattern.replace("{feature}", event.detail[0]);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.form) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});

if (place?.dataset.result) load(place.dataset.result);
