// The figures of doses share a legend: its buttons hide and show a treatment in all of them.

import { drawAll } from "./figures.js";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-series]");
  if (!button) return;
  button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
  const hidden = [...document.querySelectorAll('[data-series][aria-pressed="false"]')].map((one) => `series-${one.dataset.series}`);
  for (const plot of document.querySelectorAll(".plot.dose")) plot.dataset.hidden = hidden.join(" ");
  drawAll();
});
