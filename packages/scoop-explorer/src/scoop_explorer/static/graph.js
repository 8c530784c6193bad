// The drawing of a part of the graph: packages can be expanded, collapsed and filtered; the list beside it does the same
// with the keyboard. Dependents are on the left of what they need.
import {
  coordGreedy, decrossDfs, decrossTwoLayer, graphStratify, layeringLongestPath, layeringSimplex, sugiyama,
} from "./vendor/d3-dag-1.2.2.esm.min.js";

const BOX = { width: 216, height: 30, gap: 12, layers: 84, side: 26 };
const CHARACTERS_MAX = 22;
const CAREFUL_MAX = 60; // packages up to which the layout takes the time to be tidy
const SVG = "http://www.w3.org/2000/svg";
const DIRECTIONS = ["dependents", "dependencies"];

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};

const drawn = (name, attributes, ...children) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const packageUrl = (name) =>
  name === "." || name === ".." ? `/packages?name=${name}` : `/packages/${encodeURIComponent(name)}`;

const shortened = (name) => (name.length <= CHARACTERS_MAX ? name : `${name.slice(0, CHARACTERS_MAX - 1)}…`);

const counted = (number) => number.toLocaleString("en");

// Which packages are shown

class Model {
  constructor(nodes, centre) {
    this.nodes = new Map(nodes.map((node) => [node.name, node]));
    this.centre = centre || nodes[0].name;
    this.filter = "";
  }

  neighbours(name, direction) {
    if (direction === "dependencies") {
      return this.nodes.get(name).needs.filter((each) => each !== name && this.nodes.has(each));
    }
    return [...this.nodes.values()].filter((each) => each.name !== name && each.needs.includes(name))
      .map((each) => each.name);
  }

  hidden(name, direction) {
    const node = this.nodes.get(name);
    const total = node[direction] - (direction === "dependencies" && node.needs.includes(name));
    return Math.max(0, total - this.neighbours(name, direction).length);
  }

  async expand(name, direction) {
    const query = `direction=${direction}&levels=1`;
    const path = name === "." || name === ".." ? `?name=${name}&` : `/${encodeURIComponent(name)}?`;
    const response = await fetch(`/api/v1/graph${path}${query}`);
    if (!response.ok) return;
    for (const node of (await response.json()).answer.nodes) this.nodes.set(node.name, node);
  }

  // Hide the neighbours in one direction, and what is shown only through them.
  collapse(name, direction) {
    const cut = new Set(this.neighbours(name, direction));
    const kept = new Set([this.centre, name]);
    const unexplored = [this.centre];
    while (unexplored.length) {
      const each = unexplored.pop();
      for (const next of DIRECTIONS.flatMap((towards) => this.neighbours(each, towards))) {
        if (!cut.has(next) && !kept.has(next)) {
          kept.add(next);
          unexplored.push(next);
        }
      }
    }
    for (const each of [...this.nodes.keys()]) if (!kept.has(each)) this.nodes.delete(each);
  }

  get visible() {
    const wanted = this.filter.toLowerCase();
    return [...this.nodes.keys()].filter((name) => name === this.centre || name.toLowerCase().includes(wanted));
  }
}

// Where they are

const layout = (model) => {
  const names = model.visible;
  const isVisible = new Set(names);
  const data = names.map((name) => ({
    id: name, parentIds: model.neighbours(name, "dependents").filter((each) => isVisible.has(each)),
  }));
  const graph = graphStratify()(data);
  const isSmall = names.length <= CAREFUL_MAX;
  sugiyama()
    .layering(isSmall ? layeringSimplex() : layeringLongestPath())
    .decross(isSmall ? decrossTwoLayer() : decrossDfs())
    .coord(coordGreedy())
    .nodeSize([BOX.height, BOX.width])
    .gap([BOX.gap, BOX.layers])(graph);
  return graph; // from top to bottom: x and y are exchanged for a drawing from left to right
};

