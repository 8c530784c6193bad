// Pages that follow the index: the regions of class "live" change with it, and the page says when they do not.
import { followStatus } from "./status-stream.js";

const REFRESH_MS = 1_000;
const LATE_MS = 4_000;
const LOAD_MS_MAX = 10_000; // a connection to an explorer that has gone can stay silent for ever

const root = document.documentElement;
const banner = document.getElementById("connection");
const standing = document.getElementById("standing");
const regions = () => document.querySelectorAll(".live");

let state = { isConnected: null };
let shown = root.dataset.state; // the state of which the page is
let isLoading = false;
let isPressed = false;
let dueSince = 0; // the time since which there is a newer state than that of the page; 0: none

// What the page says about itself

const tell = () => {
  const isLate = dueSince && Date.now() - dueSince > LATE_MS;
  let words = "";
  let problem = "";
  if (state.isConnected === false) {
    words = "Not connected: this page may be out of date";
    problem = "The explorer does not answer. This page shows an earlier state, and follows again as soon as it can.";
  } else if (state.status?.is_loaded === false && root.dataset.status !== "503") {
    words = "The explorer is reading its source: this page may be out of date";
    problem = `${words}.`;
  } else if (isLate) {
    words = isHeld() ? "Paused while text is selected: there is a newer state" : "Catching up: there is a newer state";
  }
  if (standing.textContent !== words) standing.textContent = words;
  standing.hidden = !words;
  if (banner.textContent !== problem) banner.textContent = problem;
};

// What the reader is doing

const isHeld = () => {
  if (isPressed) return true;
  const selection = document.getSelection();
  return Boolean(selection && !selection.isCollapsed && [...regions()].some((each) => selection.containsNode(each, true)));
};

const release = () => {
  isPressed = false;
  setTimeout(() => { if (dueSince) refresh(); }); // after the click that this ends
};

document.addEventListener("pointerdown", () => { isPressed = true; });
for (const kind of ["pointerup", "pointercancel", "dragend"]) document.addEventListener(kind, release);
document.addEventListener("pointermove", (event) => { if (isPressed && !event.buttons) release(); });
document.addEventListener("selectionchange", () => { if (dueSince && !isHeld()) refresh(); });
document.addEventListener("visibilitychange", () => { if (dueSince) refresh(); });

// Changes

const sectionOf = (link) => link.closest("section")?.getAttribute("aria-labelledby");

const place = (Idiomorph, region, fresh) => {
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const address = focused?.getAttribute("href");
  const section = focused && sectionOf(focused); // a page may link to a package in several sections
  const isOwn = (node) => node instanceof Element && node.closest("[data-own]");
  Idiomorph.morph(region, fresh, {
    ignoreActiveValue: true,
    callbacks: { beforeNodeMorphed: (node) => !isOwn(node), beforeNodeRemoved: (node) => !isOwn(node) },
  });
  const isSame = (link) => link.getAttribute("href") === address && sectionOf(link) === section;
  if (address && !isSame(document.activeElement)) [...region.querySelectorAll("a")].find(isSame)?.focus();
};

const load = async () => {
  const response = await fetch(window.location.href, { signal: AbortSignal.timeout(LOAD_MS_MAX) });
  if (response.status >= 500) return false;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!page.getElementById("content")) return false; // the page of a proxy, or of a log-in
  const { Idiomorph } = await import("./vendor/idiomorph-0.8.0.esm.js");
  if (isHeld()) return false;
  if (page.documentElement.dataset.status !== root.dataset.status) window.location.reload();
  for (const region of regions()) {
    const fresh = page.getElementById(region.id);
    if (fresh) place(Idiomorph, region, fresh);
  }
  document.title = page.title;
  shown = page.documentElement.dataset.state;
  document.dispatchEvent(new Event("refreshed"));
  return true;
};

const refresh = async () => {
  dueSince ||= Date.now();
  if (isLoading || document.visibilityState === "hidden" || isHeld()) return;
  isLoading = true;
  const since = dueSince;
  dueSince = 0;
  try {
    if (!await load()) dueSince = since;
  } catch {
    dueSince = since;
  }
  setTimeout(() => {
    isLoading = false;
    if (dueSince || document.querySelector("[data-pending]")) refresh();
  }, REFRESH_MS);
};

const receive = (next) => {
  const isBack = state.isConnected === false && next.isConnected;
  state = next;
  tell();
  if (!next.isConnected) return;
  const { batch, problem, is_loaded, is_served, lag_seconds } = next.status;
  const now = JSON.stringify([batch, problem, is_loaded, is_served, lag_seconds > 0]);
  if (now !== shown || lag_seconds || isBack) refresh();
};

const followAlone = () => {
  let close = null;
  const update = () => {
    const isVisible = document.visibilityState === "visible";
    if (isVisible && !close) close = followStatus(receive);
    if (!isVisible && close) close = void close();
  };
  document.addEventListener("visibilitychange", update);
  update();
};

export const follow = () => {
  setInterval(tell, REFRESH_MS);
  if (document.querySelector("[data-pending]")) refresh();
  if (!window.SharedWorker) return followAlone(); // a phone, which shows one page at a time
  const worker = new SharedWorker(new URL("./status-worker.js", import.meta.url), { type: "module" });
  worker.port.onmessage = (event) => receive(event.data);
  worker.onerror = followAlone;
  window.addEventListener("pagehide", () => worker.port.postMessage("gone"));
  window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });
};
