// Highlighted text: hover shows the exact value and marks it on the histogram; a click copies the text into the test box;
// the number at the left opens the whole context. The choice of how much text is shown is kept in the address.

import { pin } from "./figures.js";

const histogram = document.querySelector("#activations");
const examples = document.querySelector("#examples");
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
document.body.append(tip);

document.addEventListener("mouseover", (event) => {
  const token = event.target.closest?.(".t[data-v]");
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

async function open(example, wanted) {
  example.classList.toggle("open", wanted);
  example.querySelector(".value").setAttribute("aria-expanded", wanted);
  if (!wanted || !example.dataset.whole) return;
  const answer = await fetch(example.dataset.whole);
  if (!answer.ok) return;
  delete example.dataset.whole; // fetched once; the window that came with the page is a part of it
  example.querySelector(".context").innerHTML = await answer.text();
}

// With whole contexts, each is fetched when it comes into view.
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting || examples.dataset.width !== "full") continue;
    seen.unobserve(target);
    open(target, true);
  }
}, { rootMargin: "200px" });

function choose(width) {
  examples.dataset.width = width;
  for (const button of examples.querySelectorAll("button[data-width]")) {
    button.setAttribute("aria-pressed", button.dataset.width === width);
  }
  const lines = examples.querySelectorAll(".examples > li");
  if (width === "full") lines.forEach((line) => seen.observe(line));
  else lines.forEach((line) => { seen.unobserve(line); open(line, false); });
}

/** Keep the choice in the address and in the links to the features before and after. */
function remember(width) {
  const carry = (address) => {
    const url = new URL(address, location.href);
    if (width === "line") url.searchParams.delete("context");
    else url.searchParams.set("context", width);
    return url.pathname + url.search;
  };
  history.replaceState(history.state, "", carry(location.href));
  document.querySelectorAll(".pager a[href]").forEach((link) => link.setAttribute("href", carry(link.href)));
}

document.addEventListener("click", (event) => {
  const width = event.target.closest("button[data-width]")?.dataset.width;
  if (width) {
    choose(width);
    remember(width);
  }
  const pressed = event.target.closest(".choices button[hx-get]");
  pressed?.parentElement.querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", button === pressed));
  const example = event.target.closest(".examples > li, .dreams tr");
  if (!example) return;
  if (event.target.closest(".value")) open(example, !example.classList.contains("open"));
  else if (event.target.closest("[data-try]")) tryOut(example);
  else if (event.target.closest(".context") && !event.target.closest(".sources") && getSelection().isCollapsed) tryOut(example);
});

if (examples?.dataset.width === "full") choose("full");
document.addEventListener("htmx:afterSwap", () => {
  if (examples?.dataset.width === "full") choose("full");
});

document.addEventListener("bar", (event) => {
  if (event.target.id !== "activations") return;
  const value = event.detail[0];
  const bands = [...document.querySelectorAll("#quantiles .band[data-low]")];
  const band = bands.find((b) => value >= Number(b.dataset.low)) ?? bands.at(-1);
  band?.scrollIntoView({ behavior: "smooth", block: "start" });
});
