// The table of features on an SAE's page: clicking a bar or a cell of a plot filters by its range. Sorting, filtering and
// searching themselves are htmx attributes in the page; scrolling and suggestions have files of their own.

import { scrolling } from "./scroll.js";
import { suggesting } from "./suggest.js";

const form = document.querySelector("#filters");
const { filter, search } = form.elements;

suggesting(filter, document.querySelector("#suggest"), JSON.parse(document.querySelector("#names").textContent));

const table = () => document.querySelector("#features .scroll");
if (table()) scrolling(table());
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "features" && table()) scrolling(table());
});

document.querySelector("#plots")?.addEventListener("bar", (event) => {
  const columns = document.getElementById(event.target.id)._fullLayout.meta;
  filter.value = columns.map((column, i) => `${column} between ${event.detail[2 * i]} and ${event.detail[2 * i + 1]}`).join(" and ");
  form.requestSubmit();
  document.querySelector("#features").scrollIntoView({ behavior: "smooth", block: "nearest" });
});

// What cannot be read comes back as 422 with the same fragment, which says why: show it. The old rows are taken away at
// once: htmx would say farewell to each of their elements, which takes longer than all the rest.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.id !== "features") return;
  if (detail.xhr.status === 422) {
    detail.shouldSwap = true;
    detail.isError = false;
  }
  if (detail.shouldSwap) detail.target.replaceChildren();
});

// An address names only what is asked for.
document.addEventListener("htmx:configRequest", (event) => {
  for (const [name, value] of [...event.detail.formData.entries()]) if (value === "") event.detail.formData.delete(name);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-filter], [data-search]");
  if (link?.dataset.filter !== undefined) filter.value = link.dataset.filter;
  if (link?.dataset.search !== undefined) search.value = link.dataset.search;
});
