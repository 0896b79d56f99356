// Time of the training: codes and reconstructions of the same images, epoch by epoch, of every
// run that kept them.
import { button, make } from "./dom.js";
import { calm } from "./latest.js";
import { bounds } from "./spatial.js";
import { bytesOf, paint, row } from "./pictures.js";

const PACE = 900; // ms from one moment to the next
const ROW = 5;
const MOST = 10;

export function trainingPanel(app, holder) {
  const training = new Training(app);
  holder.replaceChildren(...training.build());
  app.hear("tab", (tab) => training.enter(tab === "training"));
  return training;
}

class Training {
  constructor(app) {
    Object.assign(this, { app, at: 0, kept: null, frame: null, wanted: null });
    this.which = [...app.runs.keys()].filter((k) => app.runs[k].info.snapshots.length > 1);
  }

  build() {
    this.title = make("h2", { text: "Epoch" });
    this.slide = make("input", {
      type: "range", min: 0, step: 0.01, value: 0, "aria-label": "Epoch", id: "epoch",
      on: { input: () => {
        this.#stop();
        this.go(Number(this.slide.value));
      } },
    });
    this.play = button("Play", () => (this.frame ? this.#stop() : this.#start()), {
      id: "play-training", class: "strong",
    });
    this.sheets = this.which.map((k) => this.#sheet(this.app.runs[k]));
    return [
      this.title, make("div", { class: "row" }, this.play, this.slide),
      make("p", { class: "note", text: !this.app.run.pictorial ? `The map shows where test ${this.app.run.noun}s lay at this epoch.`
        : "The map shows where test images lay at this epoch. Below are some of them with their reconstructions." }),
      ...this.sheets.map(({ element }) => element),
    ];
  }

  /** Images of one run, and their reconstructions below them. */
  #sheet(run) {
    const holder = make("div", { class: "pairs" });
    const name = this.app.runs.length > 1 ? make("h2", { text: run.info.name }) : null;
    return { holder, run, element: make("section", {}, name, holder) };
  }

  async enter(shown) {
    const { app } = this;
    if (!shown) {
      this.#stop();
      if (this.inside) this.which.forEach((k) => app.lay(k));
      this.inside = false;
      return;
    }
    this.inside = true;
    try {
      await this.#load();
    } catch (error) {
      app.fail(error);
      return;
    }
    if (!this.inside) return;
    this.kept.forEach((kept, n) => {
      const map = app.maps[this.which[n]];
      map.labels = kept.labels;
      map.chosen = null;
      map.look.tiles = false;
      map.show(placed(kept, this.at), null, app.boxOf(kept.box, this.kept.map(({ box }) => box)), "moments");
    });
    this.go(this.wanted ?? 0);
    if (this.first && !calm()) this.#start();
    this.first = false;
  }

  async #load() {
    if (this.kept) return;
    const runs = this.which.map((k) => this.app.runs[k]);
    const kept = await Promise.all(runs.map((run) => run.source.moments(run.id)));
    kept.forEach((one, k) => this.#fill(one, this.sheets[k]));
    this.kept = kept;
    this.last = kept[0].epochs.length - 1;
    this.slide.max = this.last;
    this.first = this.wanted === null;
    if (this.wanted !== null) this.wanted = Math.min(this.wanted, this.last);
  }

  #fill(kept, sheet) {
    const { epochs, n, shape, points, pictures } = kept;
    kept.box = bounds(points.subarray(2 * n * (epochs.length - 1)), 0.002);
    sheet.canvases = [];
    if (!shape[0]) return; // of samples that are no pictures, codes alone are kept
    kept.size = [shape[3], shape[1], shape[2]];
    const some = Math.min(MOST, shape[0]);
    const half = (k) => Math.floor(k / ROW) % 2; // a row of images, a row of reconstructions
    const made = row(sheet.holder, 2 * ROW * Math.ceil(some / ROW), {
      name: (k) => (half(k) ? "Reconstruction" : "Test image"),
    });
    made.forEach((one) => one.classList.add("blank"));
    const images = made.filter((_, k) => !half(k)).slice(0, some);
    sheet.canvases = made.filter((_, k) => half(k)).slice(0, some);
    images.forEach((canvas, k) => paint(canvas, pictures, kept.size, k));
    [...images, ...sheet.canvases].forEach((one) => one.classList.remove("blank"));
  }

  /** Show the moment `at`, a place between those that the first run kept. */
  go(at) {
    this.at = at;
    this.wanted = at;
    if (!this.kept) return;
    const { epochs } = this.kept[0];
    const low = Math.floor(at);
    const epoch = epochs[low] + (at - low) * ((epochs[low + 1] ?? epochs[low]) - epochs[low]);
    this.slide.value = at;
    this.title.textContent = `Epoch ${Math.round(epoch)} of ${epochs[this.last]}`;
    this.slide.setAttribute("aria-valuetext", this.title.textContent);
    this.kept.forEach((kept, k) => {
      const now = k ? momentOf(kept, epoch) : at;
      const { shape, size, pictures } = kept;
      const bytes = size ? shape[0] * bytesOf(size) : 0;
      const start = (Math.round(now) + 1) * bytes;
      const shown = pictures.subarray(start, start + bytes);
      this.sheets[k].canvases.forEach((canvas, i) => paint(canvas, shown, size, i));
      if (!this.inside) return;
      const map = this.app.maps[this.which[k]];
      map.place = placed(kept, now);
      map.paintPoints();
    });
    this.app.changed();
  }

  #start() {
    const since = performance.now() - (this.at >= this.last ? 0 : this.at) * PACE;
    this.play.textContent = "Pause";
    const step = (now) => {
      const at = Math.max(0, (now - since) / PACE);
      this.go(Math.min(this.last, at));
      if (at >= this.last) this.#stop();
      else this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  #stop() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    this.play.textContent = "Play";
  }
}

/** Points of a run between two of its moments. */
function placed({ n, points, epochs }, at) {
  const k = Math.min(epochs.length - 2, Math.floor(at));
  const now = new Float32Array(2 * n);
  const f = at - k;
  const ease = f * f * (3 - 2 * f);
  for (let i = 0; i < 2 * n; i++) {
    const a = points[2 * n * k + i];
    now[i] = a + ease * (points[2 * n * (k + 1) + i] - a);
  }
  return now;
}

/** The place of an epoch among the moments of a run. */
function momentOf({ epochs }, epoch) {
  const after = epochs.findIndex((one) => one >= epoch);
  if (after < 0) return epochs.length - 1;
  if (after === 0) return 0;
  return after - (epochs[after] - epoch) / (epochs[after] - epochs[after - 1]);
}
