// What several chapters show: a picture with its caption, a row of digits to choose from, a layout.
import { button, make } from "./dom.js";
import { paint } from "./pictures.js";

/** A picture with a caption: {element, set(bytes, caption, spoken)}. */
export function pictureOf(shape, { small = false } = {}) {
  const canvas = make("canvas", { role: "img", class: "picture" });
  const caption = make("figcaption");
  const element = make("figure", { class: small ? "shown small" : "shown" }, canvas, caption);
  const set = (bytes, text = "", spoken = text) => {
    paint(canvas, bytes, shape);
    canvas.setAttribute("aria-label", spoken);
    caption.textContent = text;
  };
  return { element, set, caption };
}

/** A map, and beside it whatever there is to see. */
export function beside(map, ...side) {
  return make("div", { class: "duo" }, map, make("div", { class: "side" }, ...side));
}

/** The first test image of each class. */
export function oneEach(labels, classes) {
  return classes.map((_, k) => labels.indexOf(k));
}

/** A row of test images, of which one is chosen: {element, set(i)}. */
export function chooser(shelf, which, label, pick) {
  const { shape, classes } = shelf.told;
  const made = which.map((i) => {
    const canvas = make("canvas", { "aria-hidden": "true" });
    paint(canvas, shelf.image(i), shape);
    const one = button("", () => set(i, true), { class: "digit", "aria-label": `Digit ${classes[shelf.labels[i]]}` });
    one.append(canvas);
    return [i, one];
  });
  const element = make("div", { class: "digits", role: "group", "aria-label": label }, ...made.map(([, one]) => one));
  const set = (i, told = false) => {
    made.forEach(([k, one]) => one.setAttribute("aria-pressed", k === i));
    if (told) pick(i);
  };
  return { element, set };
}

/** A slider with a name and its value in words: {element, input, set(value)}. */
export function slider(name, { min = 0, max, step = 1, value, words = (v) => `${v}`, act }) {
  const told = make("output", { text: words(value) });
  const input = make("input", { type: "range", min, max, step, "aria-label": name, "aria-valuetext": words(value),
    on: { input: () => set(Number(input.value), true) } });
  input.value = value;
  const element = make("label", { class: "slide" }, make("span", {}, `${name}: `, told), input);
  const set = (v, own = false) => {
    if (!own) input.value = v;
    told.textContent = words(v);
    input.setAttribute("aria-valuetext", words(v));
    if (own) act(v);
  };
  return { element, input, set };
}

/** A sentence that is read aloud when it changes. */
export function sentence() {
  return make("p", { class: "sentence", role: "status" });
}

/** A drawing at `size` [columns, rows] of values in [0, 1] (rows, columns), as alpha of a colour. */
export function heat(values, [columns, rows], [r, g, b]) {
  const canvas = make("canvas", { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const at = 4 * ((rows - 1 - y) * columns + x);
      image.data.set([r, g, b, Math.round(255 * Math.min(1, values[y * columns + x]))], at);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Call act(k) for k = 0 to n - 1 without holding up the page; `go()` says whether to go on. */
export async function inSlices(n, act, go = () => true) {
  let since = performance.now();
  for (let k = 0; k < n && go(); k++) {
    act(k);
    if (performance.now() - since > 10) {
      await new Promise((next) => setTimeout(next, 0));
      since = performance.now();
    }
  }
}
