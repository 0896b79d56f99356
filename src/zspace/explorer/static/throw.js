// The reparameterisation by hand: a draw of eps gives z = mu + sigma * eps, which is decoded.
import { button, make, signed } from "./dom.js";
import { gaussian } from "./geometry.js";
import { paint, row } from "./pictures.js";

const KEPT = 8;
const LINES = 4;
const SIGNS = ["z", "=", "μ", "+", "σ", "·", "ε"];

/**
 * Draws from q(z|x) of a sample, in an element. The source says what there is of it:
 *
 *     posterior()        -> {mu, sigma, kl}, arrays of numbers and nats; null where there is no q
 *     decode(z)          -> pixels of one picture; left out where samples are no pictures
 *     error(z)           -> the error of the sample at a code, or null; left out where unknown
 *     landed(z, throws)  is told of each draw, and of all that are kept, the newest first
 *
 * Options: shape [C, H, W] of a picture; why: what to say where there is no Gaussian q; of: what
 * the error is, [title, unit]; noise: draws one number of N(0, 1).
 * Returns {element, set(source, title), draw(), throws, sample}.
 */
export function epsilonThrower(element, { shape = null, why = "", of = ["error", "nats"], noise = gaussian, onError = () => {} } = {}) {
  const state = { source: null, sample: null, throws: [], turn: 0 };
  const title = make("h2", { text: "q(z|x)" });
  const none = make("p", { class: "note", text: why, hidden: true });
  const grid = make("div", { class: "equation", role: "group", "aria-label": "z = mu + sigma times epsilon" });
  const rest = make("p", { class: "note", hidden: true });
  const measures = make("dl", { class: "measures" });
  const go = button("Draw ε", () => draw(), { class: "strong draw", title: "Draw again (D)", "aria-keyshortcuts": "d" });
  const clear = button("Clear", () => forget(), { class: "clear" });
  const trail = make("div", { class: "thumbs trail", role: "group", "aria-label": "The last draws, decoded" });
  const body = make("div", { class: "throw-body" }, grid, rest, make("div", { class: "row" }, go, clear), measures, trail);
  const canvases = shape ? row(trail, KEPT, { name: (k) => `Draw ${k + 1}, the newest first` }) : [];
  trail.hidden = true;
  element.classList.add("throw");
  element.replaceChildren(title, none, body);

  function numbers() {
    const { sample, throws } = state;
    if (!sample) return;
    const last = throws[0];
    const lines = sample.mu.slice(0, LINES).map((mu, j) => [
      last ? signed(last.z[j]) : "", "=", signed(mu), "+", sample.sigma[j].toFixed(sample.sigma[j] < 0.0095 ? 4 : 2), "·", last ? signed(last.eps[j]) : "?",
    ]);
    grid.replaceChildren(...[SIGNS, ...lines].flatMap((line, k) =>
      line.map((text, c) => make("span", { class: k ? (c % 2 ? "sign" : "number") : "symbol", text }))));
    rest.hidden = sample.mu.length <= LINES;
    rest.textContent = `and ${sample.mu.length - LINES} more dimensions`;
    go.textContent = throws.length ? "Draw again" : "Draw ε";
    clear.hidden = !throws.length;
    trail.hidden = !throws.length || !shape;
    const shown = [["KL to the prior", `${sample.kl.toFixed(2)} nats`, "KL(q(z|x) || p(z)) of this sample"]];
    const [name, unit] = of;
    const told = (value) => `${value.toFixed(1)}${unit ? ` ${unit}` : ""}`;
    const about = `-log p(x|z) of this sample${unit ? "" : ", in nats of a Gaussian of variance 1/2 without its constant"}`;
    if (typeof sample.error === "number") shown.push([`${name} at μ`, told(sample.error), about]);
    if (typeof last?.error === "number") shown.push([`${name} at z`, told(last.error), about]);
    measures.replaceChildren(...shown.map(([term, value, tip]) =>
      make("div", { title: tip }, make("dt", { text: term }), make("dd", { text: value }))));
  }

  function forget() {
    state.throws = [];
    canvases.forEach((canvas) => canvas.classList.add("empty"));
    state.source?.landed?.(null, []);
    numbers();
  }

  /** Take up a sample: draws of the one before are forgotten. */
  async function set(source, text) {
    const turn = ++state.turn;
    try {
      const sample = await source.posterior();
      if (turn !== state.turn) return;
      const had = state.throws.length > 0;
      Object.assign(state, { source, sample, throws: [] });
      if (had) source.landed?.(null, []);
      title.textContent = text;
      none.hidden = Boolean(sample);
      body.hidden = !sample;
      canvases.forEach((canvas) => canvas.classList.add("empty"));
      numbers();
      if (!sample || !source.error) return;
      sample.error ??= await source.error(sample.mu);
      if (state.sample === sample) numbers();
    } catch (error) {
      onError(error);
    }
  }

  /** Draw eps, and decode where it lands. */
  async function draw() {
    const { sample, source } = state;
    if (!sample) return;
    const eps = sample.mu.map(() => noise());
    const z = sample.mu.map((mu, j) => mu + sample.sigma[j] * eps[j]);
    const made = { z, eps, from: sample.mu };
    state.throws = [made, ...state.throws].slice(0, KEPT);
    numbers();
    source.landed?.(z, state.throws);
    try {
      const [pixels, error] = await Promise.all([source.decode?.(z), source.error?.(z)]);
      Object.assign(made, { pixels, error });
      if (state.sample !== sample) return;
      if (shape) state.throws.forEach((one, k) => one.pixels && paint(canvases[k], one.pixels, shape));
      numbers();
    } catch (error) {
      onError(error);
    }
  }

  return { element, set, draw, state };
}
