// The field that completes names of architectures: aliases first, then those of a library once its name is typed.
const SHOWN = 60;
const LIBRARIES = ["diffusers", "timm", "torchvision", "transformers"];

export function completing(field, list, { fetchNames, chosen }) {
  const known = new Map();
  let options = [];
  let active = -1;

  async function load(source) {
    if (known.has(source)) return known.get(source);
    known.set(source, {});
    try {
      known.set(source, await fetchNames(source));
    } catch {
      known.delete(source); // the error is shown where the names are needed; typing goes on
    }
    return known.get(source) ?? {};
  }

  function matching(text) {
    const wanted = text.trim().toLowerCase();
    const source = LIBRARIES.find((library) => wanted.startsWith(`${library}:`));
    if (source && !known.has(source)) load(source).then(() => document.activeElement === field && open());
    const names = Object.entries({ ...known.get(""), ...(source ? known.get(source) : {}) });
    const found = names.filter(([name, spec]) => name.toLowerCase().includes(wanted) || spec.toLowerCase().includes(wanted));
    const rank = ([name]) => (name.toLowerCase().startsWith(wanted) ? 0 : name.toLowerCase().includes(wanted) ? 1 : 2);
    found.sort((a, b) => rank(a) - rank(b));
    const more = source ? [] : LIBRARIES.filter((library) => library.startsWith(wanted)).map((library) => [`${library}:`, "all names of this library"]);
    return wanted && !source ? [...more, ...found] : [...found, ...more];
  }

  function close() {
    list.hidden = true;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
    active = -1;
  }

  function open(every = false) {
    options = matching(every ? "" : field.value);
    if (!every && options.length > SHOWN) options = options.slice(0, SHOWN);
    if (!options.length) return close();
    list.replaceChildren(...options.map(([name, spec], index) => {
      const item = document.createElement("li");
      item.id = `name-${index}`;
      item.role = "option";
      item.setAttribute("aria-selected", "false");
      item.textContent = name;
      if (spec) item.append(Object.assign(document.createElement("small"), { textContent: spec }));
      item.addEventListener("mousedown", (event) => { event.preventDefault(); take(index); });
      return item;
    }));
    list.hidden = false;
    list.scrollTop = 0;
    active = -1;
    field.setAttribute("aria-expanded", "true");
    field.removeAttribute("aria-activedescendant");
  }

  function move(to) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = (to + options.length) % options.length;
    const item = list.children[active];
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", item.id);
  }

  function take(index) {
    field.value = options[index][0];
    close();
    if (field.value.endsWith(":")) open();
    else chosen();
  }

  field.addEventListener("input", () => { open(); chosen(); });
  field.addEventListener("click", () => { if (list.hidden) open(true); });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    const open_ = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!open_) open(true);
      if (!list.hidden) move(event.key === "ArrowDown" ? active + 1 : active < 0 ? options.length - 1 : active - 1);
    } else if (event.key === "Enter" && open_ && active >= 0) take(active);
    else if (event.key === "Escape" && open_) close();
    else return;
    event.preventDefault();
  });

  return { load: () => load(""), spec: (name) => known.get("")?.[name] };
}
