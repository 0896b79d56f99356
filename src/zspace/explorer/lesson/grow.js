// Chapter 10: a small VAE that trains in the page.
import { button, make } from "./dom.js";
import { gaussian } from "./geometry.js";
import { calm } from "./latest.js";
import { paint } from "./pictures.js";
import { boxOf, flatMap } from "./flat.js";
import { beside, oneEach, sentence, slider } from "./pieces.js";
import { adam, begin, countOf, decode, encode, gradients, pooled } from "./tiny.js";

const SIZES = [49, 16, 2];
const CELL = 4; // pixels on a side that one input stands for
const BATCH = 50;
const SPAN = 10; // ms of training between two frames
const BETAS = [0, 0.1, 0.3, 1, 2, 5];
const SMOOTH = 0.05;

export async function train(holder, shelf, tasks) {
  const { told, labels } = shelf;
  const [, side] = told.shape;
  const xs = Array.from({ length: told.n }, (_, i) => pooled(shelf.image(i), side, CELL));
  const share = CELL ** 2;
  let [values, step, playing, beta, steps] = [begin(SIZES), adam(countOf(SIZES)), false, 1, 0];
  let [error, kl, first] = [null, null, null];
  let last = 0;
  const state = sentence();
  const numbers = make("p", { class: "numbers", "aria-hidden": "true" });
  const points = new Float32Array(2 * told.n);
  const map = flatMap({ label: "Map of the codes of the model in training", points, labels, n: told.classes.length, box: [-1, -1, 1, 1], circles: true });
  const which = oneEach(labels, told.classes);
  const small = [1, side / CELL, side / CELL];
  const bytes = (y) => Uint8ClampedArray.from(y, (value) => Math.round(255 * value));
  const given = which.map((i) => paint(make("canvas", { role: "img", "aria-label": `Digit ${told.classes[labels[i]]}, 7 by 7` }), bytes(xs[i]), small));
  const back = which.map((i) => make("canvas", { role: "img", "aria-label": `Digit ${told.classes[labels[i]]}, reconstructed` }));

  function some() {
    const batch = Array.from({ length: BATCH }, () => xs[Math.floor(Math.random() * xs.length)]);
    const eps = batch.map(() => [gaussian(), gaussian()]);
    const found = gradients(SIZES, values, batch, eps, beta / share);
    step(values, found.gradient.map((value) => share * value));
    const now = share * found.error;
    first ??= now;
    error = error === null ? now : error + SMOOTH * (now - error);
    kl = kl === null ? found.kl : kl + SMOOTH * (found.kl - kl);
    steps++;
  }

  function show() {
    xs.forEach((x, i) => points.set(encode(SIZES, values, x).mu, 2 * i));
    const box = boxOf(points);
    const reach = Math.max(2.6, ...box.map(Math.abs));
    map.set({ box: [-reach, -reach, reach, reach] });
    which.forEach((i, k) => paint(back[k], bytes(decode(SIZES, values, encode(SIZES, values, xs[i]).mu).y), small));
    numbers.textContent = `step ${steps.toLocaleString("en")} · error ${error?.toFixed(1) ?? "?"} · KL ${kl?.toFixed(2) ?? "?"} nats`;
    holder.dataset.steps = steps;
    if (first !== null && error < first / 2) {
      if (!tasks.has("train")) state.textContent = `The error fell from ${first.toFixed(0)} to ${error.toFixed(0)}.`;
      tasks.done("train");
    }
  }

  function frame(now) {
    if (!playing) return;
    const until = performance.now() + SPAN;
    do some(); while (performance.now() < until);
    if (!calm() || now - last > 600) {
      last = now;
      show();
    }
    requestAnimationFrame(frame);
  }

  function set(on) {
    playing = on;
    play.textContent = on ? "Pause" : "Play";
    if (!on) {
      show();
      state.textContent = steps ? `After ${steps} steps: error ${error.toFixed(1)}, KL ${kl.toFixed(2)} nats.` : "";
      return;
    }
    requestAnimationFrame(frame);
  }
  const play = button("Play", () => set(!playing), { class: "strong" });
  const few = button("20 steps", () => {
    for (let k = 0; k < 20; k++) some();
    show();
    state.textContent = `After ${steps} steps: error ${error.toFixed(1)}, KL ${kl.toFixed(2)} nats.`;
  });
  const again = button("Start again", () => {
    set(false);
    [values, step, steps, error, kl, first] = [begin(SIZES), adam(countOf(SIZES)), 0, null, null, null];
    show();
    state.textContent = "New weights.";
  });
  const price = slider("β", { max: BETAS.length - 1, value: 3, words: (k) => `${BETAS[k]}`, act: (k) => { beta = BETAS[k]; } });
  new IntersectionObserver(([seen]) => !seen.isIntersecting && playing && set(false)).observe(holder);
  holder.append(
    make("div", { class: "row" }, play, few, again), price.element, numbers,
    beside(map.element, make("div", { class: "film tall", role: "group", "aria-label": "Ten digits and their reconstructions" }, ...given, ...back)), state);
  show();
}
