// Chapters 6 to 9: draws, the ELBO, labels, blur.
import { button, make, segments } from "./dom.js";
import { gaussian } from "./geometry.js";
import { paint } from "./pictures.js";
import { epsilonThrower } from "./throw.js";
import { rgb, theme } from "./colours.js";
import { boxOf } from "./flat.js";
import { digitMap } from "./codes.js";
import { beside, chooser, heat, inSlices, oneEach, pictureOf, sentence, slider } from "./pieces.js";
import { CIRCLES, divergence, radiusOf } from "./gauss.js";
import { haloed } from "./guides.js";
import { logMeanExp, logWeight, mixtureOn, squared } from "./shelf.js";

const SVG = "http://www.w3.org/2000/svg";
const THROWS = 5;
const PLACES = 61; // of the curve of errors
const REACH = 1.5; // how far mu moves on it

/** A line chart: {element, set(lines)}, a line being {class, values}; x goes from low to high. */
function lineChart(label, [low, high], names, room) {
  const [wide, tall, left, foot] = [Math.min(760, Math.max(320, room)), 210, 44, 36];
  const element = document.createElementNS(SVG, "svg");
  const put = (name, attributes, text = "") => {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.textContent = text;
    element.append(one);
    return one;
  };
  element.setAttribute("viewBox", `0 0 ${wide} ${tall}`);
  element.setAttribute("class", "lines");
  element.setAttribute("role", "img");
  put("path", { class: "axis", d: `M${left} 6V${tall - foot}H${wide - 6}` });
  const [top, bottom] = [[16], [tall - foot]].map(([y]) => put("text", { class: "tick", x: left - 5, y, "text-anchor": "end" }));
  for (const value of [low, (low + high) / 2, high]) {
    const x = left + ((value - low) / (high - low)) * (wide - left - 6);
    put("text", { class: "tick", x, y: tall - foot + 14, "text-anchor": value === low ? "start" : value === high ? "end" : "middle" }, `${value}`.replace("-", "−"));
  }
  put("text", { class: "name", x: wide - 6, y: tall - 5, "text-anchor": "end" }, names.x);
  put("text", { class: "name", x: 11, y: (tall - foot) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(tall - foot) / 2})` }, names.y);
  const path = put("polyline", { class: "line" });
  const set = (values, kind) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const y = (value) => 10 + (1 - (value - least) / (most - least || 1)) * (tall - foot - 14);
    path.setAttribute("points", values.map((value, k) => `${left + (k / (values.length - 1)) * (wide - left - 6)},${y(value)}`).join(" "));
    path.setAttribute("class", `line ${kind}`);
    top.textContent = most.toFixed(0);
    bottom.textContent = least.toFixed(0);
    element.setAttribute("aria-label", `${label}: from ${least.toFixed(1)} to ${most.toFixed(1)}, ${kind}`);
  };
  return { element, set };
}

export async function draw(holder, shelf, tasks) {
  const run = await shelf.run("vae-2");
  const { shape, classes } = shelf.told;
  const state = sentence();
  const which = oneEach(shelf.labels, classes);
  const made = pictureOf(shape, { small: true });
  let [at, throws, held, seen] = [which[3], 0, false, false];
  let eps = [gaussian(), gaussian()];
  const map = digitMap(shelf, run, "Map of the codes of a VAE, with throws", { pick: (i) => take(i), faint: true, circles: true });
  const thrower = epsilonThrower(make("section", { class: "q" }), { shape, of: ["squared error", ""] });
  const chart = lineChart("Squared error while μ moves", [-REACH, REACH], { x: "how far μ₁ is moved", y: "squared error" }, holder.clientWidth - 30);

  function curve() {
    const { mu, sigma } = run.posterior(at);
    const x = shelf.x(at);
    const values = Array.from({ length: PLACES }, (_, k) => {
      const by = REACH * ((2 * k) / (PLACES - 1) - 1);
      const e = held ? eps : [gaussian(), gaussian()];
      return squared(x, run.decode([mu[0] + by + sigma[0] * e[0], mu[1] + sigma[1] * e[1]]));
    });
    chart.set(values, held ? "smooth" : "jagged");
  }
  function check() {
    state.textContent = `${Math.min(throws, THROWS)} of ${THROWS} throws; ${held ? "ε is held: the curve is smooth." : "a new ε at each μ: the curve is jagged."}`;
    if (throws >= THROWS && seen) tasks.done("draw");
  }
  const mode = segments("How ε is drawn", [["new", "a new ε at each μ"], ["held", "ε held"]], (value) => {
    held = value === "held";
    seen ||= held;
    curve();
    check();
  });
  function take(i) {
    at = i;
    choice.set(i);
    const q = run.posterior(i);
    map.set({ marks: [q], dots: [], place: null });
    throws = 0;
    made.set(shelf.image(i), "the digit", `The digit, a ${classes[shelf.labels[i]]}`);
    thrower.set({
      posterior: async () => q,
      decode: async (z) => run.bytes(z),
      error: async (z) => squared(shelf.x(i), run.decode(z)),
      landed: (z, list) => {
        if (!z) return;
        map.dots(list.map((one) => one.z));
        eps = list[0].eps;
        throws++;
        curve();
        check();
      },
    }, "z = μ + σ · ε");
    curve();
    check();
  }
  const choice = chooser(shelf, which, "Whose cloud is drawn from", (i) => take(i));
  mode.set("new");
  take(at);
  holder.append(choice.element, beside(map.element, made.element, thrower.element),
    make("div", { class: "row" }, mode.element, button("Draw the curve again", () => {
      eps = [gaussian(), gaussian()];
      curve();
    })), chart.element, state);
}

const DRAWS = 1000;
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const FINE = [80, 60];
const FADE = 20; // nats below the most probable code

export async function elbo(holder, shelf, tasks) {
  const run = await shelf.run("vae-2");
  const { shape, classes } = shelf.told;
  const which = oneEach(shelf.labels, classes);
  const given = pictureOf(shape, { small: true });
  const box = [-4, -3, 4, 3];
  const state = sentence();
  let [turn, chosen, weights, errors, kl] = [0, false, [], [], 0];
  const map = digitMap(shelf, run, "Map of the codes, and which of them give this digit", { box, faint: true, circles: true });
  const bars = make("div", { class: "bars", role: "img" });
  const control = slider("Draws", { max: STEPS.length - 1, value: 0, words: (k) => `${STEPS[k]}`, act: () => bound() });

  function bound() {
    const K = STEPS[control.input.value];
    if (weights.length < DRAWS) return;
    const groups = Array.from({ length: Math.floor(DRAWS / K) }, (_, g) => logMeanExp(weights.slice(g * K, (g + 1) * K)));
    const best = groups.reduce((a, b) => a + b) / groups.length;
    const error = errors.reduce((a, b) => a + b) / errors.length;
    const low = -(error + kl);
    const top = Math.max(-low, -best) * 1.02;
    const gap = best - low;
    const part = (kind, value, text) => {
      const one = make("span", { class: `part ${kind}`, text });
      one.style.width = `${(100 * Math.max(0, value)) / top}%`;
      return one;
    };
    bars.replaceChildren(
      make("p", { text: `−ELBO = ${(-low).toFixed(1)} nats` }),
      make("div", { class: "bar" }, part("error", error, `error ${error.toFixed(1)}`), part("kl", kl, `KL ${kl.toFixed(1)}`)),
      make("p", { text: `−log p(x) is at most ${(-best).toFixed(2)} nats, by ${K} draw${K > 1 ? "s" : ""}` }),
      make("div", { class: "bar" }, part("truth", -best, ""), part("gap", gap, "")),
      make("p", { class: "note", text: `gap so far: ${Math.max(0, gap).toFixed(2)} nats` }));
    bars.setAttribute("aria-label", `Minus ELBO ${(-low).toFixed(1)} nats: error ${error.toFixed(1)} and KL ${kl.toFixed(1)}. With ${K} draws, minus log p is at most ${(-best).toFixed(2)}.`);
    state.textContent = K >= 500 ? `${K} draws: the bound is ${gap.toFixed(2)} nats above the ELBO.` : "";
    if (K >= 500 && chosen) tasks.done("elbo");
  }

  async function take(i, own = true) {
    const now = ++turn;
    chosen ||= own;
    choice.set(i);
    const x = shelf.x(i);
    const { mu, sigma, kl: paid } = run.posterior(i);
    kl = paid;
    given.set(shelf.image(i), "the digit x", `The digit, a ${classes[shelf.labels[i]]}`);
    map.set({ marks: [{ mu, sigma }] });
    [weights, errors] = [[], []];
    await inSlices(DRAWS, () => {
      const eps = mu.map(() => gaussian());
      const z = mu.map((value, j) => value + sigma[j] * eps[j]);
      const error = squared(x, run.decode(z));
      errors.push(error);
      weights.push(logWeight(error, z, eps, sigma));
    }, () => now === turn);
    if (now !== turn) return;
    bound();
    const logs = new Float64Array(FINE[0] * FINE[1]);
    await inSlices(FINE[1], (r) => {
      for (let c = 0; c < FINE[0]; c++) {
        const z = [box[0] + ((c + 0.5) / FINE[0]) * (box[2] - box[0]), box[1] + ((r + 0.5) / FINE[1]) * (box[3] - box[1])];
        logs[r * FINE[0] + c] = -squared(x, run.decode(z)) - 0.5 * (z[0] ** 2 + z[1] ** 2);
      }
    }, () => now === turn);
    if (now !== turn) return;
    const most = Math.max(...logs);
    map.set({ under: { canvas: heat(logs.map((value) => 0.8 * Math.max(0, 1 - (most - value) / FADE)), FINE, [232, 135, 30]), box } });
  }
  const choice = chooser(shelf, which, "Which digit", (i) => take(i));
  const room = Math.min(960, Math.max(560, 2 * (holder.clientWidth - 30))); // so that letters stay legible
  const prices = priceOf(shelf, run, room);
  const sum = sumOf(run, room);
  holder.append(
    make("h3", { text: "1 and 2: where the codes of this digit are, and the bound" }),
    choice.element, beside(map.element, given.element, control.element), bars, state,
    make("h3", { text: "3: what each digit pays" }), prices,
    make("h3", { text: "4: the clouds add up" }), sum);
  take(which[2], false);
}

/** KL(N(mu, sigma^2) || N(0, 1)) as a heat map, with the test images as dots. */
function priceOf(shelf, run, room) {
  const [columns, rows] = [120, 60];
  const [far, least, wide] = [4, 0.02, 2]; // of mu, and of sigma, whose axis is logarithmic
  const foot = 44;
  const sigmaAt = (share) => least * (wide / least) ** share;
  const canvas = make("canvas", { class: "prices", role: "img", tabindex: 0, width: room, height: Math.max(400, room / 2) });
  const told = sentence();
  const values = new Float64Array(columns * rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      values[r * columns + c] = Math.min(1, divergence(far * (2 * (c + 0.5) / columns - 1), sigmaAt((r + 0.5) / rows)) / 8);
    }
  }
  let j = 0;
  let at = [1, 0.3];
  const place = (mu, sigma) => [((mu / far + 1) / 2) * canvas.width,
    (1 - Math.log(sigma / least) / Math.log(wide / least)) * (canvas.height - foot)];
  function paintAll() {
    const { accent, card, ink } = theme();
    const context = canvas.getContext("2d");
    context.fillStyle = card;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(heat(values.map((value) => 0.9 * value), [columns, rows], rgb(accent)), 0, 0, canvas.width, canvas.height - foot);
    context.fillStyle = ink;
    for (let i = 0; i < shelf.told.n; i++) {
      const q = run.posterior(i);
      const [x, y] = place(q.mu[j], q.sigma[j]);
      context.fillRect(x - 2, y - 2, 4, 4);
    }
    context.font = "26px system-ui, sans-serif";
    const text = (words, x, y, align) => haloed(context, words, x, y, align, ink, card, 6);
    const floor = canvas.height - 20;
    text(`μ = −${far}`, 8, floor, "left");
    text("μ = 0", canvas.width / 2, floor, "center");
    text(`μ = ${far}`, canvas.width - 8, floor, "right");
    for (const sigma of [0.03, 0.1, 0.3, 1]) text(`σ = ${sigma}`, 8, place(0, sigma)[1], "left");
    const [x0, y0] = place(0, 1);
    context.strokeStyle = ink;
    context.lineWidth = 3;
    context.beginPath();
    context.arc(x0, y0, 8, 0, 2 * Math.PI);
    context.stroke();
    text("KL = 0", x0 + 16, y0, "left");
    const [x, y] = place(...at);
    Object.assign(context, { strokeStyle: ink, lineWidth: 3 });
    context.beginPath();
    context.moveTo(x - 16, y);
    context.lineTo(x + 16, y);
    context.moveTo(x, y - 16);
    context.lineTo(x, y + 16);
    context.stroke();
    const words = `KL of μ = ${at[0].toFixed(2)}, σ = ${at[1].toFixed(2)}: ${divergence(...at).toFixed(2)} nats.`.replace("-", "−");
    told.textContent = words;
    canvas.setAttribute("aria-label", `KL by mean and standard deviation. ${words} Arrow keys move the place.`);
  }
  function move(mu, sigma) {
    at = [Math.max(-far, Math.min(far, mu)), Math.max(least, Math.min(wide, sigma))];
    paintAll();
  }
  const follow = (event) => {
    if (event.type === "pointermove" && event.pointerType !== "mouse" && !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    const up = 1 - (event.clientY - box.top) / (box.height * (1 - foot / canvas.height));
    move(far * (2 * (event.clientX - box.left) / box.width - 1), sigmaAt(up));
  };
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("pointerdown", follow);
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!by) return;
    event.preventDefault();
    move(at[0] + by[0], at[1] * 1.1 ** by[1]);
  });
  const which = segments("Which number of the code", [[0, "first number"], [1, "second number"]], (value) => {
    j = value;
    paintAll();
  });
  which.set(0);
  paintAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintAll);
  return make("div", { class: "stacked" }, which.element, canvas, told);
}

/** Many small Gaussians that add up, beside the circles of N(0, I). */
function sumOf(run, room) {
  const box = [-4, -3, 4, 3];
  const size = [96, 72];
  const n = run.z.length / 2;
  const counts = [1, 3, 10, 30, 100, 300, n];
  const told = sentence();
  const canvas = make("canvas", { class: "sum", role: "img", width: room, height: 0.75 * room });
  function show(k) {
    const parts = Array.from({ length: counts[k] }, (_, i) => run.posterior(i));
    const values = mixtureOn(box, ...size, parts);
    const most = values.reduce((a, b) => Math.max(a, b), 0);
    const { accent, card, ink } = theme();
    const context = canvas.getContext("2d");
    context.fillStyle = card;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = true;
    context.drawImage(heat(values.map((value) => (value / most) ** 0.7), size, rgb(accent)), 0, 0, canvas.width, canvas.height);
    context.font = "26px system-ui, sans-serif";
    for (const share of CIRCLES) {
      const r = radiusOf(share) * canvas.width / (box[2] - box[0]);
      Object.assign(context, { strokeStyle: ink, lineWidth: 2.5 });
      context.setLineDash([12, 9]);
      context.beginPath();
      context.arc(canvas.width / 2, canvas.height / 2, r, 0, 2 * Math.PI);
      context.stroke();
      context.setLineDash([]);
      haloed(context, `${100 * share}%`, canvas.width / 2, canvas.height / 2 - r + 19, "center", ink, card, 6);
    }
    const inside = share(parts);
    told.textContent = `${counts[k].toLocaleString("en")} cloud${k ? "s" : ""}: ${(100 * inside[0]).toFixed(0)}% of their sum lies in the inner circle (N(0, I): 50%), ${(100 * inside[1]).toFixed(0)}% in the outer one (95%).`;
    canvas.setAttribute("aria-label", `Density of the sum. ${told.textContent}`);
  }
  /** How much of the sum lies within each circle, by 40 draws of each cloud. */
  function share(parts) {
    const inside = [0, 0];
    const draws = Math.ceil(4000 / parts.length);
    for (const { mu, sigma } of parts) {
      for (let d = 0; d < draws; d++) {
        const r = Math.hypot(...mu.map((value, j) => value + sigma[j] * gaussian()));
        CIRCLES.forEach((one, k) => { inside[k] += r < radiusOf(one); });
      }
    }
    return inside.map((value) => value / (parts.length * draws));
  }
  const control = slider("Clouds", { max: counts.length - 1, value: 2, words: (k) => counts[k].toLocaleString("en"), act: show });
  show(2);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(Number(control.input.value)));
  return make("div", { class: "stacked" }, control.element, canvas, told);
}

export async function label(holder, shelf, tasks) {
  const run = await shelf.run("cvae-2");
  const { shape, classes } = shelf.told;
  const made = pictureOf(shape);
  const state = sentence();
  let [k, place] = [4, [0.5, 0.5]];
  const read = new Set();
  const strip = classes.map((name, c) => {
    const canvas = make("canvas", { "aria-hidden": "true" });
    const one = button("", () => {
      k = c;
      read.add(c);
      show();
      state.textContent = `Read under: ${[...read].sort((a, b) => a - b).map((at) => classes[at]).join(", ")}.`;
      if (read.size >= 5) tasks.done("label");
    }, { class: "digit", "aria-label": `Decode under label ${name}` });
    one.append(canvas, make("span", { text: name, "aria-hidden": "true" }));
    return { canvas, one };
  });
  function show() {
    strip.forEach(({ canvas, one }, c) => {
      paint(canvas, run.bytes(place, c), shape);
      one.setAttribute("aria-pressed", c === k);
    });
    made.set(run.bytes(place, k), `label ${classes[k]}`, `The code, decoded under label ${classes[k]}`);
  }
  const map = digitMap(shelf, run, "Map of the codes of a conditional VAE", {
    circles: true,
    point: (z) => {
      place = z;
      read.clear();
      show();
    },
  });
  map.set({ place });
  show();
  holder.append(beside(map.element, made.element), make("div", { class: "digits labels", role: "group", "aria-label": "The same code under each label" }, ...strip.map(({ one }) => one)), state);
}

const MOST = 60;
const CLOSE = 1.05; // times the least difference

export async function blur(holder, shelf, tasks) {
  const run = await shelf.run("vae-2");
  const { shape, n, pixels } = shelf.told;
  const [made, mean] = [pictureOf(shape), pictureOf(shape)];
  const state = sentence();
  const nearest = Array.from({ length: 12 }, () => make("canvas", { "aria-hidden": "true" }));
  let [best, errors, means, order] = [0, [], [], []];
  function at(z) {
    const far = (i) => Math.hypot(run.z[2 * i] - z[0], run.z[2 * i + 1] - z[1]);
    order = Array.from({ length: n }, (_, i) => [far(i), i]).sort((a, b) => a[0] - b[0]).slice(0, MOST).map(([, i]) => i);
    const drawn = run.decode(z);
    const sum = new Float64Array(pixels);
    [errors, means] = [[], []];
    order.forEach((i, k) => {
      shelf.image(i).forEach((value, p) => { sum[p] += value / 255; });
      const now = sum.map((value) => value / (k + 1));
      means.push(now);
      errors.push(squared(now, drawn));
    });
    best = errors.indexOf(Math.min(...errors));
    made.set(run.bytes(z), "what the decoder draws");
    nearest.forEach((canvas, k) => paint(canvas, shelf.image(order[k]), shape));
    show(Number(control.input.value));
  }
  function show(k, own = false) {
    mean.set(Uint8ClampedArray.from(means[k - 1], (value) => Math.round(255 * value)), k > 1 ? `mean of ${k} digits` : "the nearest digit");
    nearest.forEach((canvas, c) => canvas.classList.toggle("off", c >= k));
    const error = errors[k - 1];
    const found = error <= CLOSE * errors[best];
    state.textContent = `They differ by ${error.toFixed(1)}.${found ? " Hardly any other number comes closer." : ""}`;
    if (found && own) tasks.done("blur");
  }
  const control = slider("Neighbours", { min: 1, max: MOST, value: 1, act: (k) => show(k, true) });
  const map = digitMap(shelf, run, "Map of the codes of a VAE", { point: at, circles: true, box: boxOf(run.z) });
  const z = [0.6, -0.4];
  map.set({ place: z });
  at(z);
  holder.append(beside(map.element, make("div", { class: "pair" }, made.element, mean.element),
    make("div", { class: "six", role: "img", "aria-label": "The nearest test digits" }, ...nearest)), control.element, state);
}
