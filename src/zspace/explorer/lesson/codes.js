// Chapters 1 to 5: the code, its size, what lies between, clouds, and their price.
import { button, make } from "./dom.js";
import { gaussian } from "./geometry.js";
import { paint } from "./pictures.js";
import { rateDistortion } from "./rate.js";
import { boxOf, flatMap } from "./flat.js";
import { beside, oneEach, pictureOf, sentence, slider } from "./pieces.js";
import { squared } from "./shelf.js";

const MET = 5;
const NEAR = 16; // pixels
const RIM = 0.015; // of the codes of an autoencoder, which lie far apart, that are out of view
const told = (z) => `code (${z.map((value) => value.toFixed(2).replace("-", "−")).join(", ")})`;

/** The options of a map of digits that all chapters share. */
export function digitMap(shelf, run, label, rest) {
  const { classes } = shelf.told;
  return flatMap({
    label, points: run.z, labels: shelf.labels, n: classes.length,
    words: (z, i) => `${told(z)}, nearest digit ${classes[shelf.labels[i]]}`, ...rest,
  });
}

export async function squeeze(holder, shelf, tasks) {
  const run = await shelf.run("ae-2");
  const { shape, classes } = shelf.told;
  const [made, given] = [pictureOf(shape), pictureOf(shape, { small: true })];
  const met = new Set();
  const state = sentence();
  const map = digitMap(shelf, run, "Map of the codes of an autoencoder", {
    box: boxOf(run.z, RIM),
    point: (z) => {
      made.set(run.bytes(z), told(z), `What the decoder draws for ${told(z)}`);
      const i = map.nearest(z);
      given.set(shelf.image(i), "nearest test digit", `Nearest test digit: ${classes[shelf.labels[i]]}`);
      const close = map.nearest(z, NEAR);
      if (close < 0 || met.has(shelf.labels[close])) return;
      met.add(shelf.labels[close]);
      state.textContent = `Met: ${[...met].sort().map((k) => classes[k]).join(", ")}.`;
      if (met.size >= MET) tasks.done("squeeze");
    },
  });
  holder.append(beside(map.element, made.element, given.element), legend(shelf), state);
  const z = run.code(0);
  made.set(run.bytes(z), told(z), `What the decoder draws for ${told(z)}`);
  given.set(shelf.image(0), "nearest test digit", `Nearest test digit: ${classes[shelf.labels[0]]}`);
  map.set({ place: z });
}

