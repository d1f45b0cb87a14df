// Highlighted text: hover shows the exact value and marks it on the histogram; a click opens the whole context;
// "try" copies its text into the test box.

import { pin } from "./figures.js";

const histogram = document.querySelector("#activations");
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
document.body.append(tip);

document.addEventListener("mouseover", (event) => {
  const token = event.target.closest?.(".t");
  tip.hidden = !token;
  if (!token) {
    if (histogram) pin(histogram);
    return;
  }
  tip.textContent = token.dataset.v;
  const box = token.getClientRects()[0];
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${box.top - 22}px`;
  if (histogram && !token.closest(".sources")) pin(histogram, Number(token.dataset.v));
});

document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

/** Copy the text of an example into the test box and run it. */
function tryOut(example) {
  const box = document.querySelector("#live-text");
  if (!box) return;
  box.value = example.querySelector(".context").textContent;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.scrollIntoView({ block: "center", behavior: "smooth" });
}

async function toggle(example) {
  const context = example.querySelector(".context");
  context.setAttribute("aria-expanded", example.classList.toggle("open"));
  if (!example.dataset.whole) return;
  const answer = await fetch(example.dataset.whole);
  if (!answer.ok) return;
  delete example.dataset.whole; // fetched once; the window that came with the page is a part of it
  context.innerHTML = await answer.text();
}

document.addEventListener("click", (event) => {
  const example = event.target.closest(".examples > li");
  if (!example) return;
  if (event.target.closest("[data-try]")) tryOut(example);
  else if (event.target.closest(".context, .value") && getSelection().isCollapsed) toggle(example);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches?.(".examples .context")) return;
  toggle(event.target.closest("li"));
});

document.addEventListener("bar", (event) => {
  if (event.target.id !== "activations") return;
  const value = event.detail[0];
  const bands = [...document.querySelectorAll(".band[data-low]")];
  const band = bands.find((b) => value >= Number(b.dataset.low)) ?? bands.at(-1);
  band?.scrollIntoView({ behavior: "smooth", block: "start" });
});
