// Runs that differ in the weight of the KL alone, one at a time: a slider goes from one to the next.
import { make } from "./dom.js";
import { Latest } from "./latest.js";
import { rateDistortion } from "./rate.js";

const EACH = 100; // places of the slider from one run to the next

export function filmPanel(app, holder, film, infos) {
  const names = film.weights.map((weight) => `β = ${weight}`);
  const points = film.rates.map((rate, k) => ({ rate, distortion: film.distortions[k], name: names[k] }));
  const [title, unit] = film.distortion;
  const titles = { rate: "rate: KL (nats)", distortion: unit ? `distortion (${unit})` : "distortion" };
  const last = points.length - 1;
  let at = Math.max(0, infos.findIndex((info) => info.id === app.run.id));
  const slide = make("input", { type: "range", id: "beta", min: 0, max: EACH * last, step: 1, "aria-label": "Beta, the weight of the KL",
    on: { input: () => go(Number(slide.value) / EACH, false), change: () => go(Math.round(Number(slide.value) / EACH)), keydown: (event) => key(event) } });
  const ticks = make("div", { class: "ticks-row", "aria-hidden": "true" }, ...film.weights.map((weight, k) => {
    const tick = make("span", { text: `${weight}` });
    tick.style.left = `${(100 * k) / last}%`;
    return tick;
  }));
  const head = make("h2", { id: "beta-title" });
  const told = make("p", { class: "note", id: "beta-told", role: "status" });
  const chart = make("div", { class: "rate-holder" });
  const curve = rateDistortion(chart, { points, titles, go: (k) => go(k) });
  holder.replaceChildren(
    make("div", { class: "beta" }, head, make("div", { class: "beta-slide" }, slide, ticks), told), chart);
  holder.hidden = false;

  const latest = new Latest((k) => app.become(infos[k]), (error) => app.fail(error));
  let shown = -1;

  function go(place, settle = true) {
    const k = Math.round(place);
    curve.set(place);
    if (settle) slide.value = EACH * k;
    slide.setAttribute("aria-valuetext", names[k]);
    if (k === shown) return;
    shown = k;
    at = k;
    head.textContent = names[k];
    told.textContent = `KL ${points[k].rate.toFixed(1)} nats, ${title} ${points[k].distortion.toFixed(1)}${unit ? ` ${unit}` : ""}`
      + ` on test ${app.run.noun}s: ${said(k, points)}`;
    if (infos[k].id !== app.run.id) latest.ask(k);
  }

  function key(event) {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 1, PageDown: -1 }[event.key];
    const to = { Home: 0, End: last }[event.key] ?? (by && Math.min(last, Math.max(0, at + by)));
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  }

  go(at);
  return { get at() { return at; }, go };
}

/** What a point of the curve means, from its numbers alone. */
function said(k, points) {
  const { rate, distortion } = points[k];
  if (rate < 0.1) return "the code says next to nothing of x, and every x is decoded nearly alike.";
  const best = Math.min(...points.map((one) => one.distortion));
  if (distortion === best) return "the best reconstructions of these runs, and the highest rate is what they cost."
    .replace("the highest rate", rate === Math.max(...points.map((one) => one.rate)) ? "the highest rate" : "its rate");
  return "a larger β saves nats of code and loses detail.";
}
