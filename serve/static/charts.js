// Distributions and spectra as SVG. Text enters through textContent and attributes only: names come from strangers.
const SVG = "http://www.w3.org/2000/svg";
const MOST = 320;
const HEIGHT = 260;
const LEFT = 52, BOTTOM = 34, TOP = 10;
const WIDE = 6; // the widest layer over the middle one that a linear axis still shows
const SHADES = [0.15, 0.24, 0.34, 0.45, 0.58, 0.72];
const RAMP = ["#7a55e0", "#3b76d6", "#1f93a8", "#1fa187", "#55b04c", "#a9ad1c"];
export const KIND_LABELS = { attention: "attention", linear: "linear layers", convolution: "convolutions", table: "embeddings and tables" };

export function draw(tag, attributes, parent, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  parent?.append(made);
  return made;
}

export function figures(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function evenly(items, most) {
  if (items.length <= most) return items;
  return Array.from({ length: most }, (_, index) => items[Math.round((index * (items.length - 1)) / (most - 1))]);
}

/** The layers that have a column: with their indices among all tensors; a deep network shows some of them. */
export function columnsOf(tensors) {
  const wide = tensors.map((tensor, index) => ({ ...tensor, index })).filter((tensor) => tensor.kind !== "vector");
  return evenly(wide, MOST);
}

function blockOf(name) {
  const words = name.split(".");
  const at = words.slice(0, -1).findIndex((word) => /^\d+$/.test(word));
  return words.slice(0, at < 0 ? Math.min(2, words.length - 1) : at + 1).join(".");
}

function short(name) {
  const end = name.split(".").slice(-2).join(".");
  return end.length <= 16 ? end : `…${end.slice(-15)}`;
}

/** Return the function from values to pixels and the values to name on its axis. */
function axis(found) {
  const reach = found.map(({ bands }) => Math.max(Math.abs(bands[0]), Math.abs(bands.at(-1)))).filter(Boolean).sort((a, b) => a - b);
  const middle = reach[Math.floor(reach.length / 2)] ?? 1;
  const bent = reach.length && reach.at(-1) / middle > WIDE;
  const map = bent ? (value) => Math.asinh((2 * value) / middle) : (value) => value;
  const low = Math.min(0, ...found.map(({ bands }) => bands[0]));
  const high = Math.max(0, ...found.map(({ bands }) => bands.at(-1)));
  const room = (map(high) - map(low) || 1) * 0.05;
  const [from, to] = [map(low) - room, map(high) + room];
  const at = (value) => TOP + ((to - map(value)) / (to - from)) * (HEIGHT - TOP - BOTTOM);
  const sizes = bent ? [middle, reach.at(-1)] : [Math.max(high, -low) || 1];
  const ticks = [...new Set([0, ...sizes.map(nice).flatMap((size) => [size, -size])])].filter((tick) => tick <= high && tick >= low);
  return { at, ticks };
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return Number(([5, 2, 1].find((step) => step * power <= value * 1.0001) * power).toPrecision(3));
}

/** Draw a column for each layer that is known; that with index `picked` has a frame. */
export function distributions(host, columns, numbers, picked) {
  const width = Math.max(280, host.clientWidth);
  const step = (width - LEFT - 4) / columns.length;
  const bar = Math.max(0.6, Math.min(step * 0.84, 46));
  const left = (index) => LEFT + index * step + (step - bar) / 2;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, "aria-hidden": "true" });
  blocks(svg, columns, step, width);
  const found = columns.map((column) => numbers.get(column.index)).filter((one) => one?.bands);
  const { at, ticks } = axis(found);
  for (const tick of ticks) {
    draw("path", { class: tick ? "axis" : "zero", d: `M${LEFT} ${at(tick)}H${width - 4}` }, svg);
    draw("text", { x: LEFT - 7, y: at(tick) + 4, "text-anchor": "end" }, svg, figures(tick));
  }
  for (const kind of Object.keys(KIND_LABELS)) {
    const own = columns.map((column, index) => [column, index]).filter(([column]) => column.kind === kind && numbers.get(column.index)?.bands);
    const rows = own.map(([column, index]) => [left(index), numbers.get(column.index).bands]);
    SHADES.forEach((shade, band) => {
      const path = rows.map(([x, bands]) => {
        const [top, low] = [at(bands.at(-1 - band)), at(bands[band])];
        return `M${x.toFixed(1)} ${top.toFixed(1)}h${bar.toFixed(1)}V${Math.max(low, top + 1.2).toFixed(1)}h${(-bar).toFixed(1)}z`;
      });
      draw("path", { class: `band ${kind}`, opacity: shade, d: path.join("") }, svg);
    });
    const medians = rows.filter(([, bands]) => bands[0] < bands.at(-1));
    draw("path", { class: "median", d: medians.map(([x, bands]) => `M${x.toFixed(1)} ${at(bands[6]).toFixed(1)}h${bar.toFixed(1)}`).join("") }, svg);
  }
  if (picked >= 0) draw("rect", { class: "cursor", x: left(picked) - 2, y: TOP - 4, width: bar + 4, height: HEIGHT - BOTTOM - TOP + 8, rx: 4 }, svg);
  host.replaceChildren(svg);
  return (x) => Math.max(0, Math.min(columns.length - 1, Math.floor((x - LEFT) / step)));
}