const curve = ({ source, target, points }) => {
  let places = points.map(([x, y]) => [y, x]);
  const isForward = target.y >= source.y;
  if (source.y > target.y && places[0][0] < places.at(-1)[0]) places = places.reverse();
  const side = (isForward ? 1 : -1) * BOX.width / 2;
  places[0] = [source.y + side, source.x];
  const room = isForward ? BOX.side + 7 : -7; // for the arrow head, and for the handle on the left
  places[places.length - 1] = [target.y - side - room, target.x];
  let data = `M${places[0]}`;
  for (let place = 1; place < places.length; place += 1) {
    const [[x, y], [nextX, nextY]] = [places[place - 1], places[place]];
    const middle = (x + nextX) / 2;
    data += `C${middle} ${y} ${middle} ${nextY} ${nextX} ${nextY}`;
  }
  return data;
};

// One drawing

class View {
  constructor(host) {
    this.host = host;
    this.expanded = [];
    this.filterField = element("input", {
      type: "search", maxLength: 255, autocomplete: "off", spellcheck: false, "aria-label": "Show only names with",
      placeholder: "Show only names with",
    });
    this.filterField.addEventListener("input", () => { this.model.filter = this.filterField.value.trim(); this.update(); });
    this.resetButton = element("button", { type: "button", className: "quiet", textContent: "Start again" });
    this.resetButton.addEventListener("click", () => { this.expanded = []; this.filterField.value = ""; this.load(); });
    this.words = element("span", { role: "status", className: "number" });
    this.plane = element("div", {
      className: "plane", tabIndex: 0, role: "region", "aria-label": `${host.dataset.label}: a drawing; a list follows it`,
    });
    this.summary = element("summary");
    this.list = element("ul", { className: "nodes" });
    this.list.addEventListener("click", (event) => this.act(event));
    this.plane.addEventListener("click", (event) => this.act(event));
    this.plane.addEventListener("pointerover", (event) => this.mark(event.target.closest?.("[data-node]")));
    this.own = element("div", { "data-own": "", className: "own" },
      element("p", { className: "fields" }, this.filterField, this.resetButton, this.words),
      this.plane, element("details", {}, this.summary, this.list));
    host.querySelector("[data-own]").replaceWith(this.own);
    this.load();
    this.centre();
  }

  load() {
    this.data = this.host.dataset.graph;
    this.model = new Model(JSON.parse(this.data).nodes, this.host.dataset.centre);
    this.model.filter = this.filterField.value.trim();
    this.update();
  }

  // Follow a change of the page, and keep what was expanded.
  async follow() {
    if (this.data === this.host.dataset.graph) return;
    this.load();
    for (const [name, direction] of this.expanded) {
      if (this.model.nodes.has(name)) await this.model.expand(name, direction);
    }
    this.update();
  }

  async act(event) {
    const button = event.target.closest("[data-act]");
    if (!button) return;
    event.preventDefault();
    const { act, name, direction } = button.dataset;
    if (act === "expand") {
      this.expanded.push([name, direction]);
      await this.model.expand(name, direction);
    } else {
      this.expanded = this.expanded.filter((each) => each[0] !== name || each[1] !== direction);
      this.model.collapse(name, direction);
    }
    const isOfList = this.list.contains(document.activeElement);
    this.update();
    if (isOfList) this.list.querySelector(`[data-name="${CSS.escape(name)}"][data-direction="${direction}"]`)?.focus();
  }

  update() {
    const graph = layout(this.model);
    this.places = new Map([...graph.nodes()].map((node) => [node.data.id, node]));
    const names = [...this.places.keys()];
    this.words.textContent = `${counted(names.length)} of ${counted(this.model.nodes.size)} packages shown`;
    this.summary.textContent = `The same as a list (${counted(names.length)})`;
    this.paint(graph);
    this.list.replaceChildren(...names.sort().map((name) => this.item(name)));
  }

