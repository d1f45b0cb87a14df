// The test box: what is typed is sent a moment after the last key, and the answer replaces the previous one.

const form = document.querySelector("#live");
const box = document.querySelector("#live-text");
const shown = document.querySelector("#live-output");
const said = document.querySelector("#live-said");

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
      said.textContent = shown.firstElementChild.dataset.said;
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

form?.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
box?.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 200); });
if (box?.value) ask();
