// Draw a digit: what the model sees of it, what it makes of it, how unlike a digit it is. A model
// that is told a class reads it as every class, and takes the best unless the visitor picks one.
import { classColour, css } from "./colours.js";
import { button, gauge, make, percent } from "./dom.js";
import { Latest } from "./latest.js";
import { copy, paint, picture, row } from "./pictures.js";
import { prepared, trace } from "./mnist.js";
import { mark, sampleOf, throwerOf } from "./posteriors.js";

const PEN = 0.085;
const SIDE = 560;
const NEAR = 8;

export function drawPanel(app, holder) {
  const drawing = new Drawing(app);
  holder.replaceChildren(...drawing.build());
  app.hear("projection", () => drawing.mark());
  app.hear("hand", () => drawing.leave());
  app.hear("tab", (tab) => (tab === "draw" ? drawing.refresh() : drawing.leave()));
  app.hear("film", () => app.tab === "draw" && drawing.refresh());
  app.hear("throw", () => app.tab === "draw" && drawing.throwers.forEach((one) => one.draw()));
  return drawing;
}

class Drawing {
  constructor(app) {
    Object.assign(this, { app, strokes: [], answers: [], found: [], forced: null });
    this.latest = new Latest(() => this.#encode(), (error) => app.fail(error));
  }

  build() {
    const { classes } = this.app.run.info;
    this.thing = classes.length && classes.every((name) => /^\d$/.test(name)) ? "digit" : "picture";
    this.pad = make("canvas", {
      id: "pad", width: SIDE, height: SIDE, role: "img", "aria-label": `Draw a ${this.thing} here`,
    });
    this.hint = make("p", { class: "hint", text: `Draw a ${this.thing}` });
    this.#listen();
    const square = (label) => make("canvas", { class: "mid empty", role: "img", "aria-label": label });
    this.seen = square("What the model sees");
    this.backs = this.app.runs.map((run) => square(`Reconstruction by ${run.info.name}`));
    this.scale = gauge("like most", "unlike any");
    this.scale.set(0, "");
    const near = make("div", { class: "thumbs" });
    this.near = row(near, NEAR, {
      press: (k) => this.found[k] && this.app.select(this.found[k].i, this.app.active),
      name: (k) => `Select nearest code ${k + 1}`,
    });
    this.names = [...near.children].map((one) => one.appendChild(make("span", {})));
    this.bars = make("ul", { class: "bars", id: "readings" });
    this.free = button("Take the best", () => this.force(null), { id: "best", hidden: true });
    this.read = make("section", { hidden: true }, make("h2", { text: "Read as every class" }), this.bars,
      make("p", { class: "note", text: "Squared error of its reconstruction: the class with the smallest is taken. Press another to read the drawing as that one." }),
      this.free);
    this.throwers = this.app.runs.map((_, k) => throwerOf(this.app, k, make("section", { class: "q" })));
    this.results = make("div", { class: "results", id: "drawn", hidden: true },
      make("h2", { text: `How unlike ${this.thing === "digit" ? "a digit" : "the test images"} is this?` }), this.scale.element,
      this.read, ...this.throwers.map(({ element }) => element), make("h2", { text: "Test images with the nearest codes" }), near);
    const names = this.app.runs.length > 1 ? this.app.runs.map((run) => run.info.name) : ["decoded"];
    const labelled = (canvas, text) => make("figure", { class: "mini" }, canvas, make("figcaption", { text }));
    return [
      make("div", { class: "drawing" }, make("div", { class: "pad" }, this.pad, this.hint),
        make("div", { class: "seen" }, labelled(this.seen, "seen"),
          ...this.backs.map((canvas, k) => labelled(canvas, names[k])))),
      make("div", { class: "row" }, button("Undo", () => this.#change(() => this.strokes.pop()), { id: "undo" }),
        button("Clear", () => this.#change(() => { this.strokes = []; }), { id: "clear" })),
      this.results,
    ];
  }

  #listen() {
    const at = (event) => {
      const box = this.pad.getBoundingClientRect();
      const to = (value) => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000;
      return [to((event.clientX - box.left) / box.width), to((event.clientY - box.top) / box.height)];
    };
    let stroke = null;
    this.pad.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.pad.setPointerCapture(event.pointerId);
      stroke = [at(event)];
      this.#change(() => this.strokes.push(stroke));
    });
    this.pad.addEventListener("pointermove", (event) => {
      if (!stroke) return;
      for (const one of event.getCoalescedEvents?.() ?? [event]) stroke.push(at(one));
      this.refresh();
    });
    const up = () => { stroke = null; };
    this.pad.addEventListener("pointerup", up);
    this.pad.addEventListener("pointercancel", up);
  }

  #change(act) {
    act();
    this.refresh();
  }

  /** Read the drawing as class k; null for the best. */
  force(k) {
    this.forced = k;
    this.refresh();
  }