/** What the colours mean. */
function legend({ told: { classes, colours } }) {
  return make("ul", { class: "legend", "aria-label": "Colours of the classes" }, ...classes.map((name, k) => {
    const dot = make("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = colours[k % colours.length];
    return make("li", {}, dot, name);
  }));
}

export async function size(holder, shelf, tasks) {
  const [two, twenty] = await Promise.all(["ae-2", "ae-20"].map((name) => shelf.run(name)));
  const { shape, classes } = shelf.told;
  const state = sentence();
  const rows = oneEach(shelf.labels, classes).map((i) => {
    const errors = [two, twenty].map((run) => squared(shelf.x(i), run.decode(run.code(i))));
    return { i, errors, gain: errors[0] - errors[1] };
  });
  const most = Math.max(...rows.map(({ gain }) => gain));
  const cards = rows.map(({ i, errors, gain }) => {
    const name = classes[shelf.labels[i]];
    const canvases = [shelf.image(i), two.bytes(two.code(i)), twenty.bytes(twenty.code(i))].map((bytes) =>
      paint(make("canvas", { "aria-hidden": "true" }), bytes, shape));
    const one = button("", () => {
      cards.forEach((card) => card.setAttribute("aria-pressed", card === one));
      const best = gain === most;
      state.textContent = `The error of this ${name} falls by ${gain.toFixed(1)}, from ${errors[0].toFixed(1)} to ${errors[1].toFixed(1)}`
        + (best ? ": the most of these ten." : ", but another one gains more.");
      if (best) tasks.done("size");
    }, { class: "card", "aria-label": `Digit ${name}: error ${errors[0].toFixed(1)} with 2 numbers, ${errors[1].toFixed(1)} with 20` });
    one.append(...canvases, make("span", { "aria-hidden": "true", text: `${errors[0].toFixed(0)} → ${errors[1].toFixed(0)}` }));
    return one;
  });
  holder.append(
    make("div", { class: "sizes" },
      make("div", { class: "heads", "aria-hidden": "true" }, make("span", { text: "digit" }), make("span", { text: "from 2" }), make("span", { text: "from 20" }), make("span", { text: "error" })),
      make("div", { class: "cards", role: "group", "aria-label": "Ten digits, through codes of 2 and of 20 numbers" }, ...cards)),
    state);
}

/** How far the nearest of the points is from a place that has points all around it; else 0. */
function emptiness(points, [x, y]) {
  let best = Infinity;
  const around = new Set();
  for (let i = 0; i < points.length; i += 2) {
    const [dx, dy] = [points[i] - x, points[i + 1] - y];
    best = Math.min(best, Math.hypot(dx, dy));
    around.add(Math.floor((Math.atan2(dy, dx) / Math.PI + 1) * 3.999));
  }
  return around.size >= 8 ? best : 0;
}

export async function between(holder, shelf, tasks) {
  const run = await shelf.run("ae-2");
  const { shape, n } = shelf.told;
  const made = pictureOf(shape);
  const state = sentence();
  const box = boxOf(run.z, RIM);
  const wide = box[2] - box[0];
  let widest = 0;
  for (let k = 0; k < 1200; k++) {
    const z = [box[0] + ((k % 40) + 0.5) / 40 * wide, box[1] + (Math.floor(k / 40) + 0.5) / 30 * (box[3] - box[1])];
    widest = Math.max(widest, emptiness(run.z, z));
  }
  const show = (z) => made.set(run.bytes(z), told(z), `What the decoder draws for ${told(z)}`);
  const map = digitMap(shelf, run, "Map of the codes of an autoencoder", {
    box, point: show,
    press: (z) => {
      const far = emptiness(run.z, z);
      const share = `${((100 * far) / wide).toFixed(1)}% of the map's width`;
      const found = far > 0.6 * widest;
      state.textContent = found ? `A hole: the nearest of ${n.toLocaleString("en")} codes is ${share} away. The decoder draws something all the same.`
        : far ? `Not yet: a code is only ${share} away.` : "This place is outside the dots: a hole has dots all around it.";
      if (found) tasks.done("between");
    },
  });
  holder.append(beside(map.element, made.element), state);
  const z = run.code(1);
  show(z);
  map.set({ place: z });
}

export async function cloud(holder, shelf, tasks) {
  const run = await shelf.run("vae-2");
  const { shape, classes, n } = shelf.told;
  const areas = Array.from({ length: n }, (_, i) => run.posterior(i).sigma.reduce((a, b) => a * b));
  const sorted = Float64Array.from(areas).sort();
  const given = pictureOf(shape);
  const state = sentence();
  const draws = Array.from({ length: 6 }, () => make("canvas", { role: "img" }));
  function pick(i, own = true) {
    const { mu, sigma } = run.posterior(i);
    map.set({ marks: [{ mu, sigma }], place: mu });
    const name = classes[shelf.labels[i]];
    given.set(shelf.image(i), `test digit ${i}: ${name}`, `Test digit ${i}, a ${name}`);
    draws.forEach((canvas, k) => {
      paint(canvas, run.bytes(mu.map((value, j) => value + sigma[j] * gaussian())), shape);
      canvas.setAttribute("aria-label", `Draw ${k + 1} from its cloud, decoded`);
    });
    const below = sorted.filter((area) => area < areas[i]).length / n;
    state.textContent = `σ = ${sigma.map((value) => value.toFixed(2)).join(" and ")}: its cloud is larger than ${Math.floor(100 * below)}% of all.`;
    if (own && below >= 0.9) tasks.done("cloud");
  }
  const map = digitMap(shelf, run, "Map of the codes of a VAE", { pick, decode: run.bytes, shape, circles: true });
  holder.append(beside(map.element, given.element,
    make("figure", { class: "shown" }, make("div", { class: "six" }, ...draws), make("figcaption", { text: "six draws from its cloud, decoded" }))), state);
  pick(2, false);
}

export async function price(holder, shelf, tasks) {
  const { series, shape, classes } = shelf.told;
  const runs = await Promise.all(series.map(({ id }) => shelf.run(id)));
  const names = series.map(({ beta }) => `β = ${beta}`);
  const free = series.findIndex(({ beta }) => beta === 1);
  const goal = series.findIndex(({ kl }) => kl < series[free].kl / 2);
  const which = oneEach(shelf.labels, classes);
  const state = sentence();
  const curve = make("div", { class: "rate-holder" });
  const chart = rateDistortion(curve, {
    points: series.map(({ kl, error }, k) => ({ rate: kl, distortion: error, name: names[k] })),
    titles: { rate: "rate: KL (nats)", distortion: "squared error" }, go: (k) => go(k, true),
  });
  const back = which.map(() => make("canvas", { role: "img" }));
  const rows = make("div", { class: "film", role: "group", "aria-label": "Ten digits and their reconstructions" },
    ...which.map((i) => {
      const canvas = paint(make("canvas", { role: "img", "aria-label": `Digit ${classes[shelf.labels[i]]}` }), shelf.image(i), shape);
      return canvas;
    }), ...back);
  const control = slider("Weight of the KL", {
    max: series.length - 1, value: free, words: (k) => names[k], act: (k) => go(k, true),
  });
  let map = null;
  function go(k, own = false) {
    const run = runs[k];
    const box = boxOf(run.z);
    const reach = Math.max(3, ...box.map(Math.abs));
    const options = { points: run.z, box: [-reach, -reach, reach, reach], decode: run.bytes };
    if (map) map.set(options);
    else map = digitMap(shelf, run, "Map of the codes of a VAE", { ...options, shape, circles: true });
    which.forEach((i, at) => {
      paint(back[at], run.bytes(run.code(i)), shape);
      back[at].setAttribute("aria-label", `Digit ${classes[shelf.labels[i]]}, reconstructed with ${names[k]}`);
    });
    chart.set(k);
    control.set(k);
    const { kl, error } = series[k];
    state.textContent = `${names[k]}: the code says ${kl.toFixed(1)} nats, and the squared error is ${error.toFixed(1)}.`;
    if (own && k === goal) tasks.done("price");
  }
  go(free);
  holder.append(control.element, state, beside(map.element, curve), rows);
  curve.parentElement.parentElement.classList.add("wide");
}
