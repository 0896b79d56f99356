// A map of codes on four layers: decoded tiles, points, names, and what the hand does; on two,
// where no hardware draws.
import { classColour, rgb } from "./colours.js";
import { drawBelow, drawDensity, drawNames } from "./guides.js";
import { drawMarks } from "./overlay.js";
import { listen } from "./hand.js";
import { settled } from "./latest.js";
import { pointLayer } from "./points.js";

const FAINT = 26;
const FEW = 15000;
const SLOW = 22; // ms a frame

export class MapView {
  /** hooks: point, hover, select, lasso, view; see hand.js for who calls them. */
  constructor(figure, run, tiles, hooks) {
    Object.assign(this, { figure, run, tiles, hooks });
    const [below, points, names, over] = ["tiles", "points", "names", "over"].map((name) => figure.querySelector(`.${name}`));
    const plain = new URLSearchParams(location.search).has("plain");
    this.points = pointLayer(points, below, plain);
    const one = this.points.below === below;
    Object.assign(this, { below, above: one ? null : names, over });
    this.layers = one ? [below, over] : [below, points, names, over];
    if (one) [points, names].forEach((canvas) => canvas.remove());
    this.tool = "decode";
    this.marks = {};
    this.look = { tiles: true, points: true, guides: true, density: false, label: null, size: 1 };
    this.guides = null;
    Object.assign(this, { cx: 0, cy: 0, scale: 50, width: 1, height: 1, ratio: 1 });
    this.pace = 0;
    this.rest = settled(() => {
      this.moving = false;
      this.draw();
    }, 140);
    new ResizeObserver(() => this.resize()).observe(figure);
    this.resize();
    listen(this);
  }

  /** Take the canvas's size from the page's; the middle stays where it was. */
  resize() {
    const box = this.figure.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const grown = this.fitted && Math.min(box.width / this.width, box.height / this.height);
    Object.assign(this, { width: box.width, height: box.height });
    this.ratio = Math.min(2, devicePixelRatio || 1);
    for (const layer of this.layers) {
      layer.width = Math.round(box.width * this.ratio);
      layer.height = Math.round(box.height * this.ratio);
    }
    if (grown && this.box) this.fit(this.box);
    this.draw();
  }

  /** Show points (N, 2) of a projection. */
  show(points, grid, box, projection) {
    Object.assign(this, { place: points, grid, box, projection });
    this.paintPoints();
    this.fit(box);
  }

  /** Bring a box [x0, y0, x1, y1] into view. */
  fit([x0, y0, x1, y1] = this.box) {
    const room = [Math.max(80, this.width - 48), Math.max(80, this.height - 48)];
    this.cx = (x0 + x1) / 2;
    this.cy = (y0 + y1) / 2;
    this.scale = Math.min(room[0] / (x1 - x0 || 1), room[1] / (y1 - y0 || 1));
    this.fitted = true;
    this.draw();
  }

  /** Zoom by a factor about a place of the screen. */
  zoom(factor, sx = this.width / 2, sy = this.height / 2) {
    const [x, y] = this.toData(sx, sy);
    const home = this.box ? this.width / (this.box[2] - this.box[0] || 1) : 1;
    this.scale = Math.min(home * 400, Math.max(home / 30, this.scale * factor));
    this.cx = x - (sx - this.width / 2) / this.scale;
    this.cy = y + (sy - this.height / 2) / this.scale;
    this.#moved();
  }

  pan(dx, dy) {
    this.cx -= dx / this.scale;
    this.cy += dy / this.scale;
    this.#moved();
  }

