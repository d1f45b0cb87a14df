// The test box: what is typed is sent a moment after the last key, and the answer replaces the previous one. The token
// pointed at (or else the strongest) is spoken of below the text: what the model expects behind it without the feature.

const form = document.querySelector("#live");
const box = document.querySelector("#live-text");
const shown = document.querySelector("#live-output");
const said = document.querySelector("#live-said");

let details = [];
let timer;
let running;

async function ask() {
  running?.abort();
  if (!box.value) {
    shown.replaceChildren();
    said.textContent = said.dataset.idle;
    said.classList.remove("problem");
    return;
  }
  running = new AbortController();
  said.textContent = "Encoding…";
  said.classList.remove("problem");
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/html" },
      body: JSON.stringify({ text: box.value }),
      signal: running.signal,
    });
    if (answer.headers.get("content-type").startsWith("text/html")) {
      shown.innerHTML = await answer.text();
      const text = shown.querySelector(".context");
      details = JSON.parse(shown.querySelector("script").textContent);
      said.textContent = text.dataset.said;
      shade(form.dataset.shade ?? "activation");
      speakOf(text.querySelector(`[data-i="${text.dataset.start}"]`));
    } else {
      const problem = await answer.json();
      shown.replaceChildren();
      said.textContent = problem.cause + (problem.remedy ? ` ${problem.remedy}` : "");
      said.classList.add("problem");
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    said.textContent = "The server does not answer. Is saebench serve still running?";
    said.classList.add("problem");
  }
}

/** Which of the two highlights is shown; kept for the next answer. */
function shade(name) {
  form.dataset.shade = name;
  for (const button of shown.querySelectorAll("[data-shade]")) button.setAttribute("aria-pressed", button.dataset.shade === name);
}

const cell = (text) => Object.assign(document.createElement("span"), { textContent: text });

function row([token, before, after, logit]) {
  const item = document.createElement("li");
  item.append(Object.assign(cell(token.replaceAll(" ", "␣")), { className: "token" }), cell(`${before} → ${after}`), cell(logit));
  item.lastChild.title = "change of the logit";
  return item;
}

function speakOf(token) {
  const panel = shown.querySelector(".effect");
  if (!panel || !token) return;
  shown.querySelector(".here")?.classList.remove("here");
  token.classList.add("here");
  const about = details[token.dataset.i];
  const slot = (name) => panel.querySelector(`[data-slot="${name}"]`);
  slot("token").textContent = about.token.replaceAll(" ", "␣");
  slot("activation").textContent = about.activation;
  slot("loss").textContent = about.loss ?? "–";
  slot("change").textContent = about.change ? `(${about.change} nats)` : "(nothing follows)";
  slot("change").className = !about.change || about.change === "0" ? "" : about.change.startsWith("−") ? "less" : "more";
  for (const side of ["falls", "rises"]) {
    const none = Object.assign(document.createElement("li"), { textContent: "nothing", className: "none" });
    slot(side).replaceChildren(...(about[side].length ? about[side].map(row) : [none]));
  }
}

shown?.addEventListener("mouseover", (event) => { const token = event.target.closest("[data-i]"); if (token) speakOf(token); });
shown?.addEventListener("click", (event) => {
  const button = event.target.closest("[data-shade]");
  if (button) shade(button.dataset.shade);
});
form?.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
box?.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 200); });
if (box?.value) ask();
