// From code A to code B, straight or along a sphere: play it, drag through it, keep it as a GIF.
// Each end keeps the class that it was decoded as; between them classes are mixed.
import { button, download, make, segments } from "./dom.js";
import { between } from "./geometry.js";
import { Latest, calm } from "./latest.js";
import { paint, row } from "./pictures.js";
import { filmOf } from "./shapes.js";

const STEPS = 41;
const SHOWN = 9;

export function pathPanel(app, holder) {
  const path = new Path(app);
  holder.replaceChildren(...path.build());
  app.hear("tab", (tab) => path.enter(tab === "path"));
  app.hear("fail", () => path.stop());
  app.hear("hand", () => path.timer && path.stop());
  app.hear("projection", () => path.draw());
  app.hear("film", () => path.leave());
  return path;
}

/** Pictures on a path, as `filmOf` makes it of other samples. */
function pictureFilm(info, n, { press, name }) {
  const ends = ["A", "B"].map((end) => make("canvas", { class: "end empty", role: "img", "aria-label": end }));
  const element = make("div", { class: "film" });
  const frames = row(element, n, { press, name });
  const set = (pixels, shape) => {
    ends.forEach((canvas, k) => paint(canvas, pixels, shape, k * (STEPS - 1)));
    frames.forEach((canvas, k) => paint(canvas, pixels, shape, Math.round((k * (STEPS - 1)) / (n - 1))));
  };
  return { ends, element, set };
}

class Path {
  constructor(app) {
    Object.assign(this, { app, a: null, b: null, kind: "straight", at: 0, timer: null });
    this.latest = new Latest(() => this.#decode(), (error) => app.fail(error));
  }

  build() {
    const { app } = this;
    const { noun, pictorial, info } = app.run;
    const press = (k) => {
      this.stop();
      this.go(Math.round((k * (STEPS - 1)) / (SHOWN - 1)));
    };
    this.film = (pictorial ? pictureFilm : filmOf)(info, SHOWN, {
      press, name: (k) => `${pictorial ? "Picture" : "Step"} ${k + 1} of ${SHOWN}`,
    });
    const setters = ["a", "b"].map((end, k) => make("div", { class: "slot" }, this.film.ends[k],
      button(`Set ${end.toUpperCase()} here`, () => {
        this[end] = { z: [...app.run.code], label: app.run.conditional ? app.run.pick(app.label) : null };
        this.refresh();
      }, { id: `set-${end}` })));
    this.choice = segments("Kind of path", [["straight", "Straight"], ["spherical", "Spherical"]], (kind) => {
      this.kind = kind;
      this.refresh();
    });
    this.slide = make("input", {
      type: "range", min: 0, max: STEPS - 1, step: 1, value: 0, "aria-label": "Place on the path",
      id: "along", on: { input: () => {
        this.stop();
        this.go(Number(this.slide.value));
      } },
    });
    this.play = button("Play", () => (this.timer ? this.stop() : this.#start()), { id: "play", class: "strong" });
    this.gif = button("GIF", () => this.#save(), {
      id: "gif", title: "Download the path as GIF", hidden: info.static || !pictorial,
    });
    this.choice.set(this.kind);
    return [
      make("div", { class: "slots" }, setters[0], make("span", { class: "arrow", text: "→", "aria-hidden": "true" }), setters[1]),
      this.choice.element,
      make("div", { class: "row" }, this.play, this.slide),
      this.film.element,
      make("div", { class: "row" }, button(`Two other ${noun}s`, () => this.#random(), { id: "other" }), this.gif),
      make("p", { class: "note", text: `Point at a place on the map, or select a test ${noun}, then set it as A or B.` }),
    ];
  }

  async enter(shown) {
    const { app } = this;
    if (!shown) this.stop();
    const first = shown && !this.a;
    if (first) await this.#random();
    this.draw();
    if (first && app.tab === "path" && !calm()) this.#start();
  }

  /** Codes of another run mean nothing to this one. */
  leave() {
    this.stop();
    Object.assign(this, { a: null, b: null, pixels: null });
    if (this.app.tab === "path") this.enter(true);
    else this.draw();
  }

  /** Two test samples of different classes. */
  async #random() {
    const { run } = this.app;
    const n = run.info.n;
    const i = Math.floor(Math.random() * n);
    let j = Math.floor(Math.random() * n);
    for (let k = 0; k < 40 && run.labels && run.labels[i] === run.labels[j]; k++) {
      j = Math.floor(Math.random() * n);
    }
    const own = (k) => (run.ownLabel(k) ?? (run.conditional ? this.app.label : null));
    const [a, b] = await Promise.all([run.codeOf(i), run.codeOf(j)]);
    Object.assign(this, { a: { z: a, label: own(i) }, b: { z: b, label: own(j) } });
    this.refresh();
  }

  codes() {
    return Array.from({ length: STEPS }, (_, k) =>
      between(this.a.z, this.b.z, k / (STEPS - 1), this.kind === "spherical"));
  }

  /** The classes of both ends, as the decoder is told them. */
  get labels() {
    const ends = [this.a.label, this.b.label].map((label) => label ?? this.app.label);
    return ends[0] === ends[1] ? ends[0] : ends.join(":");
  }

  refresh() {
    this.pixels = null;
    if (this.a && this.b) this.latest.ask(null);
    this.draw();
    this.app.changed();
  }

  async #decode() {
    const { run } = this.app;
    const { a, b } = this;
    if (a.z.length !== run.info.dims || b.z.length !== run.info.dims) return;
    const pixels = await run.decode(Float32Array.from(this.codes().flat()), this.labels);
    if (a !== this.a || b !== this.b || run !== this.app.run) return;
    this.pixels = pixels;
    this.film.set(pixels, run.info.shape);
    this.app.tell("path");
  }

  /** The path on the map. */
  draw() {
    const { app } = this;
    app.maps.forEach((map, k) => {
      const shown = app.tab === "path" && k === app.active && this.a && this.b;
      const fits = shown && [this.a, this.b].every(({ z }) => z.length === app.run.info.dims);
      const points = fits ? this.codes().map((z) => app.run.placeOf(z, app.projection)) : [];
      map.marks.path = points[0] ? { points, ends: ["A", "B"] } : null;
      map.redraw();
    });
  }

  go(step) {
    this.at = step;
    this.slide.value = step;
    const { app } = this;
    const names = `${this.labels}`.split(":").map((k) => app.run.conditionName(Number(k)));
    const as = names.length === 1 || step === 0 ? names[0]
      : step === STEPS - 1 ? names[1] : `${names[0]} to ${names[1]}`;
    const own = this.pixels && app.run.conditional ? { pixels: this.pixels, k: step, as } : null;
    app.moveTo(app.active, this.codes()[step], { own });
  }

  #start() {
    if (!this.a) return;
    let way = this.at >= STEPS - 1 ? -1 : 1;
    this.play.textContent = "Pause";
    this.timer = setInterval(() => {
      if (this.at + way < 0 || this.at + way >= STEPS) way = -way;
      this.go(this.at + way);
    }, 50);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }

  async #save() {
    const { app } = this;
    const { run } = app;
    this.gif.disabled = true;
    try {
      const label = run.conditional ? `${this.labels}`.split(":").map(Number) : null;
      const spec = { from: this.a.z, to: this.b.z, steps: STEPS, path: this.kind, label };
      download(await run.source.gif(run.id, spec), `${run.info.name}-path.gif`);
    } catch (error) {
      app.fail(error);
    }
    this.gif.disabled = false;
  }
}
