// q(z|x) of the sample at hand: its ellipses on the maps, and draws from it in the panel.
import { make } from "./dom.js";
import { onPlane } from "./gauss.js";
import { settled } from "./latest.js";
import { epsilonThrower } from "./throw.js";

const REST = 200; // ms for which a sample must be at hand: decoding goes first
const NO_Q = "This autoencoder has no q(z|x): its encoder gives one code for each sample, not a distribution. There is no ellipse, and nothing to draw.";
const OTHER_Q = "q(z|x) of this model is not one Gaussian with independent dimensions: there is no ellipse to show.";

/** What is said where there is no Gaussian q(z|x). */
export function whyNone({ gaussian, variational }) {
  return gaussian ? "" : variational ? OTHER_Q : NO_Q;
}

/** A thrower for run k in an element, whose draws land on its map. */
export function throwerOf(app, k, element) {
  const run = app.runs[k];
  return epsilonThrower(element, {
    shape: run.pictorial ? run.info.shape : null,
    why: whyNone(run.info), of: run.info.reconstruction, onError: (error) => app.fail(error),
  });
}

/** What a thrower asks of test sample i of run k, or of one of the visitor's own. */
export function sampleOf(app, k, { i = -1, posterior = null, sent = null, label = null }) {
  const run = app.runs[k];
  const told = run.conditional ? label ?? app.label : null;
  return {
    posterior: async () => (i >= 0 ? run.posteriorOf(i) : posterior && run.split(posterior)),
    decode: run.pictorial && run.info.decoder !== "tiles" ? (z) => run.decode(Float32Array.from(z), told) : undefined,
    error: run.source.errorOf ? (z) => run.source.errorOf(run.id, z, i >= 0 ? { i } : { sent, label: told }) : undefined,
    landed: (z, throws) => {
      const plane = app.projection !== "tsne";
      throws.forEach((one) => { one.since ??= performance.now(); });
      app.maps[k].marks.thrown = plane ? throws.map((one) => ({
        at: run.placeOf(one.z, app.projection), from: run.placeOf(one.from, app.projection), since: one.since,
      })) : [];
      app.maps[k].redraw();
      if (z) app.moveTo(k, z);
    },
  };
}

/**
 * Throwers for the sample at hand: the selected one, else the one that is pointed at or was last,
 * else the nearest; with its ellipses on the maps.
 */
export function posteriorPanel(app, holder) {
  const throwers = app.runs.map((run, k) => {
    const element = make("section", { class: "q", data: { run: k } });
    return throwerOf(app, k, element);
  });
  holder.id = "posterior";
  holder.append(...throwers.map(({ element }) => element));
  let [at, from] = [-1, 0];
  const follow = settled(() => show(), REST);

  async function show() {
    const [i, k] = [at, from];
    throwers.forEach(({ element }, other) => { element.hidden = i < 0 || (other !== k && !app.paired); });
    if (app.tab === "training") ellipses();
    if (i < 0 || app.tab === "draw" || app.tab === "own" || app.tab === "training") return;
    await Promise.all(app.runs.map(async (run, other) => {
      const takes = other === k || app.paired;
      await throwers[other].set(sampleOf(app, other, { i: takes ? i : -1, label: takes ? run.ownLabel(i) : null }), titled(run, i));
    }));
    ellipses();
  }

  /** Ellipses of the sample that each thrower has. */
  function ellipses() {
    if (app.tab === "draw" || app.tab === "own") return;
    app.maps.forEach((map, k) => mark(app, k, app.tab === "training" ? null : throwers[k].state.sample));
  }

  function titled(run, i) {
    const name = app.runs.length > 1 ? `${run.info.name}: ` : "";
    const of = run.labels ? ` (${run.className(run.labels[i])})` : "";
    return `${name}q(z|x) of test ${run.noun} ${run.pictorial ? i : run.idOf(i)}${of}`;
  }

  const take = (i, k) => {
    if (i < 0 || (i === at && k === from)) return;
    [at, from] = [i, k];
    app.at = i;
    follow();
  };
  app.hear("hover", (i, k) => app.selected < 0 && take(i, k));
  app.hear("nearest", (found, k) => app.selected < 0 && !(app.hovered >= 0)
    && !throwers.some(({ state }) => state.throws.length) && take(found[0], k));
  app.hear("select", (i, k) => {
    if (i >= 0) take(i, k);
  });
  const forget = () => app.maps.forEach((map) => {
    map.marks.thrown = null;
    map.redraw();
  });
  app.hear("projection", () => {
    forget();
    ellipses();
  });
  app.hear("tab", forget);
  app.hear("tab", () => show().catch((error) => app.fail(error)));
  app.hear("film", () => show().catch((error) => app.fail(error)));
  app.hear("throw", () => {
    if (app.tab === "training") return;
    throwers.forEach((one, k) => (k === from || app.paired) && one.draw());
  });
  return throwers;
}

/** Mark the ellipses of a sample {mu, sigma} on map k, or none. */
export function mark(app, k, sample) {
  const plane = app.runs[k].layouts.get(app.projection)?.plane;
  app.maps[k].marks.ellipses = sample && plane ? [onPlane(plane, sample.mu, sample.sigma)] : [];
  app.maps[k].redraw();
}
