// The page: the request on the left, the prediction on the right. No text is inserted as markup.
import { KIND_LABELS, columnsOf, distributions, figures, histogram, spectra } from "/static/charts.js";
import { completing } from "/static/names.js";

const at = (id) => document.getElementById(id);
const form = at("request");
const quiet = matchMedia("(prefers-reduced-motion: reduce)");
let shown = null; // the prediction on the page: its head, numbers by index, columns, and the picked column
let running = null; // the controller of the request that is read

// ---- the server ----
async function send(path, body, signal) {
  const headers = at("key").value ? { Authorization: `Bearer ${at("key").value}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body: body && JSON.stringify(body), signal });
  if (answer.ok) return answer;
  if (answer.status === 401) at("access").hidden = false;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `The server answered ${answer.status}.`);
}

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function showProblem(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
}

// ---- the request ----
function value(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { True: true, False: false, None: null }[text] ?? text;
  }
}

function overrides() {
  const settings = at("set").value.trim().split(/[\s,]+/).filter(Boolean);
  const wrong = settings.find((setting) => !/^[^=]+=/.test(setting));
  if (wrong) throw new Error(`${JSON.stringify(wrong)} changes nothing. Type KEY=VALUE, as in num_labels=37`);
  return Object.fromEntries(settings.map((setting) => [setting.slice(0, setting.indexOf("=")), value(setting.slice(setting.indexOf("=") + 1))]));
}

function requestOf() {
  const data = new FormData(form);
  const request = { init: data.get("init") ?? "auto", seed: Number(data.get("seed")) };
  if (data.get("dtype")) request.dtype = data.get("dtype");
  if (request.init === "diffusion") return { ...request, prompt: at("prompt").value.trim() };
  if (data.get("input") === "name") return { ...request, arch: at("arch").value.trim(), set: overrides() };
  try {
    return { ...request, graph: JSON.parse(at("graph").value) };
  } catch (error) {
    throw new Error(`The graph is no JSON: ${error.message}. Make one with: paramgen graph --arch NAME --out g.json`);
  }
}

const names = completing(at("arch"), at("names"), {
  fetchNames: async (source) => (await send(`/v1/architectures${source ? `?source=${source}` : ""}`)).json(),
  chosen: showAlias,
});

function showAlias() {
  at("alias").textContent = names.spec(at("arch").value.trim()) ?? "";
}

async function loadLists() {
  const [initializers] = await Promise.all([send("/v1/initializers").then((answer) => answer.json()), names.load()]);
  const wanted = at("initializers").dataset.wanted ?? "auto";
  at("initializers").replaceChildren(...Object.entries(initializers).flatMap(([name, sentence]) => {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "init", value: name, checked: name === wanted });
    const title = Object.assign(document.createElement("strong"), { textContent: name });
    label.append(radio, title, description(sentence));
    return name === "diffusion" ? [label, at("prompt-field")] : [label];
  }));
  showAlias();
  showPrompt();
}

function description(sentence) {
  const small = document.createElement("small");
  sentence.split("`").forEach((part, index) => {
    small.append(index % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part);
  });
  return small;
}

function showPrompt() {
  at("prompt-field").hidden = new FormData(form).get("init") !== "diffusion";
}

function showInput() {
  const named = new FormData(form).get("input") === "name";
  at("by-name").hidden = !named;
  at("by-graph").hidden = named;
}

// ---- predicting ----
async function predict() {
  running?.abort();
  at("problem").hidden = true;
  const controller = running = new AbortController();
  busy(true);
  try {
    const request = requestOf();
    if (request.graph === undefined) remember(request);
    at("status").textContent = "Building the network";
    at("predict").textContent = "Building the network…";
    const answer = await send("/v1/statistics", request, controller.signal);
    for await (const line of lines(answer)) {
      if (controller.signal.aborted) return;
      if (line.error) throw new Error(line.error);
      if (line.tensors) begin(line, request, controller.signal);
      else if (line.before_training) ran(line.before_training);
      else arrive(line);
    }
    at("status").textContent = "All tensors are predicted";
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error);
  } finally {
    if (running === controller) busy(false);
  }
}

function busy(on) {
  at("predict").disabled = on;
  at("predict").textContent = on ? "Predicting…" : "Predict";
  at("stop").hidden = !on;
  if (!on) running = null;
}

function remember(request) {
  const query = new URLSearchParams({ init: request.init, seed: request.seed });
  for (const name of ["arch", "prompt"]) if (request[name] !== undefined) query.set(name, request[name]);
  if (request.dtype) query.set("dtype", request.dtype);
  if (request.arch !== undefined && at("set").value.trim()) query.set("set", at("set").value.trim());
  history.replaceState(null, "", `#${query}`);
}

