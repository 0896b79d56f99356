// Draw a digit: what the model sees of it, what it makes of it, how unlike a digit it is.
import { button, gauge, make, percent } from "./dom.js";
import { Latest } from "./latest.js";
import { copy, paint, picture, row } from "./pictures.js";
import { prepared, trace } from "./mnist.js";

const PEN = 0.085;
const SIDE = 560;
const NEAR = 8;

export function drawPanel(app, holder) {
  const drawing = new Drawing(app);
  holder.replaceChildren(...drawing.build());
  app.hear("label", () => drawing.refresh());
  app.hear("projection", () => drawing.mark());
  app.hear("tab", (tab) => (tab === "draw" ? drawing.refresh() : drawing.mark()));
  return drawing;
}

class Drawing {
  constructor(app) {
    Object.assign(this, { app, strokes: [], answers: [], found: [] });
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
    this.results = make("div", { class: "results", id: "drawn", hidden: true },
      make("h2", { text: `How unlike ${this.thing === "digit" ? "a digit" : "the test images"} is this?` }), this.scale.element,
      make("h2", { text: "Test images with the nearest codes" }), near);
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

  /** Replace what is drawn. */
  set(strokes) {
    this.strokes = strokes;
    this.refresh();
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
    this.answers = [];
    for (const canvas of [this.seen, ...this.backs]) canvas.classList.add("empty");
    this.mark();
  }

  async #encode() {
    const { app } = this;
    const { shape } = app.run.info;
    const bytes = prepared(this.strokes, PEN, shape[1]);
    if (!bytes) return;
    paint(this.seen, bytes, [1, shape[1], shape[2]]);
    this.picture = picture(bytes, [1, shape[1], shape[2]]);
    const answers = await Promise.all(app.runs.map((run) =>
      run.source.encode(run.id, bytes, run.conditional ? app.label : null)));
    if (!this.strokes.length) return;
    this.answers = answers;
    this.#show(answers[app.active]);
    this.mark();
    answers.forEach(({ z }, k) => app.moveTo(k, z));
    await Promise.all(app.runs.map(async (run, k) => {
      const pixels = await run.decode(Float32Array.from(answers[k].z), app.label);
      paint(this.backs[k], pixels, run.info.shape);
    }));
    this.found = answers[app.active].neighbours;
    const thumbs = await app.run.thumbsOf(this.found.map(({ i }) => i));
    thumbs.forEach((thumb, k) => copy(thumb, this.near[k]));
    this.found.forEach(({ label }, k) => {
      this.names[k].textContent = label === null ? "" : app.run.className(label);
    });
  }

  #show({ percentile }) {
    this.results.hidden = false;
    this.scale.set(percentile,
      `${this.app.runs.length > 1 ? this.app.run.info.name : "The model"} reconstructs it worse than ${percent(percentile)} of the test images.`);
  }

  /** The drawing on the maps, and its neighbours. */
  mark() {
    const { app } = this;
    app.maps.forEach((map, k) => {
      const answer = app.tab === "draw" ? this.answers[k] : null;
      const at = answer?.points[app.projection];
      const { points } = app.runs[k].layouts.get(app.projection) ?? {};
      map.marks.drawn = at ? { at, picture: this.picture, text: "you", note: "drew this" } : null;
      map.marks.near = answer && points
        ? answer.neighbours.map(({ i }) => [points[2 * i], points[2 * i + 1]]) : null;
      map.redraw();
    });
  }
}
