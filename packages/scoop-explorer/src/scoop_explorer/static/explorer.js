// What scripts add to pages that work without them: search while typing, and pages that follow the index.
import { follow } from "./follow.js";

(() => {
  const input = document.getElementById("q");
  const list = document.getElementById("suggestions");
  let selected = -1;
  let pending = null;
  let timer = 0;

  const packageUrl = (name) =>
    name === "." || name === ".." ? `/packages?name=${name}` : `/packages/${encodeURIComponent(name)}`;

  const close = () => {
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

  const show = (names) => {
    list.replaceChildren(...names.map((name, place) => {
      const option = document.createElement("li");
      option.id = `suggestion-${place}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.textContent = name;
      return option;
    }));
    if (!names.length) return close();
    selected = -1;
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
      if (response.ok && document.activeElement === input) show((await response.json()).answer.names);
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  };

  const open = (option) => { window.location.href = packageUrl(option.textContent); };

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 60); });
  input.addEventListener("blur", () => setTimeout(close, 150));
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "Escape") {
      event.preventDefault(); // which would empty the input
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      select(event.key === "ArrowDown" ? selected + 1 : selected < 0 ? list.children.length - 1 : selected - 1);
    } else if (event.key === "Enter" && selected >= 0) {
      event.preventDefault();
      open(list.children[selected]);
    }
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault(); // the input keeps the focus
    const option = event.target.closest("li");
    if (option) open(option);
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });

  follow();
})();
