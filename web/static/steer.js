// The form of the steer page: rows of features with a slider and a number each, and a field that finds features. What is
// chosen is kept in the hidden field `features`, as the address has it.

const form = document.querySelector("form.ask");
const rows = document.querySelector("#wishes");
const find = document.querySelector("#find");
const found = document.querySelector("#found");
const hint = document.querySelector("#hint");

function keep() {
  const all = [...rows.children].map((row) => {
    const sae = row.dataset.sae ? `${encodeURIComponent(row.dataset.sae)}/` : "";
    return `${sae}${row.dataset.feature}:${Number(row.querySelector('[type="number"]').value)}`;
  });
  form.elements.features.value = all.join(",");
  hint.textContent = all.length || form.elements.interventions?.value ? "" : "add a feature first";
  document.querySelector("#added").textContent = all.length === 1 ? "1 feature" : `${all.length} features`;
  document.querySelector("#save button").disabled = !all.length;
  document.querySelector("#none-added").hidden = all.length > 0;
}

rows?.addEventListener("input", (event) => {
  const [slider, exact] = event.target.closest("li").querySelectorAll("input");
  if (event.target === slider) exact.value = slider.value;
  else slider.value = exact.value;
  keep();
});

rows?.addEventListener("click", (event) => {
  const row = event.target.closest("[data-remove]")?.closest("li");
  if (!row) return;
  row.remove();
  keep();
  find.focus();
});

function add({ feature, said, promoted }) {
  find.value = "";
  close();
  const known = [...rows.children].find((row) => !row.dataset.sae && Number(row.dataset.feature) === feature);
  if (!known) {
    const row = document.querySelector("#wish").content.firstElementChild.cloneNode(true);
    row.dataset.feature = feature;
    const link = row.querySelector("a");
    link.textContent = feature;
    link.href = form.dataset.featurePattern.replace("{feature}", feature);
    row.querySelector(".said").textContent = said ?? promoted.map((token) => token.replaceAll(" ", "␣")).join(" ");
    for (const input of row.querySelectorAll("input")) input.setAttribute("aria-label", `Strength of feature ${feature}`);
    row.querySelector("[data-remove]").setAttribute("aria-label", `Remove feature ${feature}`);
    rows.append(row);
    keep();
  }
  (known ?? rows.lastElementChild).querySelector('[type="number"]').select();
}

function close() {
  found.hidden = true;
  find.setAttribute("aria-expanded", "false");
}

function offer(features) {
  const items = features.map((one, i) => {
    const item = document.createElement("li");
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", i === 0);
    item.append(
      Object.assign(document.createElement("span"), { textContent: one.feature }),
      Object.assign(document.createElement("span"), { textContent: one.said ?? one.promoted.map((t) => t.replaceAll(" ", "␣")).join(" ") }),
    );
    item.addEventListener("mousedown", (event) => { event.preventDefault(); add(one); });
    item.choose = () => add(one);
    return item;
  });
  if (!items.length) items.push(Object.assign(document.createElement("li"), { textContent: "no living feature has that number or those words" }));
  found.replaceChildren(...items);
  found.hidden = false;
  find.setAttribute("aria-expanded", "true");
}

let timer;
let asked = 0;
async function search() {
  const now = ++asked;
  if (!find.value.trim()) return close();
  const address = new URL(form.dataset.find, location.href);
  address.searchParams.set("q", find.value.trim());
  const answer = await fetch(address);
  if (answer.ok && now === asked) offer(await answer.json());
  return undefined;
}

function move(step) {
  const items = [...found.querySelectorAll("[role=option]")];
  const at = items.findIndex((item) => item.getAttribute("aria-selected") === "true");
  items.forEach((item, i) => item.setAttribute("aria-selected", i === (at + step + items.length) % items.length));
}

find?.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 150); });
find?.addEventListener("blur", close);
find?.addEventListener("keydown", async (event) => {
  if (event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowDown") move(1);
  else if (event.key === "ArrowUp") move(-1);
  else if (event.key === "Enter") {
    event.preventDefault();
    clearTimeout(timer);
    if (found.hidden) await search();
    found.querySelector('[aria-selected="true"]')?.choose();
  } else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
});

form?.addEventListener("change", (event) => {
  if (event.target.matches("[data-reload]")) form.submit();
  else if (event.target.name === "interventions") keep();
});

document.querySelector("#save")?.addEventListener("formdata", ({ formData }) => {
  formData.set("features", form.elements.features.value);
  for (const name of ["sae", "corpus"]) if (form.elements[name]?.value) formData.set(name, form.elements[name].value);
});