  #moved() {
    this.fitted = false;
    this.moving = true;
    this.draw();
    this.rest();
    this.hooks.view(this);
  }

  toScreen(x, y) {
    return [(x - this.cx) * this.scale + this.width / 2,
      this.height / 2 - (y - this.cy) * this.scale];
  }

  toData(sx, sy) {
    return [(sx - this.width / 2) / this.scale + this.cx,
      (this.height / 2 - sy) / this.scale + this.cy];
  }

  /** The test image nearest to a place of the screen, of those shown; -1 if none is near. */
  near(sx, sy, reach) {
    if (!this.grid || !this.look.points) return -1;
    const [x, y] = this.toData(sx, sy);
    return this.grid.nearest(x, y, reach / this.scale, (i) => this.seen(i));
  }

  /** Whether point i is shown as strongly as it can be. */
  seen(i) {
    return !this.hidden?.has(this.labels?.[i]);
  }

  /**
   * Colours by class, opaque, so that they are the palette's over any decoding; classes in
   * `hidden`, and points outside `chosen`, are faint.
   */
  paintPoints() {
    if (!this.place) return;
    const n = this.place.length / 2;
    const classes = this.run.info.classes.length;
    const bytes = new Uint8Array(4 * n);
    const labels = this.labels;
    const top = labels ? Math.max(classes, 1) : 0;
    const table = Array.from({ length: Math.max(1, top) }, (_, k) => classColour(k, top));
    for (let i = 0; i < n; i++) {
      const [r, g, b] = (labels && table[labels[i]]) || table[0];
      const faint = !this.seen(i) || (this.chosen && !this.chosen.has(i));
      bytes.set([r, g, b, faint ? FAINT : 255], 4 * i);
    }
    this.points.set(this.place, bytes);
    this.draw();
  }

  /** Draw everything at the next frame. */
  draw() {
    this.whole = true;
    this.redraw();
  }

  /** Draw the hand's layer at the next frame. */
  redraw() {
    this.frame ??= requestAnimationFrame((time) => {
      this.frame = null;
      const took = time - this.last;
      if (this.moving && took < 500) this.pace += 0.3 * (took - this.pace);
      this.last = time;
      this.now();
    });
  }

  view() {
    const { cx, cy, scale, width, height, ratio, projection } = this;
    return { cx, cy, scale, width, height, ratio, projection, label: this.look.label };
  }

  /** Draw at once. */
  now() {
    const view = this.view();
    if (this.whole && this.place) {
      this.whole = false;
      const context = this.#clear(this.below);
      this.figure.dataset.scale = this.scale.toPrecision(4);
      if (this.look.tiles) this.tiles.draw(context, view, rgb(this.theme.ink), this.opacity());
      if (this.guided) drawBelow(context, this, this.guides, this.theme);
      const size = this.dot();
      const n = this.place.length / 2;
      const most = this.moving && this.pace > SLOW ? Math.min(n, FEW) : n; // a slow machine
      this.points.draw({ ...view, most, size: this.look.points ? size : 0 });
      if (this.above) this.points.canvas.classList.toggle("off", !this.look.points);
      const above = this.above ? this.#clear(this.above) : context; // text is slow to draw: not again at each move of the hand
      if (this.fits && this.look.density) drawDensity(above, this, this.guides, this.theme);
      if (this.guided) drawNames(above, this, this.guides, this.theme, this.hidden);
    }
    drawMarks(this.#clear(this.over), this, this.marks, this.theme);
  }

  /** Whether the guides are those of the layout that is shown. */
  get fits() {
    return Boolean(this.guides) && this.projection === (this.guides.projection ?? this.projection);
  }

  /** Whether axes, circles and names are shown. */
  get guided() {
    return this.fits && this.look.guides;
  }

  opacity() {
    return this.look.points ? 0.42 : 0.95;
  }

  /** The width of a point: larger where there are few, and when near. */
  dot() {
    const n = this.place.length / 2;
    const home = Math.min(this.width, this.height) / (this.box[3] - this.box[1] || 1);
    const near = Math.min(2.6, Math.max(1, Math.sqrt(this.scale / home)));
    const base = n > 20000 ? 2.6 : n > 4000 ? 3.6 : n > 800 ? 5 : 6.5;
    return base * near * (this.width < 500 ? 0.85 : 1);
  }

  #clear(layer) {
    const context = layer.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    return context;
  }
}
