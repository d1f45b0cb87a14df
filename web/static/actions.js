// Buttons and forms that change something: `data-method` says how, `data-action` (or a form's action) where. A form is
// sent as JSON. Afterwards the page named in the answer's Location is opened, or `data-then`, or this one anew. What went
// wrong is said in the nearest `.said`, until the form is changed.

export async function send(element, body, method = element.dataset.method) {
  const said = element.querySelector(".said") ?? element.parentElement.querySelector(".said");
  const answer = await fetch(element.dataset.action ?? element.getAttribute("action"), {
    method,
    headers: { accept: "application/json", ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  }).catch(() => null);
  if (answer?.ok) {
    const next = answer.headers.get("location") ?? element.dataset.then;
    return next ? location.assign(next) : location.reload();
  }
  const problem = await answer?.json().catch(() => null);
  const words = problem ? [problem.cause, problem.remedy].filter(Boolean).join(" ") : "The server does not answer. Is saebench serve still running?";
  if (said) said.textContent = words;
  else alert(words);
  return undefined;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-method]");
  if (!button) return;
  const question = button.dataset.confirm;
  if (!question || confirm(question)) send(button);
});

document.addEventListener("input", ({ target }) => {
  const said = target.form?.querySelector(".said.problem");
  if (said) said.textContent = "";
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-method]")) return;
  event.preventDefault();
  send(event.target, Object.fromEntries(new FormData(event.target)));
});