function begin(head, request, signal) {
  shown = { head, request, numbers: new Map(), layers: {}, columns: columnsOf(head.tensors), picked: -1, follow: true };
  at("empty").hidden = true;
  at("result").hidden = false;
  at("predict").textContent = "Predicting…";
  at("status").textContent = "Predicting";
  at("spec").textContent = head.spec;
  const size = head.bytes < 1e6 ? `${Math.ceil(head.bytes / 1e3)} kB` : `${(head.bytes / 1e6).toLocaleString("en", { maximumFractionDigits: head.bytes < 1e8 ? 1 : 0 })} MB`;
  const whole = Object.values(head.by_rule).reduce((sum, count) => sum + count, 0) || 1;
  const rules = Object.entries(head.by_rule).map(([rule, count]) => `${rule} ${percent(count / whole)}`).join(" · ");
  at("facts").textContent = `${head.parameters.toLocaleString("en")} parameters · ${size} · ${head.tensors.length.toLocaleString("en")} tensors · ${rules}`;
  at("reason").textContent = head.explanation;
  at("next").textContent = head.next_step.slice(head.next_step.indexOf(": ") + 2);
  at("measure").hidden = !head.next_step;
  at("progress").max = head.tensors.length;
  at("command").textContent = head.command ?? `paramgen predict --arch g.json --init ${head.init} --seed ${request.seed} --out weights`;
  at("loading").textContent = head.loading.join("\n");
  at("rows").replaceChildren();
  at("before-card").hidden = true;
  const kinds = Object.keys(KIND_LABELS).filter((kind) => shown.columns.some((column) => column.kind === kind));
  at("legend").replaceChildren(...kinds.map((kind) => Object.assign(document.createElement("li"), { className: kind, textContent: KIND_LABELS[kind] })));
  at("distributions").setAttribute("aria-valuemax", Math.max(1, shown.columns.length));
  links(head);
  drawGraph(request, signal);
  redraw();
  if (innerWidth <= 900) at("result").scrollIntoView({ behavior: quiet.matches ? "auto" : "smooth" });
}

// The rule of a tensor; of one that several rules fill, the share of each.
function ruleOf(tensor) {
  if (!tensor.filled_elements) return tensor.rule;
  const whole = tensor.shape.reduce((product, size) => product * size, 1) || 1;
  return Object.entries(tensor.filled_elements).map(([rule, count]) => `${rule} ${percent(count / whole)}`).join(", ");
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function arrive(line) {
  shown.numbers.set(line.index, line);
  const tensor = shown.head.tensors[line.index];
  const row = at("rows").insertRow();
  const cells = [tensor.name, tensor.shape.join(" × ") || "scalar", ruleOf(tensor), figures(line.mean), figures(line.std)];
  for (const text of cells) row.insertCell().textContent = text;
  redraw();
}

// What the network does with these weights before it is trained.
function ran(found) {
  shown.layers = found.layers ?? {};
  at("before-card").hidden = false;
  at("before-note").textContent = found.reason ?? `run on ${found.examples} examples of ${found.source}, without training`;
  at("before").replaceChildren(...(found.figures ?? []).flatMap((one) => [
    Object.assign(document.createElement("dt"), { textContent: one.label }),
    Object.assign(document.createElement("dd"), { textContent: one.value === null ? "–" : figures(one.value) + (one.light && one.light !== "good" ? ` (${one.light})` : "") }),
  ]));
  const advice = found.figures && !found.advice.length ? ["Nothing of this is wrong."] : found.advice ?? [];
  at("advice").replaceChildren(...advice.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  redraw();
}

function links(head) {
  const plain = head.query !== null && !at("key").value;
  at("weights").href = plain ? `/v1/weights?${head.query}` : "#result";
  at("folder").href = plain ? `/v1/folder?${head.query}` : "#result";
  at("share").hidden = head.query === null;
  at("share").href = location.href;
}

// A plain link streams to the disk. Where a key or a graph has to go along, the file passes through memory.
async function fetched(event, form_, name) {
  if (shown.head.query !== null && !at("key").value) return;
  event.preventDefault();
  try {
    const answer = await send("/v1/predict", { ...shown.request, as: form_ });
    const url = URL.createObjectURL(await answer.blob());
    Object.assign(document.createElement("a"), { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    showProblem(error);
  }
}

async function drawGraph(request, signal) {
  const [frame, note] = [at("drawing"), at("drawing-note")];
  frame.hidden = true;
  note.hidden = false;
  note.textContent = "Drawing…";
  try {
    frame.srcdoc = await (await send("/v1/drawing", request, signal)).text();
    frame.hidden = false;
    note.hidden = true;
  } catch (error) {
    note.textContent = error.name === "AbortError" ? "Not drawn." : error.message;
  }
}

// ---- what is shown: at most once a frame ----
let due = false;
let columnAt = () => 0;
function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    if (!shown) return;
    const { head, numbers, columns } = shown;
    at("progress").value = numbers.size;
    at("count").textContent = `${numbers.size.toLocaleString("en")} of ${head.tensors.length.toLocaleString("en")}`;
    if (shown.follow) shown.picked = columns.findLastIndex((column) => numbers.has(column.index));
    columnAt = distributions(at("distributions"), columns, numbers, shown.picked);
    const index = columns[shown.picked]?.index ?? -1;
    at("spectra-card").hidden = !spectra(at("spectra"), head.tensors, numbers, head.ranks, index);
    describe(index);
  });
}

function describe(index) {
  const [tensor, one] = [shown.head.tensors[index], shown.numbers.get(index)];
  at("layer").replaceChildren();
  if (!tensor || !one) return;
  const text = document.createElement("div");
  text.append(Object.assign(document.createElement("h3"), { textContent: tensor.name }));
  const list = document.createElement("dl");
  const facts = { shape: tensor.shape.join(" × "), rule: ruleOf(tensor), mean: figures(one.mean), std: figures(one.std) };
  const layer = shown.layers[tensor.name.replace(/\.?[^.]*$/, "") || "network"];
  if (layer?.square != null) facts["mean square of its output"] = figures(layer.square);
  if (layer?.gradient != null) facts["squared gradient"] = figures(layer.gradient);
  for (const [term, value] of Object.entries(facts)) {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: term }), Object.assign(document.createElement("dd"), { textContent: value }));
    list.append(pair);
  }
  text.append(list);
  at("layer").append(text);
  if (one.histogram) at("layer").append(histogram(one, tensor.kind));
  const chart = at("distributions");
  chart.setAttribute("aria-valuenow", shown.picked + 1);
  chart.setAttribute("aria-valuetext", `${tensor.name}, ${facts.shape}, std ${facts.std}`);
}

