// The explorer's state, and what changes it. Panels and maps hear of changes by name:
// code, picture, hover, select, lasso, label, projection, hidden, changed.
import { Bus } from "./bus.js";
import { Latest, settled } from "./latest.js";
import { MapView } from "./map.js";
import { Tiles } from "./tiles.js";
import { closest, inside } from "./spatial.js";
import { paint, picture } from "./pictures.js";
import { theme } from "./colours.js";

const CLOSE = 9; // pixels from which a test image is pointed at
const FAR = 60; // and where the pointer always holds one
const KEPT = 2000;
const NEAREST = 8;
const CALM = 150; // ms between two looks at what is near

export class App extends Bus {
  constructor(source, runs) {
    super();
    this.source = source;
    this.runs = runs;
    this.maps = [];
    this.active = 0;
    this.selected = -1;
    this.chosen = null;
    this.hidden = new Set();
    this.tab = "look";
    const told = runs.find((run) => run.conditional);
    this.label = told ? Math.min(3, told.info.conditions.length - 1) : null;
    this.projection = null;
    const { data } = runs[0].info; // runs of the same data have the same test images
    this.paired = runs.length > 1 && runs.every(({ info }) => info.data === data);
    this.hovers = new Latest((i) => this.#showHover(i));
    this.near = new Latest((k) => this.#nearest(k));
    this.changed = settled(() => this.tell("changed"), 250);
  }

  get run() {
    return this.runs[this.active];
  }

  /** Whether the pointer decodes where it is. */
  get decoding() {
    return this.tab !== "training" && this.projection !== "tsne";
  }

  /** Build the map of run k in a figure. */
  async open(figure, k) {
    const run = this.runs[k];
    await run.start();
    run.canvas = document.createElement("canvas");
    run.latest = new Latest((question) => this.#decode(run, question), (error) => this.fail(error));
    run.jumps = new Latest((i) => this.#jump(k, i), (error) => this.fail(error));
    const tiles = new Tiles(run, () => this.maps[k].draw());
    const map = new MapView(figure, run, tiles, this.#hooks(k));
    map.theme = theme();
    map.hidden = this.hidden;
    map.look.label = run.conditional ? this.label : null;
    this.maps[k] = map;
  }

  #hooks(k) {
    return {
      point: (map, x, y, time) => {
        this.active = k;
        this.tell("hand");
        if (this.decoding) this.moveTo(k, this.runs[k].codeAt(x, y, this.projection), { time, place: [x, y] });
      },
      reach: () => (this.paired || this.projection === "tsne" ? FAR : CLOSE),
      hover: (map, i) => this.hover(k, this.tab === "training" ? -1 : i),
      leave: () => this.hover(k, -1),
      select: (map, i) => this.select(i, k),
      lasso: (map, polygon) => {
        if (this.tab === "training") return;
        this.lasso(inside(map.place, polygon).filter((i) => map.seen(i)), k);
      },
      view: () => this.changed(),
      fit: (map) => map.fit(),
      escape: () => {
        this.select(-1, k);
        this.lasso(null, k);
      },
    };
  }

  /** Go to the code of test image i. */
  async #jump(k, i) {
    const layout = this.runs[k].layouts.get(this.projection);
    const code = await this.runs[k].codeOf(i);
    this.moveTo(k, code, { place: [layout.points[2 * i], layout.points[2 * i + 1]] });
    await this.runs[k].decoded;
  }

  /** Hold a code of run k; its picture follows. */
  moveTo(k, code, { time = performance.now(), place } = {}) {
    const run = this.runs[k];
    run.code = Array.from(code);
    run.place = place ?? run.placeOf(run.code, this.projection);
    const map = this.maps[k];
    map.marks.place = this.tab === "training" ? null : run.place;
    map.redraw();
    run.latest.ask({ code: Float32Array.from(run.code), time });
    this.tell("code", run, k);
    if (k === this.active) this.near.ask(k);
    this.changed();
  }

  /** Tell which test images lie nearest to the code on the map. */
  async #nearest(k) {
    const run = this.runs[k];
    const layout = run.layouts.get(this.projection);
    if (run.place && layout) this.tell("nearest", closest(layout.points, run.place, NEAREST), k);
    await new Promise((go) => setTimeout(go, CALM));
  }

  async #decode(run, { code, time }) {
    run.decoded = run.decode(code, "all");
    run.pictures = await run.decoded;
    this.repaint(run);
    if (performance.getEntriesByName("picture").length > KEPT) performance.clearMeasures("picture");
    performance.measure("picture", { start: time, end: performance.now() });
  }

  /** Show what was decoded last, as the class that is picked. */
  repaint(run) {
    if (!run.pictures) return;
    paint(run.canvas, run.pictures, run.info.shape, run.pick(this.label));
    const map = this.maps[this.runs.indexOf(run)];
    map.marks.picture = run.canvas;
    map.now();
    this.tell("picture", run);
  }

  /** Show the layout of a projection on every map. */
  async project(projection, telling = () => {}) {
    const wanted = this.runs.map((run) => run.layout(projection, telling));
    const layouts = await Promise.all(wanted);
    this.projection = projection;
    layouts.forEach((layout, k) => this.lay(k, layout));
    this.runs.forEach((run, k) => {
      run.place = run.code && run.placeOf(run.code, projection);
      this.maps[k].marks.place = run.place;
    });
    this.tell("projection", projection);
    this.#mark();
    this.changed();
  }

  /** Put the test images back on map k. */
  lay(k, layout = this.runs[k].layouts.get(this.projection)) {
    const map = this.maps[k];
    map.labels = this.runs[k].labels;
    map.chosen = this.chosen;
    map.look.tiles = this.tiles && layout.plane !== null;
    map.show(layout.points, layout.grid, layout.box, this.projection);
  }

  /** Point at test image i, on every map that has it. */
  hover(k, i) {
    if (i === this.hovered) return;
    this.hovered = i;
    this.hoveredOn = k;
    this.maps.forEach((map) => {
      map.marks.hover = null;
      delete map.figure.dataset.test;
      map.redraw();
    });
    if (i >= 0) this.hovers.ask(i);
    if (i >= 0) this.#follow(k, i);
    this.tell("hover", i, k);
  }

  /** The other map goes to the code of the same test image; without a plane this one does too. */
  #follow(k, i) {
    this.runs.forEach((run, other) => {
      const goes = other === k ? this.projection === "tsne" : this.paired;
      if (goes) run.jumps.ask(i);
    });
  }