  /** The code in hand is the drawing's no more. */
  leave() {
    this.app.runs.forEach((run, k) => this.app.readAs(k, null));
    this.mark();
  }

  refresh() {
    const context = this.pad.getContext("2d");
    context.clearRect(0, 0, SIDE, SIDE);
    context.strokeStyle = "#fff";
    trace(context, this.strokes.map((one) => one.map(([x, y]) => [x * SIDE, y * SIDE])), PEN * SIDE);
    this.hint.hidden = this.strokes.length > 0;
    if (this.strokes.length) this.latest.ask(null);
    else this.#forget();
    this.app.changed();
  }

  #forget() {
    this.results.hidden = true;
    Object.assign(this, { answers: [], forced: null });
    for (const canvas of [this.seen, ...this.backs]) canvas.classList.add("empty");
    this.leave();
  }

  async #encode() {
    const { app } = this;
    const { shape } = app.run.info;
    const bytes = prepared(this.strokes, PEN, shape[1]);
    if (!bytes) return;
    paint(this.seen, bytes, [1, shape[1], shape[2]]);
    this.picture = picture(bytes, [1, shape[1], shape[2]]);
    const answers = await Promise.all(app.runs.map((run) =>
      run.source.encode(run.id, bytes, run.conditional ? this.forced ?? "all" : null)));
    const backs = await Promise.all(app.runs.map((run, k) =>
      run.decode(Float32Array.from(answers[k].z), answers[k].label)));
    if (!this.strokes.length || app.tab !== "draw") return;
    this.answers = answers;
    app.runs.forEach((run, k) => {
      app.readAs(k, answers[k].label);
      app.moveTo(k, answers[k].z);
      paint(this.backs[k], backs[k], run.info.shape);
    });
    this.#show(answers[app.active]);
    await this.#follow(bytes);
    this.mark();
    app.tell("drawn", answers[app.active].percentile);
    const found = answers[app.active].neighbours;
    const thumbs = await app.run.thumbsOf(found.map(({ i }) => i));
    this.found = found;
    thumbs.forEach((thumb, k) => copy(thumb, this.near[k]));
    this.found.forEach(({ label }, k) => {
      this.names[k].textContent = label === null ? "" : app.run.className(label);
    });
  }

  /** Throwers take up the drawing. */
  async #follow(bytes) {
    const { app } = this;
    await Promise.all(this.throwers.map(({ element, set }, k) => {
      const { posterior = null, label } = this.answers[k];
      const { info } = app.runs[k];
      element.hidden = info.gaussian && !posterior; // an exported page knows it for the prior N(0, I) alone
      const whose = app.runs.length > 1 ? `${info.name}: ` : "";
      return set(sampleOf(app, k, { posterior, sent: bytes, label }), `${whose}q(z|x) of your drawing`);
    }));
  }

  #show({ percentile, label, readings }) {
    const { run, runs } = this.app;
    this.results.hidden = false;
    const who = runs.length > 1 ? run.info.name : "the model";
    const as = label === null ? "" : `Read as ${run.conditionName(label)}, `;
    this.scale.set(percentile, sentence(
      `${as}${who} reconstructs it worse than ${percent(percentile)} of the test images.`));
    this.read.hidden = label === null;
    this.free.hidden = this.forced === null;
    const most = Math.max(1e-9, ...readings.map(({ error }) => error));
    this.bars.replaceChildren(...readings.map((one) => {
      const bar = make("span", { class: "bar" });
      bar.style.width = `${(100 * one.error) / most}%`;
      bar.style.background = css(classColour(one.label, run.info.conditions.length));
      const name = run.conditionName(one.label);
      return make("li", {}, make("button", {
        type: "button", title: `Read it as ${name}`, "aria-pressed": String(one.label === label),
        data: { label: one.label }, on: { click: () => this.force(one.label) },
      }, make("span", { class: "name", text: name }), make("span", { class: "track" }, bar),
      make("span", { class: "count", text: one.error.toFixed(1) })));
    }));
  }

  /** The drawing on the maps, and its neighbours. */
  mark() {
    const { app } = this;
    app.maps.forEach((map, k) => {
      const answer = app.tab === "draw" ? this.answers[k] : null;
      const at = answer?.points[app.projection];
      const { points } = app.runs[k].layouts.get(app.projection) ?? {};
      map.marks.drawn = at ? { at, picture: this.picture, text: "you", note: "drew this" } : null;
      if (app.tab === "draw") mark(app, k, answer && this.throwers[k].state.sample);
      map.marks.near = answer && points
        ? answer.neighbours.map(({ i }) => [points[2 * i], points[2 * i + 1]]) : null;
      map.redraw();
    });
  }
}

function sentence(text) {
  return text[0].toUpperCase() + text.slice(1);
}
