"use strict";
// Names come from strangers: text enters the page through textContent only.
const { boxes, nodes } = JSON.parse(document.getElementById("data").textContent);
const stage = document.getElementById("stage");
const svg = stage.querySelector("svg");
const field = document.getElementById("search");
const count = document.getElementById("count");
const details = document.getElementById("details");
const shapes = new Map([...svg.querySelectorAll(".box[data-box]")].map((g) => [Number(g.dataset.box), g]));
const wires = [...svg.querySelectorAll(".wire[data-from]")].map((path) => {
  const ids = (text) => text.split(" ").filter(Boolean).map(Number);
  return { path, from: ids(path.dataset.from), to: ids(path.dataset.to) };
});
const boxOf = new Map(boxes.flatMap((inside, box) => inside.map((node) => [node, box])));
const walk = boxes.map((_, box) => box);
const words = boxes.map((inside) =>
  inside.map((i) => `${nodes[i].slot ?? ""}\n${nodes[i].name}\n${nodes[i].op}`).join("\n").toLowerCase());
const whole = svg.viewBox.baseVal;
const full = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
let view = { ...full };
let matches = [];
let at = -1;
let picked = -1;

// ---- zoom and pan: the viewBox is the camera ----
svg.removeAttribute("width");
svg.removeAttribute("height");

function look() {
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
}

function scale() {
  const frame = svg.getBoundingClientRect();
  return Math.max(view.width / frame.width, view.height / frame.height);
}

function point(event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

function zoom(factor, centre) {
  const width = Math.min(Math.max(view.width * factor, 120), full.width * 4);
  const by = width / view.width;
  const c = centre ?? { x: view.x + view.width / 2, y: view.y + view.height / 2 };
  view = { x: c.x - (c.x - view.x) * by, y: c.y - (c.y - view.y) * by, width, height: view.height * by };
  look();
}

function fit() {
  view = { ...full };
  look();
}

function centreOn(box) {
  const shape = shapes.get(box);
  const frame = svg.getBoundingClientRect();
  const rect = shape.getBoundingClientRect();
  const middle = point({ clientX: rect.x + rect.width / 2, clientY: rect.y + rect.height / 2 });
  // Names are readable from one page pixel per drawing pixel; closer views are left as they are.
  const by = Math.min(scale(), 1);
  view.width = frame.width * by;
  view.height = frame.height * by;
  view.x = middle.x - view.width / 2;
  view.y = middle.y - view.height / 2;
  look();
}

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY)) * 0.0022), point(event));
}, { passive: false });

const held = new Map();
let moved = 0;
stage.addEventListener("pointerdown", (event) => {
  held.set(event.pointerId, point(event));
  moved = 0;
});
stage.addEventListener("pointermove", (event) => {
  if (!held.has(event.pointerId)) return;
  const before = held.get(event.pointerId);
  moved += Math.abs(event.movementX) + Math.abs(event.movementY);
  if (moved < 5) return;
  stage.setPointerCapture(event.pointerId);
  stage.classList.add("dragging");
  const here = point(event);
  if (held.size === 2) {
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const far = Math.hypot(before.x - other.x, before.y - other.y);
    const now = Math.hypot(here.x - other.x, here.y - other.y);
    if (far > 1 && now > 1) zoom(far / now, other);
  } else {
    view.x += before.x - here.x;
    view.y += before.y - here.y;
    look();
  }
  held.set(event.pointerId, point(event));
});
for (const end of ["pointerup", "pointercancel"]) {
  stage.addEventListener(end, (event) => {
    held.delete(event.pointerId);
    stage.classList.remove("dragging");
  });
}

// ---- search ----
function search(text) {
  const wanted = text.trim().toLowerCase();
  for (const box of matches) shapes.get(box).classList.remove("match", "current");
  matches = wanted ? walk.filter((box) => words[box].includes(wanted)) : [];
  for (const box of matches) shapes.get(box).classList.add("match");
  at = -1;
  step(1);
}

function step(by) {
  if (at >= 0) shapes.get(matches[at]).classList.remove("current");
  if (matches.length) {
    at = at < 0 ? 0 : (at + by + matches.length) % matches.length;
    shapes.get(matches[at]).classList.add("current");
    centreOn(matches[at]);
  }
  count.textContent = field.value.trim() ? (matches.length ? `${at + 1} of ${matches.length}` : "no match") : "";
  for (const id of ["previous", "next"]) document.getElementById(id).disabled = matches.length < 2;
}