function pick(column) {
  shown.follow = false;
  shown.picked = Math.max(0, Math.min(shown.columns.length - 1, column));
  redraw();
}

const chart = at("distributions");
for (const kind of ["pointermove", "pointerdown"]) {
  chart.addEventListener(kind, (event) => shown?.columns.length && pick(columnAt(event.clientX - chart.getBoundingClientRect().left)));
}
chart.addEventListener("keydown", (event) => {
  if (!shown?.columns.length) return;
  const last = shown.columns.length - 1;
  const to = { ArrowRight: shown.picked + 1, ArrowUp: shown.picked + 1, ArrowLeft: shown.picked - 1, ArrowDown: shown.picked - 1, Home: 0, End: last, PageUp: shown.picked + 10, PageDown: shown.picked - 10 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  pick(to);
});
new ResizeObserver(redraw).observe(chart);

// ---- the rest of the page ----
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    at("status").textContent = button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = button.dataset.label; }, 1600);
}

for (const button of document.querySelectorAll("[data-copy], #share")) {
  button.dataset.label = button.textContent;
  button.addEventListener("click", (event) => {
    event.preventDefault();
    copy(button.id === "share" ? button.href : at(button.dataset.copy).textContent, button);
  });
}
for (const button of document.querySelectorAll("[data-arch]")) {
  button.addEventListener("click", () => {
    at("arch").value = button.dataset.arch;
    at("set").value = "";
    form.elements.input.value = "name";
    if (form.elements.init.value === "diffusion") form.elements.init.value = "auto";
    showInput();
    showPrompt();
    showAlias();
    predict();
  });
}
at("weights").addEventListener("click", (event) => fetched(event, "weights", shown.head.file));
at("folder").addEventListener("click", (event) => fetched(event, "folder", "weights.zip"));
at("stop").addEventListener("click", () => { running?.abort(); busy(false); at("predict").focus(); });
at("file").addEventListener("change", async (event) => { at("graph").value = (await event.target.files[0]?.text()) ?? ""; });
at("key").addEventListener("change", () => {
  if (shown) links(shown.head);
  loadLists().then(() => { at("problem").hidden = true; }, showProblem);
});
at("initializers").addEventListener("change", showPrompt);
for (const radio of form.elements.input) radio.addEventListener("change", showInput);
form.addEventListener("submit", (event) => { event.preventDefault(); predict(); });

const given = new URLSearchParams(location.hash.slice(1));
for (const name of ["arch", "prompt", "set", "seed", "dtype"]) if (given.has(name)) at(name).value = given.get(name);
if (given.has("init")) at("initializers").dataset.wanted = given.get("init");
showInput();
loadLists().catch(showProblem);
