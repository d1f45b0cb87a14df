// The SQL box: Ctrl+Enter runs the query, a click on a column puts its name where the cursor is.

const box = document.querySelector("#query");
box.setSelectionRange(box.value.length, box.value.length);

box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  box.form.requestSubmit();
});

document.addEventListener("click", (event) => {
  const name = event.target.closest("[data-word]");
  if (!name) return;
  box.setRangeText(name.dataset.word, box.selectionStart, box.selectionEnd, "end");
  box.focus();
});

htmx.config.historyCacheSize = 0;
htmx.config.refreshOnHistoryMiss = true;