/** Shade every other block, and name those that have room for it. */
function blocks(svg, columns, step, width) {
  const names = columns.map(({ name }) => blockOf(name));
  let [first, odd, free] = [0, false, -Infinity];
  for (let index = 1; index <= names.length; index++) {
    if (index < names.length && names[index] === names[first]) continue;
    const [from, to] = [LEFT + first * step, LEFT + index * step];
    if (odd) draw("rect", { class: "shade", x: from, y: TOP, width: to - from, height: HEIGHT - TOP - BOTTOM }, svg);
    const label = short(names[first]);
    const half = label.length * 3;
    const middle = Math.max(LEFT + half, Math.min((from + to) / 2, width - half - 2));
    if (middle - half > free + 8) {
      draw("text", { x: middle, y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, svg, label);
      free = middle + half;
    }
    [first, odd] = [index, !odd];
  }
}

export function colour(depth) {
  const position = depth * (RAMP.length - 1);
  const at = Math.min(RAMP.length - 2, Math.floor(position));
  const parts = [1, 3, 5].map((from) => [at, at + 1].map((stop) => parseInt(RAMP[stop].slice(from, from + 2), 16)));
  return `rgb(${parts.map(([low, high]) => Math.round(low + (high - low) * (position - at))).join(" ")})`;
}

/** Draw a panel of curves for each kind of layer; the one with index `picked` is highlighted. */
export function spectra(host, tensors, numbers, ranks, picked) {
  const curves = [...numbers].filter(([, one]) => one.spectrum).sort(([a], [b]) => a - b);
  const tallest = Math.max(1.2, ...curves.map(([, one]) => one.spectrum[0]));
  const log = tallest > 5;
  const [width, height] = [260, 150];
  const x = (rank) => 26 + rank * (width - 30);
  const y = (value) => (log ? 8 + ((Math.log(tallest) - Math.log(Math.max(value, 0.01))) / Math.log(tallest / 0.01)) * 122 : 130 - (value / (1.05 * tallest)) * 122);
  const panels = Object.keys(KIND_LABELS).flatMap((kind) => {
    const own = curves.filter(([index]) => tensors[index].kind === kind);
    if (!own.length) return [];
    const panel = document.createElement("div");
    panel.append(Object.assign(document.createElement("h3"), { textContent: `${KIND_LABELS[kind]} (${own.length})` }));
    const label = `Singular values of ${own.length} ${KIND_LABELS[kind]}`;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, panel);
    for (const tick of log ? [0.01, 0.1, 1, 10, 100].filter((one) => one <= tallest) : [0, 1, 2, 3, 4].filter((one) => one <= tallest)) {
      draw("path", { class: "axis", d: `M26 ${y(tick)}H${width - 4}` }, svg);
      draw("text", { x: 20, y: y(tick) + 4, "text-anchor": "end" }, svg, String(tick));
    }
    draw("text", { x: 26, y: 146 }, svg, "largest");
    draw("text", { x: width - 4, y: 146, "text-anchor": "end" }, svg, "smallest");
    const path = (one) => one.spectrum.map((value, rank) => `${rank ? "L" : "M"}${x(ranks[rank]).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    for (const [index, one] of own) draw("path", { class: "curve", d: path(one), stroke: colour(index / Math.max(1, tensors.length - 1)) }, svg);
    const chosen = own.find(([index]) => index === picked);
    if (chosen) draw("path", { class: "curve picked", d: path(chosen[1]) }, svg);
    return [panel];
  });
  host.replaceChildren(...panels);
  return panels.length > 0;
}

/** Return a small histogram between the least and the greatest value. */
export function histogram(one, kind) {
  const [width, height] = [230, 74];
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height + 16}`, role: "img", "aria-label": "Histogram of its values", class: kind });
  const counts = one.histogram.length ? one.histogram : [1];
  const most = Math.max(...counts, 1);
  const bar = width / counts.length;
  const path = counts.map((count, index) => {
    const tall = (count / most) * height;
    return count ? `M${(index * bar + 0.5).toFixed(1)} ${height}v${(-tall).toFixed(1)}h${Math.max(1, Math.min(bar, 24) - 1).toFixed(1)}v${tall.toFixed(1)}z` : "";
  });
  draw("path", { class: "band", d: path.join("") }, svg);
  draw("path", { class: "axis", d: `M0 ${height}H${width}` }, svg);
  draw("text", { x: 0, y: height + 14 }, svg, figures(one.least));
  draw("text", { x: width, y: height + 14, "text-anchor": "end" }, svg, figures(one.most));
  return svg;
}
