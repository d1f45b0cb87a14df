// The page of interventions: the form of an unlearning run, whose treatments can be put in order, and a file that is
// imported; on a run's page, the candidates that somebody chooses to run again with.

import { send } from "./actions.js";

function body(form) {
  const values = Object.fromEntries(new FormData(form));
  const treatments = [...form.querySelectorAll("[data-kind]")]
    .filter((row) => row.querySelector("[name=use]").checked)
    .map((row) => ({ kind: row.dataset.kind, strengths: row.querySelector("[name=strengths]").value }));
  const { use, strengths, ...rest } = values;
  const several = Object.fromEntries(["sets", "baselines"].map((name) => [name, new FormData(form).getAll(name)]));
  return { ...rest, treatments, ...several };
}

const chosen = () => [...document.querySelectorAll("[name=candidate]:checked")].map((box) => Number(box.value));

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("#unlearn")) { // not by form.id, which is the field of that name
    event.preventDefault();
    const wanted = body(form);
    if (wanted.treatments.length || wanted.sets.length) send(form, wanted, form.dataset.send);
    else form.querySelector(".said").textContent = "No treatment is chosen. Tick one at least.";
  } else if (form.matches("#again")) {
    event.preventDefault();
    const features = chosen();
    send(form, { ...Object.fromEntries(new FormData(form)), features }, form.dataset.send);
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.move) {
    const row = button.closest("li");
    const other = button.dataset.move < 0 ? row.previousElementSibling : row.nextElementSibling;
    if (other) other[button.dataset.move < 0 ? "before" : "after"](row);
    button.focus();
  } else if (button?.dataset.compose) {
    location.assign(`${button.dataset.compose}&features=${chosen()}`);
  } else if (button?.dataset.documents) {
    const form = button.form;
    const place = button.parentElement.querySelector(".matches");
    place.textContent = "Reading the names of the documents…";
    const query = new URLSearchParams({ topics: form.elements[button.dataset.topics].value, corpus: form.elements.corpus.value });
    const answer = await fetch(`${button.dataset.documents}?${query}`, { headers: { accept: "text/html" } }).catch(() => null);
    if (answer?.ok) place.innerHTML = await answer.text();
    else place.textContent = answer ? "The topics cannot be read." : "The server does not answer. Is saebench serve still running?";
  }
});

document.querySelector("#set-file")?.addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (file) document.querySelector("#set-text").value = await file.text();
});

const all = document.querySelector("#all");
function count() {
  const boxes = [...document.querySelectorAll("[name=candidate]")];
  const n = boxes.filter((box) => box.checked).length;
  all.checked = n === boxes.length;
  all.indeterminate = n > 0 && n < boxes.length;
  for (const place of document.querySelectorAll(".chosen")) place.textContent = n === 1 ? "1 feature" : `${n} features`;
  for (const button of document.querySelectorAll("#again button")) button.disabled = n === 0;
  document.querySelector("#none-chosen").hidden = n > 0;
}
all?.addEventListener("change", () => { for (const box of document.querySelectorAll("[name=candidate]")) box.checked = all.checked; count(); });
document.addEventListener("change", (event) => { if (event.target.matches("[name=candidate]")) count(); });
if (all) count();
