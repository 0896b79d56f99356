// The explorer's state, and what changes it. Panels and maps hear of changes by name:
// code, picture, hover, select, lasso, label, projection, hidden, film, throw, changed.
import { Bus } from "./bus.js";
import { Latest, calm, settled } from "./latest.js";
import { MapView } from "./map.js";
import { Tiles } from "./tiles.js";
import { guidesOf } from "./guides.js";
import { closest, inside, around } from "./spatial.js";
import { paint } from "./pictures.js";
import { theme } from "./colours.js";
import { clipped, textOf } from "./shapes.js";

const CLOSE = 9; // pixels from which a test image is pointed at
const FAR = 60; // and where the pointer always holds one
const KEPT = 2000;
const NEAREST = 8;
const CALM = 150; // ms between two looks at what is near
const CORNERS = 80; // of a lasso
const MORPH = 420; // ms in which the points of one run of a film become those of the next

/** A polygon as a link can hold it: few corners, of four digits. */
function rounded(polygon) {
  const step = Math.ceil(polygon.length / CORNERS);
  return polygon.filter((_, k) => k % step === 0).map((at) => at.map((v) => Number(v.toPrecision(4))));
}

/** What stands at a test sample on a map, and below it: {text, note}. */
async function named(run, i) {
  const note = run.info.kind === "tokens" ? clipped(textOf((await run.samplesOf([i]))[0], run.info.cut) || "empty", 34)
    : `test ${run.pictorial ? i : run.idOf(i)}`;
  if (run.labels) return { text: run.className(run.labels[i]), note };
  return { text: run.pictorial ? "image" : note, note };
}

export class App extends Bus {
  constructor(source, runs) {
    super();
    this.source = source;
    this.runs = runs;
    this.maps = [];
    this.active = 0;
    this.selected = -1;
    this.at = -1; // the sample whose q(z|x) is shown
    this.chosen = null;
    this.circle = null; // the lasso: {polygon, projection, k}, in the map's units
    this.hidden = new Set();
    this.tab = "look";
    const told = runs.find((run) => run.conditional);
    this.label = told ? Math.min(3, told.info.conditions.length - 1) : null;
    this.projection = null;
    const { data } = runs[0].info; // runs of the same data have the same test images
    this.paired = runs.length > 1 && runs.every(({ info }) => info.data === data);
    this.same = runs.length > 1; // all maps have one scale
    this.guides = true;
    this.density = false;
    this.hovers = new Latest((i) => this.#showHover(i), (error) => this.fail(error));
    this.near = new Latest((k) => this.#nearest(k));
    this.measured = 0;
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
      lasso: (map, polygon) => this.tab !== "training" && this.encircle(polygon, k),
      view: () => {
        this.follow(k);
        this.changed();
      },
      fit: () => this.fit(k),
      escape: () => {
        this.select(-1, k);
        this.encircle(null, k);
      },
    };
  }

  /** Go to the code of test image i, with its picture, unless the code is moved meanwhile. */
  async #jump(k, i) {
    const run = this.runs[k];
    const turn = ++run.turns;
    const code = await run.codeOf(i);
    const pictures = await run.decode(Float32Array.from(code), "all");
    if (turn !== run.turns) return;
    this.#hold(k, code, this.#at(k, i));
    this.#show(run, { code, pictures, turn });
  }

  /** Hold a code of run k; its picture follows, or is `own` of {pixels, k, as}. */
  moveTo(k, code, { time = performance.now(), place, own = null } = {}) {
    const run = this.runs[k];
    run.turns++;
    this.#hold(k, Array.from(code), place ?? run.placeOf(code, this.projection));
    run.latest.ask({ code: run.code, time, own, turn: run.turns });
  }

  #hold(k, code, place) {
    const run = this.runs[k];
    Object.assign(run, { code, place });
    const map = this.maps[k];
    map.marks.place = this.tab === "training" ? null : place;
    map.redraw();
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

