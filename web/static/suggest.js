// Names of columns as they are typed into the filter, each with what it means.

const MOST = 8;

export function suggesting(field, list, names) {
  const word = () => field.value.slice(0, field.selectionStart).match(/[a-z_]+$/i)?.[0].toLowerCase() ?? "";
  const chosen = () => list.querySelector('[aria-selected="true"]');
  const quoted = () => (field.value.slice(0, field.selectionStart).match(/'/g)?.length ?? 0) % 2 === 1;

  function found(start) {
    const out = [];
    for (const [column, short, meaning] of names) {
      const name = [short, column].find((candidate) => candidate?.startsWith(start));
      if (name && name !== start) out.push([name, meaning]);
    }
    return out.slice(0, MOST);
  }

  function close() {
    list.hidden = true;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  function mark(at) {
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", i === at));
    field.setAttribute("aria-activedescendant", list.children[at].id);
  }

  function suggest() {
    const start = word();
    const some = start && !quoted() ? found(start) : [];
    if (!some.length) return close();
    list.replaceChildren(...some.map(([name, meaning], i) => {
      const item = Object.assign(document.createElement("li"), { id: `suggest-${i}`, role: "option" });
      item.dataset.name = name;
      item.append(Object.assign(document.createElement("b"), { textContent: name }), Object.assign(document.createElement("span"), { textContent: meaning }));
      item.addEventListener("mousedown", (event) => { event.preventDefault(); complete(name); });
      return item;
    }));
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    return mark(0);
  }

  function complete(name) {
    field.setRangeText(name, field.selectionStart - word().length, field.selectionStart, "end");
    close();
  }

  function move(by) {
    const items = [...list.children];
    mark((items.indexOf(chosen()) + by + items.length) % items.length);
  }

  field.addEventListener("input", suggest);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Tab") complete(chosen().dataset.name);
    else if (event.key === "Escape") { close(); event.stopPropagation(); }
    else return;
    event.preventDefault();
  });
}
