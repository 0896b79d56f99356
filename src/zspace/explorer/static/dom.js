/** An element: make("p", {class: "note", text: "..."}, children). Handlers are on: {click: act}. */
export function make(name, { text, on = {}, data = {}, ...rest } = {}, ...children) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(rest)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null) element.setAttribute(key, value);
  }
  Object.assign(element.dataset, data);
  for (const [event, act] of Object.entries(on)) element.addEventListener(event, act);
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function button(text, act, rest = {}) {
  return make("button", { type: "button", text, on: { click: act }, ...rest });
}

/** A choice of a few, as buttons of which one is pressed: {element, set(value)}. */
export function segments(label, options, act) {
  const made = options.map(([value, text]) => [value, button(text, () => set(value, true))]);
  const element = make("div", { class: "segments", role: "group", "aria-label": label },
    ...made.map(([, one]) => one));
  const set = (value, told = false) => {
    made.forEach(([key, one]) => one.setAttribute("aria-pressed", key === value));
    if (told) act(value);
  };
  return { element, set };
}

/** A scale from 0 to 100 with a mark on it: {element, set(percent, sentence)}. */
export function gauge(low, high) {
  const needle = make("span", { class: "needle" });
  const sentence = make("p", { class: "sentence" });
  const element = make("div", { class: "gauge" },
    make("div", { class: "scale", "aria-hidden": "true" }, needle),
    make("div", { class: "ends", "aria-hidden": "true" },
      make("span", { text: low }), make("span", { text: high })),
    sentence);
  const set = (percent, told) => {
    needle.style.left = `${percent}%`;
    sentence.textContent = told;
  };
  return { element, set };
}

/** Hand a file to the visitor. */
export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** A number with two digits and a proper minus. */
export function signed(value) {
  return (Math.abs(value) < 0.005 ? 0 : value).toFixed(2).replace("-", "−");
}

/** Numbers of a code in short. */
export function told(z, most = 2) {
  const first = Array.from(z.slice(0, most), signed);
  return `(${first.join(", ")}${z.length > most ? ", …" : ""})`;
}

/** "83%": of a percentile, never 100% or 0%. */
export function percent(value) {
  return `${Math.min(99.9, Math.max(0.1, value)).toFixed(value > 99 || value < 1 ? 1 : 0)}%`;
}

/** A quantity with three digits and a proper minus. */
export function amount(value) {
  const size = Math.abs(value);
  const short = Number(value.toPrecision(3));
  const text = size && (size >= 1e6 || size < 1e-3) ? short.toExponential() : short.toLocaleString("en", { maximumFractionDigits: 6 });
  return text.replace("-", "−");
}