  async #showHover(i) {
    const run = this.runs[this.hoveredOn];
    const [thumb] = await run.thumbsOf([i]);
    if (this.hovered !== i) return;
    const text = run.labels ? run.className(run.labels[i]) : "image";
    this.maps.forEach((map, k) => {
      if (k !== this.hoveredOn && !this.paired) return;
      map.marks.hover = { at: this.#at(k, i), picture: thumb, text, note: `test ${i}` };
      map.figure.dataset.test = i;
      map.redraw();
    });
  }

  #at(k, i) {
    const { points } = this.runs[k].layouts.get(this.projection);
    return [points[2 * i], points[2 * i + 1]];
  }

  /** Select test image i of run k; -1 for none. The code becomes its code. */
  async select(i, k = this.active, { move = true } = {}) {
    this.selected = i;
    this.active = k;
    if (i >= 0 && move) {
      this.runs.forEach((run, other) => (other === k || this.paired) && run.jumps.ask(i));
    }
    await this.#mark();
    this.tell("select", i, k);
    this.changed();
  }

  async #mark() {
    const i = this.selected;
    const [thumb] = i >= 0 ? await this.run.thumbsOf([i]) : [null];
    const { run } = this;
    const text = i >= 0 && run.labels ? run.className(run.labels[i]) : "image";
    this.maps.forEach((map, k) => {
      const has = i >= 0 && (k === this.active || this.paired) && this.tab !== "training";
      map.marks.selected = has ? { at: this.#at(k, i), picture: thumb, text, note: `test ${i}` } : null;
      map.redraw();
    });
  }

  /** Choose test images [i, ...] of run k; null for all. */
  lasso(found, k = this.active) {
    this.chosen = found?.length ? new Set(found) : null;
    this.active = k;
    this.maps.forEach((map, other) => {
      map.chosen = other === k || this.paired ? this.chosen : null;
      map.paintPoints();
    });
    this.tell("lasso", found, k);
  }

  /** Pick a class for the decoder. */
  pick(label) {
    this.label = label;
    this.runs.forEach((run, k) => {
      if (!run.conditional) return;
      this.maps[k].look.label = label;
      this.maps[k].draw();
      this.repaint(run);
    });
    this.tell("label", label);
    this.changed();
  }

  /** Read what run k holds as a class of its own; null for the one that is picked. */
  readAs(k, label) {
    const run = this.runs[k];
    if (run.read === label || !run.conditional) return;
    run.read = label;
    this.maps[k].look.label = run.pick(this.label);
    this.maps[k].draw();
  }

  /** Show a class, or let it fade. */
  toggle(label) {
    if (!this.hidden.delete(label)) this.hidden.add(label);
    this.maps.forEach((map) => map.paintPoints());
    this.tell("hidden");
    this.changed();
  }

  /** Switch tiles and points. */
  dress({ tiles = this.tiles, points = this.points }) {
    Object.assign(this, { tiles, points });
    this.maps.forEach((map, k) => {
      const plane = this.runs[k].layouts.get(this.projection)?.plane;
      map.look.points = points;
      map.look.tiles = tiles && Boolean(plane) && this.tab !== "training";
      map.paintPoints();
    });
    this.changed();
  }

  /** Read the theme again. */
  recolour() {
    this.maps.forEach((map) => {
      map.theme = theme();
      map.tiles.clear();
      map.paintPoints();
    });
  }

  /** A copy of the picture that run k shows. */
  still(k = this.active) {
    const run = this.runs[k];
    return run.pictures && picture(run.pictures, run.info.shape, run.pick(this.label));
  }

  fail(error) {
    this.tell("fail", error.message);
  }
}
