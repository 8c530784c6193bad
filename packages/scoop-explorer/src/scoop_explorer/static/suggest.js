// Names that are suggested while one is typed into a field with data-suggest: "open" leads to a package, "fill" fills
// the field. Each suggestion is a link, for a middle click and the menu.

const PAUSE_MS = 60;
const SOON_MS = 400;

const packageUrl = (name) =>
  name === "." || name === ".." ? `/packages?name=${name}` : `/packages/${encodeURIComponent(name)}`;

const suggestFor = (input) => {
  const fills = input.dataset.suggest === "fill";
  const list = document.createElement("div");
  list.id = `${input.id}-suggestions`;
  list.className = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Matching packages");
  list.hidden = true;
  input.after(list);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id,
  })) input.setAttribute(name, value);

  let selected = -1;
  let pending = null;
  let timer = 0;

  const close = () => {
    clearTimeout(timer);
    pending?.abort();
    list.hidden = true;
    selected = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  const select = (number) => {
    const options = [...list.children];
    selected = (number + options.length + 1) % (options.length + 1); // the last place is the input itself
    if (selected === options.length) selected = -1;
    options.forEach((option, place) => option.setAttribute("aria-selected", String(place === selected)));
    if (selected < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", options[selected].id);
    options[selected].scrollIntoView({ block: "nearest" });
  };

  const optionFor = ({ name, dependents }, place) => {
    const option = document.createElement("a");
    option.id = `${input.id}-suggestion-${place}`;
    option.href = packageUrl(name);
    option.dataset.name = name;
    option.tabIndex = -1;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    const count = document.createElement("span");
    count.className = "number";
    count.textContent = dependents ? `needed by ${dependents.toLocaleString("en")}` : "";
    option.append(name, " ", count);
    return option;
  };

  const show = ({ hits, similar }) => {
    const found = hits.length ? hits : similar ?? [];
    if (!found.length) return close();
    list.replaceChildren(...found.map(optionFor));
    selected = -1;
    input.removeAttribute("aria-activedescendant");
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  };

  const search = async () => {
    pending?.abort();
    const query = input.value.trim();
    if (!query) return close();
    pending = new AbortController();
    try {
      const response = await fetch(`/api/v1/search?limit=10&q=${encodeURIComponent(query)}`, { signal: pending.signal });
      if (!response.ok || document.activeElement !== input) return;
      const { answer } = await response.json();
      if (selected < 0) show(answer);
      if (response.status === 202) timer = setTimeout(search, SOON_MS); // the ranking of a large index follows
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  };

  const choose = (option) => {
    if (!fills) return option.click();
    input.value = option.dataset.name;
    close();
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    select(-1);
    timer = setTimeout(search, PAUSE_MS);
  });
  input.addEventListener("blur", () => setTimeout(() => document.activeElement === input || close(), 150));
  input.addEventListener("keydown", (event) => {
    if (list.hidden) {
      if (event.key === "ArrowDown" && input.value.trim()) {
        event.preventDefault();
        search();
      }
      return;
    }
    if (event.key === "Escape") {
      event.preventDefault(); // which would empty the input
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      select(event.key === "ArrowDown" ? selected + 1 : selected < 0 ? list.children.length - 1 : selected - 1);
    } else if (event.key === "Enter" && selected >= 0) {
      event.preventDefault();
      choose(list.children[selected]);
    }
  });
  list.addEventListener("mousedown", (event) => { if (!event.button) event.preventDefault(); }); // keep the focus
  list.addEventListener("click", (event) => {
    const option = event.target.closest("a");
    if (!option || !fills || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(option);
  });
};

export const suggest = () => {
  for (const input of document.querySelectorAll("[data-suggest]")) suggestFor(input);
};