field.addEventListener("input", () => search(field.value));
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    step(event.shiftKey ? -1 : 1);
  } else if (event.key === "Escape") {
    field.value = "";
    search("");
    field.blur();
  }
});

// ---- details ----
function element(tag, text, parent) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function describe(node) {
  element("h2", node.slot ?? node.name, details);
  const list = element("dl", undefined, details);
  const row = (term, value) => {
    element("dt", term, list);
    return element("dd", value, list);
  };
  row("operation", node.op);
  if (node.slot !== null) {
    if (node.slot !== node.name) row("name", node.name);
    row("slot", node.slot);
  }
  row("shape", node.shape.join(" × ") || "scalar");
  if (node.slot !== null) row("parameters", node.shape.reduce((a, b) => a * b, 1).toLocaleString("en"));
  for (const [key, value] of Object.entries(node.attributes)) row(key, value);
  for (const way of ["in", "out"]) {
    if (!node[way].length) continue;
    const cell = row(way, undefined);
    for (const other of node[way]) {
      const jump = element("button", nodes[other].slot ?? nodes[other].name, cell);
      jump.type = "button";
      jump.className = "jump";
      jump.addEventListener("click", () => { pick(boxOf.get(other)); centreOn(boxOf.get(other)); });
    }
  }
}

function pick(box) {
  shapes.get(picked)?.classList.remove("picked");
  picked = box;
  for (const wire of wires) wire.path.classList.toggle("linked", wire.from.includes(box) || wire.to.includes(box));
  details.replaceChildren();
  details.hidden = box < 0;
  if (box < 0) return;
  shapes.get(box).classList.add("picked");
  const close = element("button", "×", details);
  close.type = "button";
  close.className = "close";
  close.setAttribute("aria-label", "Close details");
  close.addEventListener("click", () => pick(-1));
  for (const node of boxes[box]) describe(nodes[node]);
}

function rove(box) {
  svg.querySelector('.box[tabindex="0"]')?.setAttribute("tabindex", "-1");
  shapes.get(box).setAttribute("tabindex", "0");
}

for (const [box, shape] of shapes) {
  shape.setAttribute("tabindex", "-1");
  shape.setAttribute("role", "button");
  shape.setAttribute("aria-label", nodes[boxes[box][0]].slot ?? nodes[boxes[box][0]].name);
}
if (shapes.size) rove(Math.min(...shapes.keys()));
svg.setAttribute("role", "group");

svg.addEventListener("click", (event) => {
  if (moved >= 5) return;
  const shape = event.target.closest(".box[data-box]");
  pick(shape ? Number(shape.dataset.box) : -1);
  if (shape) rove(picked);
});

// ---- keyboard ----
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input")) return;
  const shape = event.target.closest(".box[data-box]");
  const walking = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (event.key === "/") field.focus();
  else if (event.key === "+" || event.key === "=") zoom(0.8);
  else if (event.key === "-") zoom(1.25);
  else if (event.key === "0") fit();
  else if (event.key === "Escape") pick(-1);
  else if (walking && shape && !event.shiftKey) {
    const box = Math.min(Math.max(Number(shape.dataset.box) + walking, 0), walk.length - 1);
    rove(box);
    shapes.get(box).focus({ preventScroll: true });
    centreOn(box);
  } else if (walking) {
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    view[sideways ? "x" : "y"] += walking * 0.1 * (sideways ? view.width : view.height);
    look();
  } else if ((event.key === "Enter" || event.key === " ") && shape) pick(Number(shape.dataset.box));
  else return;
  event.preventDefault();
});

document.getElementById("in").addEventListener("click", () => zoom(0.8));
document.getElementById("out").addEventListener("click", () => zoom(1.25));
document.getElementById("fit").addEventListener("click", fit);
document.getElementById("next").addEventListener("click", () => step(1));
document.getElementById("previous").addEventListener("click", () => step(-1));

// ---- links: page.html#search=conv1 and page.html#node=12 ----
function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  field.value = wanted.get("search") ?? "";
  search(field.value);
  const box = boxOf.get(Number(wanted.get("node") ?? -1));
  if (box !== undefined) {
    pick(box);
    centreOn(box);
  }
}
window.addEventListener("hashchange", follow);
follow();
