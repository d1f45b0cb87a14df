// Interventions composed by hand: rows that are added, put in order and taken away, and sent as one set.

import { send } from "./actions.js";

const form = document.querySelector("#compose");
const steps = document.querySelector("#steps");
const NUMBERS = new Set(["amount", "above", "when_above", "share", "start", "stop"]);

function step(row) {
  const found = {};
  for (const field of row.querySelectorAll("[name]")) {
    if (field.type === "checkbox") found[field.name] = field.checked;
    else if (!NUMBERS.has(field.name)) found[field.name] = field.value;
    else if (field.value !== "") found[field.name] = Number(field.value);
  }
  return found;
}

function count() {
  const n = steps.childElementCount;
  document.querySelector("#n-steps").textContent = n === 1 ? "1 intervention" : `${n} interventions`;
  document.querySelector("#keep").disabled = n === 0;
  document.querySelector("#no-steps").hidden = n > 0;
}

/** What the chosen kind does, and whether it wants a number. */
function describe(row) {
  const kind = row.querySelector("[name=kind]").selectedOptions[0];
  row.querySelector(".does").textContent = kind.dataset.does;
  row.querySelector("[name=amount]").required = kind.value !== "zero";
}

/** A row with the SAE and the unit of the one above it, if there is one. */
function another(above) {
  const row = document.querySelector("#step").content.cloneNode(true).firstElementChild;
  if (above) {
    const [own, sae] = [row, above].map((one) => one.querySelector("[name=sae]"));
    if (own.tagName !== "SELECT" || [...own.options].some(({ value }) => value === sae.value)) own.value = sae.value;
    row.querySelector("[name=maxima]").checked = above.querySelector("[name=maxima]").checked;
  }
  return row;
}

form?.addEventListener("change", ({ target }) => { if (target.name === "kind") describe(target.closest("li")); });

form?.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  const row = button?.closest("li");
  if (button?.id === "another") {
    steps.append(another(steps.lastElementChild));
    describe(steps.lastElementChild);
    steps.lastElementChild.querySelector("[name=features]").focus();
  } else if (button?.dataset.move) {
    const other = button.dataset.move < 0 ? row.previousElementSibling : row.nextElementSibling;
    if (other) other[button.dataset.move < 0 ? "before" : "after"](row);
    button.focus();
  } else if (button && "remove" in button.dataset) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next?.querySelector("[data-remove]") ?? document.querySelector("#another")).focus();
  }
  if (row) form.querySelector(".said").textContent = "";
  count();
});

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const [id, notes] = ["id", "notes"].map((name) => form.elements[name].value);
  send(form, { id, notes, interventions: [...steps.children].map(step) }, form.dataset.send);
});

if (form) {
  [...steps.children].forEach(describe);
  count();
}