  async #decode(run, { code, time, own, turn }) {
    const pictures = await run.decode(Float32Array.from(code), "all");
    if (turn > run.painted) this.#show(run, { code, pictures, own, turn });
    if (++this.measured % KEPT === 0) performance.clearMeasures("picture");
    performance.measure("picture", { start: time, end: performance.now() });
  }

  #show(run, { code, pictures, own = null, turn }) {
    Object.assign(run, { shown: code, pictures, own, painted: turn });
    this.repaint(run);
  }

  /** Show what was decoded last, as the class that is picked. */
  repaint(run) {
    if (!run.pictures) return;
    const { pixels, k } = run.own ?? { pixels: run.pictures, k: run.pick(this.label) };
    const map = this.maps[this.runs.indexOf(run)];
    if (run.pictorial) map.marks.picture = paint(run.canvas, pixels, run.info.shape, k);
    else run.sample = pixels[k];
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

  /** Whether one view serves all maps: t-SNE has no scale that means anything. */
  get scaled() {
    return this.same && this.maps.length > 1 && this.projection !== "tsne";
  }

  /** The box of a layout of map k, or the one that holds those of all maps. */
  boxOf(box, boxes) {
    return this.scaled ? around(boxes) : box;
  }

  /** Show everything on map k, or on all that share its scale. */
  fit(k) {
    this.maps.forEach((map, other) => (other === k || this.scaled) && map.fit());
    this.changed();
  }

  /** Give other maps the view of map k, where they share a scale. */
  follow(k) {
    if (!this.scaled) return;
    const { cx, cy, scale } = this.maps[k];
    this.maps.forEach((map, other) => {
      if (other === k) return;
      Object.assign(map, { cx, cy, scale, fitted: false });
      map.draw();
    });
  }

  /** Put the test images back on map k. */
  lay(k, layout = this.runs[k].layouts.get(this.projection)) {
    const map = this.maps[k];
    const boxes = this.runs.map((run) => run.layouts.get(this.projection)?.box).filter(Boolean);
    map.guides = this.guidesOf(k, layout);
    map.labels = this.runs[k].labels;
    map.chosen = this.chosen;
    map.look.tiles = this.tiles && layout.plane !== null && this.runs[k].pictorial;
    map.show(layout.points, layout.grid, this.boxOf(layout.box, boxes), this.projection);
  }

  guidesOf(k, layout) {
    const { info, labels, conditional } = this.runs[k];
    layout.guides ??= guidesOf({
      ...layout, labels, classes: info.classes, standard: info.standard,
      named: !conditional, // what the decoder is told, codes need not hold
    });
    layout.guides.projection = this.projection;
    return layout.guides;
  }

  /** Show another run of a film: points, decodings and pictures are its own, samples are not. */
  async become(info) {
    const { run, projection } = this;
    const [map] = this.maps;
    const before = run.layouts.get(projection);
    run.become(info);
    const layout = await run.layout(projection);
    map.tiles.clear();
    run.place = run.code && run.placeOf(run.code, projection);
    const { cx, cy, scale, fitted } = map;
    await this.#morph(map, before, layout);
    this.lay(0, layout);
    if (!fitted) Object.assign(map, { cx, cy, scale, fitted }); // where the visitor has zoomed to
    map.marks.place = run.place;
    this.tell("film", info);
    if (this.selected >= 0) await this.select(this.selected, 0);
    else if (this.at >= 0 && this.tab === "look") run.jumps.ask(this.at);
    else if (run.code) this.moveTo(0, run.code);
    this.changed();
  }

  /** The same points on their way from one layout to another. */
  async #morph(map, before, after) {
    if (calm() || !before || document.hidden || this.tab === "training") return;
    const began = performance.now();
    const place = new Float32Array(after.points.length);
    const frame = () => new Promise((go) => requestAnimationFrame(go));
    map.guides = null;
    map.look.tiles = false;
    for (let t = 0; t < 1;) {
      t = Math.min(1, (await frame() - began) / MORPH);
      const ease = t * t * (3 - 2 * t);
      const mix = (a, b) => a + ease * (b - a);
      for (let i = 0; i < place.length; i++) place[i] = mix(before.points[i], after.points[i]);
      map.place = place;
      map.box = before.box.map((value, side) => mix(value, after.box[side]));
      map.paintPoints();
      if (map.fitted) map.fit();
    }
  }

  /** Let all maps have one scale, or each its own. */
  share(same) {
    this.same = same;
    this.maps.forEach((_, k) => this.tab !== "training" && this.lay(k));
    this.tell("scale");
    this.changed();
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
    this.tell("hover", i, k);
  }

  /**
   * Show a test image on every map that has it. The other map goes to its code; without a plane
   * this one does too. Image and decodings appear together.
   */
  async #showHover(i) {
    if (this.hovered !== i) return;
    const on = this.hoveredOn;
    const run = this.runs[on];
    const going = [...this.runs.keys()].filter((k) =>
      (k === on ? this.projection === "tsne" : this.paired));
    const [[thumb], told] = await Promise.all([run.thumbsOf([i]), named(run, i), ...going.map((k) => this.#jump(k, i))]);
    if (this.hovered !== i) return;
    this.maps.forEach((map, k) => {
      if (k !== this.hoveredOn && !this.paired) return;
      map.marks.hover = { at: this.#at(k, i), picture: thumb, ...told };
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
    const [i, { run }] = [this.selected, this];
    const [[thumb], told] = i >= 0 ? await Promise.all([run.thumbsOf([i]), named(run, i)]) : [[null], {}];
    if (i !== this.selected || run !== this.run) return;
    this.maps.forEach((map, k) => {
      const has = i >= 0 && (k === this.active || this.paired) && this.tab !== "training";
      map.marks.selected = has ? { at: this.#at(k, i), picture: thumb, ...told } : null;
      map.redraw();
    });
  }

  /** Choose the test images of run k within a polygon of a map; null for all. */
  async encircle(polygon, k = this.active, projection = this.projection) {
    const run = this.runs[k];
    this.circle = polygon && { polygon: rounded(polygon), projection, k };
    const { circle } = this;
    const points = circle && (await run.layout(projection)).points;
    if (circle !== this.circle) return;
    this.#choose(circle && inside(points, circle.polygon).filter((i) => !this.hidden.has(run.labels?.[i])), k);
    this.changed();
  }

  #choose(found, k) {
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
      run.own = null;
      this.maps[k].look.label = run.pick(label);
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
    if (this.circle) this.encircle(this.circle.polygon, this.circle.k, this.circle.projection);
    this.changed();
  }

  /** Switch tiles, points, guides and lines of density. */
  dress({ tiles = this.tiles, points = this.points, guides = this.guides, density = this.density }) {
    Object.assign(this, { tiles, points, guides, density });
    this.maps.forEach((map, k) => {
      const plane = this.runs[k].layouts.get(this.projection)?.plane;
      Object.assign(map.look, { points, guides, density });
      map.look.tiles = tiles && Boolean(plane) && this.tab !== "training" && this.runs[k].pictorial;
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

  fail(error) {
    this.tell("fail", error.message);
  }
}
