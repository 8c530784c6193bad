// What scripts add to pages that work without them: search while typing, and pages that follow the index.
"use strict";

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

  // The regions of class "live" are replaced by those of the same page, loaded again.
  const REFRESH_MS = 1000;
  let isLoading = false;
  let isDue = false;

  const place = (region, fresh) => {
    if (region.innerHTML === fresh.innerHTML) return;
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const address = focused?.getAttribute("href");
    const sectionOf = (link) => link.closest("section")?.getAttribute("aria-labelledby");
    const section = focused && sectionOf(focused); // a page may link to a package in several sections
    region.innerHTML = fresh.innerHTML; // our own page, escaped by the server
    region.toggleAttribute("data-pending", fresh.hasAttribute("data-pending"));
    const isSame = (link) => link.getAttribute("href") === address && sectionOf(link) === section;
    if (address) [...region.querySelectorAll("a")].find(isSame)?.focus();
  };

  const refresh = async () => {
    if (isLoading || document.visibilityState === "hidden") { isDue = true; return; }
    isLoading = true;
    isDue = false;
    try {
      const response = await fetch(window.location.href);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const region of document.querySelectorAll(".live")) {
        const fresh = page.getElementById(region.id);
        if (fresh) place(region, fresh);
      }
      document.title = page.title || document.title;
    } catch {
      isDue = true; // the explorer is gone for now; the event stream connects again
    }
    setTimeout(() => {
      isLoading = false;
      if (isDue || document.querySelector("[data-pending]")) refresh();
    }, REFRESH_MS);
  };

  let seen = "";
  const events = new EventSource("/api/v1/events");
  events.addEventListener("status", (event) => {
    const { batch, problem, is_loaded } = JSON.parse(event.data);
    const state = JSON.stringify([batch, problem, is_loaded]);
    if (state !== seen) refresh(); // also the first time: the page may be older than the stream
    seen = state;
  });
  events.addEventListener("error", () => { seen = ""; });
  document.addEventListener("visibilitychange", () => { if (isDue) refresh(); });
})();
