// What scripts add to pages that work without them.
import { offerCopies } from "./copy.js";
import { follow } from "./follow.js";
import { suggest } from "./suggest.js";

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const search = document.getElementById("q");
  search.focus();
  search.select();
});

const drawGraphs = async () => {
  if (!document.querySelector("[data-graph]")) return;
  const { draw } = await import("./graph.js"); // with its library, which most pages do without
  draw();
};

suggest();
offerCopies();
drawGraphs();
document.addEventListener("refreshed", () => { offerCopies(); drawGraphs(); });
follow();