  paint(graph) {
    const nodes = [...graph.nodes()];
    const width = Math.max(...nodes.map((node) => node.y)) + BOX.width / 2 + BOX.side;
    const height = Math.max(...nodes.map((node) => node.x)) + BOX.height;
    const arrow = drawn("marker", {
      id: "end", viewBox: "0 0 10 10", refX: 1, refY: 5, markerWidth: 7, markerHeight: 7, orient: "auto",
    }, drawn("path", { d: "M0 0L10 5L0 10z" }));
    const links = [...graph.links()].map((link) => drawn("path", {
      class: "curve", d: curve(link), "marker-end": "url(#end)", "data-from": link.source.data.id,
      "data-to": link.target.data.id,
    }));
    const left = -BOX.side;
    this.plane.replaceChildren(drawn("svg", {
      viewBox: `${left} -8 ${width - left} ${height + 16}`, width: width - left, height: height + 16, "aria-hidden": "true",
    }, drawn("defs", {}, arrow), ...links, ...nodes.map((node) => this.box(node))));
  }

  box(node) {
    const name = node.data.id;
    const [x, y] = [node.y - BOX.width / 2, node.x - BOX.height / 2];
    const { dependents, dependencies } = this.model.nodes.get(name);
    const label = drawn("text", { x: x + 10, y: y + 20 });
    label.textContent = shortened(name);
    const title = drawn("title", {});
    title.textContent = `${name}: needs ${counted(dependencies)}, needed by ${counted(dependents)}`;
    const link = drawn("a", { href: packageUrl(name), tabindex: "-1" }, title,
      drawn("rect", { x, y, width: BOX.width, height: BOX.height, rx: 6 }), label);
    const isCentre = name === this.model.centre;
    return drawn("g", { "data-node": name, class: isCentre ? "node centre" : "node" }, link,
      ...DIRECTIONS.map((direction) => this.handle(name, direction, x, y)).filter(Boolean));
  }

  handle(name, direction, x, y) {
    const action = this.action(name, direction);
    if (!action) return null;
    const place = direction === "dependents" ? x - 13 : x + BOX.width + 13;
    const sign = drawn("text", { x: place, y: y + 20, "text-anchor": "middle" });
    sign.textContent = action.act === "expand" ? "+" : "−";
    const title = drawn("title", {});
    title.textContent = action.words;
    return drawn("g", {
      class: "handle", "data-act": action.act, "data-name": name, "data-direction": direction,
    }, title, drawn("circle", { cx: place, cy: y + 15, r: 10 }), sign);
  }

  // What can be done with the neighbours of a package: show those that are hidden, else hide those that are shown.
  action(name, direction) {
    const hidden = this.model.hidden(name, direction);
    const shown = this.model.neighbours(name, direction).length;
    const whom = direction === "dependents" ? `need ${name}` : `${name} needs`;
    if (hidden && !this.expanded.some((each) => each[0] === name && each[1] === direction)) {
      return { act: "expand", words: `Show ${counted(hidden)} more that ${whom}` };
    }
    return shown ? { act: "collapse", words: `Hide the ${counted(shown)} that ${whom}` } : null;
  }

  item(name) {
    const needs = this.model.neighbours(name, "dependencies").filter((each) => this.places.has(each)).sort();
    const buttons = DIRECTIONS.map((direction) => [direction, this.action(name, direction)])
      .filter(([, action]) => action)
      .map(([direction, { act, words }]) => element("button", {
        type: "button", className: "quiet", textContent: words, "data-act": act, "data-name": name,
        "data-direction": direction,
      }));
    const words = needs.length ? ` needs ${needs.join(", ")} ` : " needs nothing that is shown ";
    return element("li", {}, element("a", { href: packageUrl(name), textContent: name }), words, ...buttons);
  }

  mark(node) {
    const name = node?.dataset.node;
    for (const path of this.plane.querySelectorAll(".curve")) {
      path.classList.toggle("marked", path.dataset.from === name || path.dataset.to === name);
    }
  }

  // Begin at the package, on a phone too.
  centre() {
    const node = this.places.get(this.model.centre);
    if (!node) return;
    this.plane.scrollLeft = node.y + BOX.side - this.plane.clientWidth / 2;
    this.plane.scrollTop = node.x - this.plane.clientHeight / 2;
  }
}

const views = new WeakMap();

export const draw = () => {
  for (const host of document.querySelectorAll("[data-graph]")) {
    if (views.has(host)) views.get(host).follow();
    else views.set(host, new View(host));
  }
};
